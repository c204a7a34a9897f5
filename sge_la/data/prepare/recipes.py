"""What each data set wants of `prepare`: which raw format, which frames, how cut, who is tested on.

The defaults are those of the published preprocessing where there is one. Test sets are always cut into whole sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sge_la.data.axes import Axes
from sge_la.data.prepare import splits
from sge_la.data.prepare.sequences import Cutting
from sge_la.data.prepare.settings import Settings
from sge_la.data.prepare.split_file import BY_HAND, SplitFile
from sge_la.data.prepare.splits import Tree, share_of
from sge_la.data.raw import casia_b, kgbd, kinect_v1, ks20, own
from sge_la.data.raw.recording import RawData, RawRecording
from sge_la.data.simulated import casia_b as simulated_casia_b
from sge_la.data.simulated import kinect as simulated_kinect
from sge_la.data.way import Way
from sge_la.errors import UserError
from sge_la.settings.papers import CME, CVE

# What a person is expected to type with the data sets whose test sets are part of the raw data.
_COMMON = frozenset({'raw'})


@dataclass(frozen=True)
class Target:
    """One data set under `Datasets/` that comes out of the raw data.

    `split`: chooses what to train and test on, for each folder that is to be written; `length`: T if the user names
    none; `folder`: its name under `Datasets/`; None for that of the data set; `protocol`: what `--protocol` calls it.
    """

    split: Callable[[Sequence[RawRecording], Settings], list[Tree]]
    length: int = 6
    folder: str | None = None
    protocol: str | None = None


@dataclass(frozen=True)
class Recipe:
    """How a data set is prepared.

    `find`: lists the recordings; `targets`: what is written; `flags`: options that mean something here, of those that
    not every data set knows; `layouts`: the layouts that it can be written in; `clip`: frames left out at the start and
    at the end, for each part of the raw data ('' for all others); `dense`: whether training sequences overlap
    (`Cutting.dense`); `lost`: what is done about lost joints (`Settings.lost`).
    """

    find: Callable[[Settings], RawData]
    targets: tuple[Target, ...]
    flags: frozenset[str] = _COMMON
    layouts: tuple[int, ...] = (1, 2, 3)
    clip: dict[str, tuple[int, int]] = field(default_factory=lambda: {'': (0, 0)})
    dense: bool = False
    lost: str = 'drop'

    def clip_of(self, raw: RawRecording, settings: Settings) -> tuple[int, int]:
        """Frames left out at the start and at the end of a recording."""
        return settings.clip or self.clip.get(raw.part, self.clip[''])

    def training_cut(self, length: int, settings: Settings) -> Cutting:
        """How training recordings are cut, with the user's choices in place of the defaults."""
        default = Cutting.dense(length) if self.dense else Cutting.whole(length)
        offsets = default.offsets if settings.offsets is None else settings.offsets or tuple(range(length))
        return Cutting(length, settings.step or default.step, offsets)


def recipe_for(settings: Settings) -> tuple[Recipe, Settings]:
    """The recipe of a data set, and the settings with its defaults filled in.

    Raises UserError: the data set is unknown, or something was chosen that does not apply to it.
    """
    recipe = RECIPES.get(settings.name)
    if recipe is None:
        recipe = OWN
        if settings.raw is None:
            raise UserError(
                f'{settings.name} is none of {", ".join(RECIPES)}; for recordings of your own give --raw and the '
                'folder that holds their recordings.csv'
            )
    chosen = {
        'raw': settings.raw,
        'holdout': settings.holdout,
        'people': settings.people,
        'recordings': settings.recordings,
        'view': settings.views,
        'protocol': settings.protocols,
        'simulate': settings.simulate or None,
        'skeleton': settings.skeleton,
        'leave_out': settings.leave_out,
        'units': settings.units,
        'up': settings.up,
    }
    for flag, value in chosen.items():
        if value not in (None, BY_HAND) and flag not in recipe.flags:
            raise UserError(f'--{flag} means nothing for {settings.name}; leave it out')
    if settings.max_gap is not None and settings.lost != 'interpolate':
        raise UserError('--max_gap tells how long gaps --lost interpolate fills; leave it out or add that')
    if settings.layout not in recipe.layouts:
        raise UserError(f'{settings.name} was never published in layout {settings.layout}; use --layout 2')
    if settings.views and (settings.layout != 2 or settings.protocols == (CME,) or share_of(settings.holdout)):
        raise UserError(
            '--view names folders of single views, which are written in layout 2 alone, and neither for --protocol CME '
            'nor for a --holdout of shares; leave it out'
        )
    defaults = {
        'holdout': 'last' if 'holdout' in recipe.flags else None,
        'people': _people(settings),
        'recordings': 5 if 'recordings' in recipe.flags else None,
        'lost': recipe.lost,
        'max_gap': Way().max_gap if settings.lost == 'interpolate' else None,
    }
    chosen |= {'lost': settings.lost, 'max_gap': settings.max_gap}
    return recipe, replace(settings, **{name: value for name, value in defaults.items() if chosen[name] is None})


