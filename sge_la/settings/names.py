"""Names of the run folders under `Models/`, in the original's spelling, there and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sge_la.errors import UserError
from sge_la.settings.options import FLOAT32
from sge_la.settings.papers import CME, CVE, DATASET, DOUBLE_PRETEXT, PLUS, TASKS, ablation_row
from sge_la.settings.recipe import MODERN

ENCODER_ROOT = 'Gait_Encoding_models'
RECOGNITION_ROOTS = {'CAGE': 'CAGEs_RN_models', 'AGE': 'AGEs_RN_models'}
_WORD = r'(?:[^\W_]|[.+-])*'  # of what `papers.is_dataset_name` lets a data set be called
_DATASET = rf'(?P<dataset>IAS(?=-[AB]_)|CASIA_B|[^\W_]{_WORD})(?:(?<=^IAS)-(?P<test_set>[AB]))?'
_MODEL = r'(?:_(?P<attention>[A-Za-z]+))?(?:_RN_(?P<manner>ap|sc)|_(?P<axis>[xyz]))'
_KEY = (
    r'_(?P<length>[0-9]{1,4})_(?P<temperature>[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)_(?P<frozen>[01])'
    r'(?:view_(?P<view>[0-9]{1,2}))?'
    rf'pre_(?P<task>{"|".join((PLUS, *TASKS))})'
)
# CASIA-B's names end in ways of their own, the second even in an underscore.
_CASIA_B = r'(?:_test_adj_2|_double_(?:rev_rec\+pred|rev_rec\+sort|pred\+sort)?)?'
_SUFFIX = rf'(?P<suffix>{_CASIA_B}(?:_[A-Za-z]{_WORD})*)'
_NAME = re.compile(f'{_DATASET}{_MODEL}(?:{_KEY})?{_SUFFIX}')


def encoder_suffix(options, task: str) -> str:
    """What the encoder folders' names need beyond the original's: options that change the encoder but do not show."""
    if options.recipe == MODERN:  # encoders and network are one training, whatever changes either
        return f'{recognition_suffix(options)}-{options.manner}'
    parts = []
    if options.ablation and (encoder := ablation_row(options.ablation).encoder):
        parts.append(f'ablation-{encoder}')
    # Another data set's encoder has seen none of this one's sequences, held out or not.
    if options.select == 'val' and not options.transfer:
        parts.append('select-val')
    if options.faithful and trains_otherwise(options, task):
        parts.append('faithful')
    if options.precision != FLOAT32:
        parts.append(f'precision-{options.precision}')
    if options.unknown is not None and not options.transfer:
        parts.append(f'unknown-{options.unknown:g}')
    if options.by_seed and not options.transfer:
        parts.append(f'seed-{options.seed}')
    return casia_b_encoder_suffix(options) + ''.join(f'_{part}' for part in parts)


def trains_otherwise(options, task: str) -> bool:
    """Whether `--faithful` trains the encoder of a task in another way.

    `sorting` permutes x, y and z apart; on CASIA-B neither `sorting` nor `prediction` has targets of its own.
    """
    return task == 'sorting' or (task == 'prediction' and options.dataset == DATASET)


def changed_by_faithful(options) -> bool:
    """Whether `--faithful` trains another recognition network, or the same one (and only scores may differ)."""
    return options.faithful and (options.model == PLUS or trains_otherwise(options, options.model))


def recognition_suffix(options) -> str:
    """What the recognition network's folder name needs beyond the original's."""
    parts = []
    if options.recipe == MODERN:
        parts += [f'recipe-{MODERN}', *([f'without-{options.without}'] if options.without else [])]
        parts += ['supervised'] if options.supervised else []
    if options.ablation:
        parts.append(f'ablation-{options.ablation}')
    if options.transfer:
        parts.append(f'transfer-{options.transfer}')
    if options.c_reid:
        parts.append('c_reid')
    if options.select != 'test':
        parts.append(f'select-{options.select}')
    if options.probe:
        parts.append(f'probe-{options.probe}')
    if changed_by_faithful(options):
        parts.append('faithful')
    if options.precision != FLOAT32:
        parts.append(f'precision-{options.precision}')
    if options.unknown is not None:
        parts.append(f'unknown-{options.unknown:g}')
    if options.by_seed:
        parts.append(f'seed-{options.seed}')
    return casia_b_recognition_suffix(options) + ''.join(f'_{part}' for part in parts)


def options_of_suffix(suffix: str) -> dict[str, Any]:
    """The options that a suffix of a recognition network's folder tells, the reverse of `recognition_suffix`."""
    found: dict[str, Any] = {}
    named = r'_(ablation|transfer|select|probe|precision|seed|recipe|without|unknown)-([^_]+)'
    found |= {match[1]: match[2] for match in re.finditer(named, suffix)}
    if re.search(r'_c_reid(?=_|$)', suffix):
        found['c_reid'] = 1
    marks = {'faithful': '_faithful', 'by_seed': '_seed-', 'supervised': '_supervised'}
    found |= {name: True for name, mark in marks.items() if mark in suffix}
    return found


