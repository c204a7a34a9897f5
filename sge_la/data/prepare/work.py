"""What is written of one data set and length: who is trained and tested on, the arrays, and how they were made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.dataset import LEAKS
from sge_la.data.layout import dataset_files
from sge_la.data.loading import LAYOUT_ORDER
from sge_la.data.prepare.inspection import Inspected, cost_of_gaps, first_frames, way_of
from sge_la.data.prepare.recipes import Recipe, Target
from sge_la.data.prepare.sequences import Cutting, cut
from sge_la.data.prepare.settings import Settings
from sge_la.data.prepare.split_file import SplitFile, to_json
from sge_la.data.prepare.splits import Tree, share_of, within_recordings
from sge_la.data.quality.lost import some
from sge_la.data.raw.recording import RawData, Recording
from sge_la.data.write import NewSplit, write_dataset
from sge_la.errors import UserError
from sge_la.files.text import read_json

# What `prepare.json` says of its form; a reader can refuse a newer one.
FORMAT = 1
# train.py's default batch.
_BATCH = 128
# Settings that change no array.
_NOT_KEPT = ('name', 'raw', 'accept')


@dataclass(frozen=True)
class Work:
    """Everything that goes into the folders of one data set and one length."""

    settings: Settings
    recipe: Recipe
    target: Target
    raw: RawData
    recordings: list[Recording]
    copies: dict[int, str]
    found: Inspected
    notes: tuple[str, ...]
    length: int
    kept: SplitFile | None

    def write(self, data_dir: Path, overwrite: bool) -> Iterator[str]:
        """Chooses, cuts and writes; yields lines of the summary."""
        short = {
            index: f'has no {self.length} frames in a row'
            + (f' ({self.found.counts[index]} frames have lost joints)' if self.found.lost[index] else '')
            for index, recording in enumerate(self.recordings)
            if index not in self.copies and not len(first_frames(recording, self.length))
        }
        yield from left_out_lines(self.recordings, short)
        gaps = cost_of_gaps(
            [item for index, item in enumerate(self.recordings) if index not in self.copies], self.length
        )
        yield from shortened('note: ', gaps)
        left_out = self.copies | short
        used = [index for index in range(len(self.recordings)) if index not in left_out]
        if not used:
            lost = sum(self.found.counts)
            why = f' and without the {lost} frames that have lost joints' if lost else ''
            what = '--length, --lost interpolate or --lost keep' if lost else '--length or --clip'
            raise UserError(
                f'no recording of {self.settings.name} has {self.length} frames in a row after clipping{why}; '
                f'give a smaller {what}'
            )
        for tree in self._trees(used):
            tests = {name: [used[at] for at in test] for name, test in tree.tests.items()}
            windows = tree.windows and {used[at]: first for at, first in tree.windows.items()}
            tree = replace(tree, train=[used[at] for at in tree.train], tests=tests, windows=windows)
            yield from self._write_tree(tree, left_out, data_dir, overwrite)

    def _trees(self, used: list[int]) -> list[Tree]:
        """What is trained and tested on; recordings as places in `used`."""
        if self.kept is not None:
            return [self.kept.tree([item.raw for item in self.recordings], used, self.length)]
        raws = [self.recordings[index].raw for index in used]
        if share_of(self.settings.holdout):
            firsts = [first_frames(self.recordings[index], self.length) for index in used]
            return [within_recordings(raws, firsts, self.settings)]
        return self.target.split(raws, self.settings)

    def _write_tree(self, tree: Tree, left_out: dict[int, str], data_dir: Path, overwrite: bool) -> Iterator[str]:
        parts = {'train': tree.train, **tree.tests}
        cuts = dict.fromkeys(parts, Cutting.whole(self.length))
        cuts['train'] = self.recipe.training_cut(self.length, self.settings)
        splits, counts = {}, {}
        for name, part in parts.items():
            splits[name], counts[name] = self._new_split(part, cuts[name], tree.windows, name != 'train')
        self._check(splits, tree.open_set)
        name, layout = self.target.folder or self.settings.name, self.settings.layout
        place = dataset_files(data_dir, name, self.length, layout, tree.view)
        record = self._record(cuts, counts, splits, left_out, tree)
        note = self.kept.refuse_other_arrays(self.length, record['splits']) if self.kept else ''
        names = [item.raw.name for item in self.recordings]
        idle = [names[index] for index in sorted(set(range(len(names))).difference(*parts.values()))]
        files = write_dataset(
            data_dir,
            name,
            splits['train'],
            {test: splits[test] for test in tree.tests},
            layout=layout,
            view=tree.view,
            overwrite=overwrite or _is_ours(place.train.folder),
            skeleton=self.raw.skeleton,
            prepared=record,
            split=to_json(asdict(self.settings), self.length, tree, names, idle, record['splits']),
        )
        yield f'{files.root} (layout {layout}):'
        for part, split in splits.items():
            yield (
                f'  {part}: {len(split.skeletons)} sequences of {self.length} frames, {len(split.ids)} people, '
                f'{len(parts[part])} recordings'
            )
        yield from (f'note: {text}' for text in (note, record.get('leaks')) if text)
        for other in LAYOUT_ORDER[: LAYOUT_ORDER.index(layout)]:
            if dataset_files(data_dir, name, self.length, other, tree.view).train.ids.exists():
                yield f'note: layout {other} of {name} is in {data_dir} too, and read first; give another --data_dir'
        yield from shortened('note: ', self._not_tested(tree))
        count = len(splits['train'].skeletons)
        if count < _BATCH:
            yield (
                f'note: {count} training sequences are fewer than a batch of {_BATCH}; '
                f'train with --batch_size {count} or less'
            )

    def _not_tested(self, tree: Tree) -> list[str]:
        """Names those who are trained on and cannot be recognised in any test set."""
        tested = {self.recordings[index].raw.identity for test in tree.tests.values() for index in test}
        missing = {
            self.recordings[index].raw.person: sum(
                self.recordings[other].raw.identity == identity for other in tree.train
            )
            for index in tree.train
            if (identity := self.recordings[index].raw.identity) not in tested
        }
        if not missing or tree.open_set:
            return []
        once = sum(count == 1 for count in missing.values())
        why = f' ({once} of them have one recording, which is trained on)' if once else ''
        return [f'{len(missing)} people have no test recording and are not tested{why}: {some(list(missing), 12)}']

    def _new_split(
        self, part: list[int], cutting: Cutting, windows: Mapping[int, np.ndarray] | None, tested: bool
    ) -> tuple[NewSplit, dict[int, int]]:
        """Cuts the recordings of one split, and counts the sequences of each; `windows`: as in `Tree`."""
        if not part:
            return NewSplit(np.empty((0, cutting.length, len(self.raw.skeleton.joints), 3), np.float32), {}), {}
        chosen = [self.recordings[index] for index in part]
        sequences = cut([item.frames for item in chosen], cutting, [item.numbers for item in chosen])
        if windows is not None:
            frames = [windows.get(index, np.empty(0, np.int64))[:, None] + np.arange(cutting.length) for index in part]
            sequences = sequences.inside(frames) if tested else sequences.outside(frames)
        if self.settings.center is not None:
            centre = self.raw.skeleton.index(self.settings.center)
            sequences.skeletons[:] -= sequences.skeletons[:, :, centre : centre + 1].copy()
        numbers = self._numbers()
        origin = np.array([numbers[index] for index in part], np.int64)[sequences.recordings]
        labels = np.array([item.raw.identity for item in chosen], np.int64)[sequences.recordings]
        ids = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        counts = np.bincount(sequences.recordings, minlength=len(part)).tolist()
        return NewSplit(sequences.skeletons, ids, origin), dict(zip(part, counts, strict=True))

    def _numbers(self) -> list[int]:
        """The number of each recording: its place in the list, or that of the first view of the same walk."""
        first = {}
        return [
            first.setdefault((item.raw.identity, item.raw.walk), index) if item.raw.walk else index
            for index, item in enumerate(self.recordings)
        ]

    def _check(self, splits: dict[str, NewSplit], open_set: bool) -> None:
        for name, split in splits.items():
            what = 'training set' if name == 'train' else f"test set '{name}'"
            if not len(split.skeletons):
                if len({item.raw.identity for item in self.recordings}) == len(set(self._numbers())):
                    raise UserError(
                        f'nobody in {self.settings.name} has a second recording, and one to train and one to test on '
                        'were expected of each person; add recordings, or cut each in two and name the parts'
                    )
                raise UserError(
                    f'the {what} of {self.settings.name} would have no sequence of {self.length} frames, since people '
                    'have too few recordings or too short ones; check that the raw data are all there, and what is '
                    'held out, or choose another --layout'
                )
            strangers = sorted(set(split.ids) - set(splits['train'].ids))
            if strangers and not open_set:
                person = next(item.raw.person for item in self.recordings if item.raw.identity == strangers[0])
                raise UserError(
                    f'{person} is in the {what} of {self.settings.name} and has no training sequence; hold out '
                    'other recordings, or take this person out of the raw data'
                )

    def _record(
        self,
        cuts: dict[str, Cutting],
        counts: dict[str, dict[int, int]],
        splits: dict[str, NewSplit],
        left_out: dict[int, str],
        tree: Tree,
    ) -> dict[str, Any]:
        """What `prepare.json` holds: enough for somebody with the same raw data to get the same files."""
        leaks = tree.windows is not None
        where = {index: 'train and test' if leaks else name for name, part in counts.items() for index in part}
        # Without a leak, parts share recordings only where one is a part of another, as CASIA-B's conditions are.
        total = sum if leaks else max
        return {
            'format': FORMAT,
            'dataset': self.settings.name,
            **({'leaks': LEAKS} if leaks else {}),
            'length': self.length,
            'settings': {key: value for key, value in asdict(self.settings).items() if key not in _NOT_KEPT},
            'way': way_of(self.settings, self.raw).to_json(),
            'cutting': {name: asdict(cutting) for name, cutting in cuts.items()},
            'people': {item.raw.identity: item.raw.person for item in self.recordings},
            'splits': {
                name: {
                    'sequences': len(split.skeletons),
                    'people': len(split.ids),
                    'sha256': hashlib.sha256(np.ascontiguousarray(split.skeletons, '<f4')).hexdigest(),
                }
                for name, split in splits.items()
            },
            'notes': self.notes,
            'recordings': [
                {
                    'number': number,
                    'name': item.raw.name,
                    'identity': item.raw.identity,
                    'clip': self.recipe.clip_of(item.raw, self.settings),
                    'frames': len(item.frames),
                    'lost': self.found.lost[index],
                    'split': where.get(index),
                    'sequences': total(part.get(index, 0) for part in counts.values()),
                    'left_out': left_out.get(index),
                }
                for index, (item, number) in enumerate(zip(self.recordings, self._numbers(), strict=True))
            ],
        }


def _is_ours(folder: Path) -> bool:
    """Whether an earlier `prepare` has written what lies there."""
    path = folder / 'prepare.json'
    return path.exists() and isinstance(content := read_json(path), dict) and 'format' in content


def left_out_lines(recordings: list[Recording], reasons: dict[int, str]) -> Iterator[str]:
    return shortened('left out: ', [f'{recordings[index].raw.name} {why}' for index, why in reasons.items()])


def shortened(prefix: str, lines: Sequence[str], limit: int = 12) -> Iterator[str]:
    yield from (prefix + line for line in lines[:limit])
    if len(lines) > limit:
        yield f'{prefix}{len(lines) - limit} more like these; prepare.json has all'