def targets_of(recipe: Recipe, settings: Settings, kept: SplitFile | None) -> list[Target]:
    """What is written: of CASIA-B's two data sets that of `--protocol`, and that which an earlier split is of.

    Raises UserError: `--protocol` is not the split's.
    """
    wanted = [one for one in recipe.targets if settings.protocols is None or one.protocol in settings.protocols]
    if kept is None:
        return wanted
    protocol = CME if kept.open_set else CVE
    found = [one for one in wanted if one.protocol in (None, protocol)]
    if not found:
        raise UserError(f'{kept.path} is a split of {protocol}: leave out --protocol, or give another --split')
    return found


def _people(settings: Settings) -> int | None:
    """How many people there are by default, where it can be chosen."""
    if settings.name == 'BIWI':
        return 50 if settings.layout == 3 else 28
    return 12 if settings.name == 'DEMO' or settings.simulate else None


def raw_folder(settings: Settings) -> Path:
    """The folder of the raw recordings.

    Raises UserError: none was named, or it is no folder.
    """
    if settings.raw is None:
        raise UserError(f'--raw is missing: give the folder of the raw recordings of {settings.name}')
    if not settings.raw.is_dir():
        raise UserError(f'--raw {settings.raw} should be the folder of the raw recordings, and there is no such folder')
    return settings.raw


def _found_by(find: Callable[[Path], RawData]) -> Callable[[Settings], RawData]:
    return lambda settings: find(raw_folder(settings))


def _find_biwi(settings: Settings) -> RawData:
    if settings.people not in (28, 50):
        raise UserError(
            f'--people for BIWI should be 28 (those who are tested) or 50 (everyone), found {settings.people}'
        )
    return kinect_v1.find_biwi(raw_folder(settings), settings.people)


def _find_casia_b(settings: Settings) -> RawData:
    if not settings.simulate:
        if settings.people is not None:
            raise UserError('--people tells how many walkers --simulate makes; leave it out or add --simulate')
        return casia_b.find(raw_folder(settings))
    if settings.raw is not None:
        raise UserError('--simulate needs no raw recordings; leave out --raw or --simulate')
    return simulated_casia_b.walks(settings.people, settings.seed)


def _find_demo(settings: Settings) -> RawData:
    return simulated_kinect.walkers(settings.people, settings.recordings, settings.seed)


def _find_own(settings: Settings) -> RawData:
    folder = raw_folder(settings)
    if not (folder / own.TABLE).exists():
        raise UserError(
            f'{settings.name} is none of {", ".join(RECIPES)}, and {folder} has no {own.TABLE} as recordings of your '
            'own need it; correct the name or the folder'
        )
    found = own.find(folder, settings.skeleton, settings.leave_out or ())
    typed = {key: value for key in ('units', 'up') if (value := getattr(settings, key)) is not None}
    found = replace(found, axes=Axes.from_json({**asdict(found.axes), **typed}, 'the command line'))
    own.refuse_axes(found)
    return found


RECIPES = {
    'BIWI': Recipe(_find_biwi, (Target(splits.biwi),), frozenset({'raw', 'people'}), clip={'': (10, 10)}, dense=True),
    'IAS': Recipe(
        _found_by(kinect_v1.find_ias), (Target(splits.ias),), clip={'': (10, 10), 'Training': (10, 0)}, dense=True
    ),
    # First and last frames: the walkers stand there. Nine joints are at the origin: kept, as everybody else has done.
    'KGBD': Recipe(
        _found_by(kgbd.find),
        (Target(splits.one_per_person),),
        frozenset({'raw', 'holdout'}),
        clip={'': (10, 10)},
        lost='keep',
    ),
    'KS20': Recipe(_found_by(ks20.find), (Target(splits.ks20),), frozenset({'raw', 'holdout', 'view'}), dense=True),
    'CASIA_B': Recipe(
        _find_casia_b,
        (
            Target(splits.casia_b_views, 20, protocol='CVE'),
            Target(splits.casia_b_conditions, 50, 'CASIA_B_match', protocol='CME'),
        ),
        frozenset({'raw', 'view', 'protocol', 'simulate', 'people'}),
        layouts=(2,),
    ),
    'DEMO': Recipe(_find_demo, (Target(splits.one_per_person),), frozenset({'holdout', 'people', 'recordings'})),
}
# Recordings of the user's own, under any other name.
OWN = Recipe(_find_own, (Target(splits.own),), frozenset({'raw', 'holdout', 'skeleton', 'leave_out', 'units', 'up'}))