def casia_b_encoder_suffix(options) -> str:
    """The end of the encoder folders' names; those of rev_rec_plus have none of the original's.

    `_norm-0` is ours: the original keeps both kinds of coordinates in the same folders.
    """
    if options.dataset != DATASET:
        return ''
    ending = {CVE: '_test_adj_2', CME: '_mid_match'}[options.protocol] if options.model != PLUS else ''
    return ending + ('' if options.norm else '_norm-0')


def casia_b_recognition_suffix(options) -> str:
    """The end of the recognition folder's name, `_double_` even where nothing follows, as in the original.

    CME has no recognition network; its results lie in a folder that is named as if there were one.
    """
    if options.dataset != DATASET:
        return ''
    if options.model != PLUS:
        return casia_b_encoder_suffix(options)
    return f'_double_{options.double_pretext}' + ('' if options.norm else '_norm-0')


def of_casia_b_suffix(suffix: str) -> dict[str, object]:
    """What the end of a folder's name says of the options, the reverse of the two above."""
    double = next((name for name in DOUBLE_PRETEXT if name and f'_double_{name}' in suffix), '')
    protocol = CME if '_mid_match' in suffix else CVE
    return {'protocol': protocol, 'double_pretext': double, 'norm': 0 if '_norm-0' in suffix else 1}


@dataclass(frozen=True)
class RunName:
    """What a folder's name says; None where it does not say.

    Attributes:
        kind: 'encoder' (one axis) or 'recognition'.
        encoding: 'CAGE', or 'AGE' for the short names of the IJCAI 2020 code.
        dataset: e.g. 'BIWI'.
        test_set: 'A' or 'B' in the authors' folders `IAS-A_...` and `IAS-B_...`.
        attention: 'LA', 'BA' or an ablation's; rev_rec_plus leaves it out.
        axis: 'x', 'y' or 'z' of an encoder.
        manner: 'ap' or 'sc' of a recognition network.
        length: T.
        temperature: t of the contrastive loss.
        frozen: 0 or 1.
        view: KS20's or CASIA-B's view.
        task: the pretext task.
        suffix: what follows, e.g. '_select-val_transfer-KGBD'.
    """

    kind: str
    encoding: str
    dataset: str
    test_set: str | None = None
    attention: str | None = None
    axis: str | None = None
    manner: str | None = None
    length: int | None = None
    temperature: float | None = None
    frozen: int | None = None
    view: int | None = None
    task: str | None = None
    suffix: str = ''

    def folder(self, models_dir: Path | str) -> Path:
        """The folder that is called so, e.g. `Gait_Encoding_models/BIWI_LA_x_6_0.1_0pre_rev_rec`.

        Names of AGE (SGE-LA, IJCAI 2020) end after axis or manner: it knows one length and no temperature. Those of
        networks leave out the attention of rev_rec_plus and the view of IAS, as in the original.
        """
        network = self.kind == 'recognition'
        attention = [] if self.task == PLUS else [self.attention]
        parts = [self.dataset, *attention, *(['RN', self.manner] if network else [self.axis])]
        if self.encoding == 'CAGE':
            view = '' if self.view is None or (network and self.dataset == 'IAS') else f'view_{self.view}'
            parts += [str(self.length), str(float(self.temperature)), f'{self.frozen}{view}pre_{self.task}']
        root = RECOGNITION_ROOTS[self.encoding] if network else ENCODER_ROOT
        return Path(models_dir) / root / ('_'.join(parts) + self.suffix)


def parse_run_name(name: str) -> RunName:
    """Reads the name of a run's folder, in any variant that the original, its authors' releases or we write.

    `name`: without the folders above it, e.g. `BIWI_LA_RN_ap_6_0.1_0pre_rev_rec` or `BIWI_LA_x`. Raises UserError: it
    is no such name.
    """
    match = _NAME.fullmatch(name) if len(name) < 256 else None
    found = match.groupdict() if match else {}
    # Only rev_rec_plus, which has no attention of its own, leaves it out; there are no encoders of it.
    plus = found.get('task') == PLUS
    if not match or (plus and (found['attention'] or found['axis'])) or (not plus and not found['attention']):
        shown = name if len(name) < 100 else name[:100] + '...'
        raise UserError(
            f'the folder name {shown!r} cannot be read; expected one like BIWI_LA_RN_ap_6_0.1_0pre_rev_rec, '
            'BIWI_LA_x_6_0.1_0pre_rev_rec or BIWI_LA_RN_ap; check --RN_dir or the folder'
        )
    numbers = {'length': int, 'temperature': float, 'frozen': int, 'view': int}
    values = {key: kind(found[key]) for key, kind in numbers.items() if found[key] is not None}
    words = {key: found[key] for key in ('dataset', 'test_set', 'attention', 'axis', 'manner', 'task', 'suffix')}
    return RunName(
        kind='encoder' if found['axis'] else 'recognition',
        encoding='AGE' if found['length'] is None else 'CAGE',
        **words,
        **values,
    )
