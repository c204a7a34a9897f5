"""The file `split.json`: which recordings, or sequences, are trained and tested on, for somebody to do it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.layout import LONGEST
from sge_la.data.prepare.splits import Tree
from sge_la.data.raw.recording import RawRecording
from sge_la.errors import UserError
from sge_la.files.text import read_json

_FORMAT = 1
# Settings that are flags with one value, with several, and with none.
_ONE = ('layout', 'seed', 'step', 'center', 'people', 'recordings', 'skeleton', 'units', 'up', 'lost', 'max_gap')
_MANY = {'offsets': 'offsets', 'clip': 'clip', 'leave_out': 'leave_out', 'views': 'view', 'protocols': 'protocol'}
_ALONE = ('simulate', 'keep_copies', 'unit_size')
# What `holdout` says of roles that somebody has written down by hand.
BY_HAND = 'by hand'


@dataclass(frozen=True)
class SplitFile:
    """What `split.json` says.

    Attributes:
        path: the file.
        length: T of its arrays.
        flags: the settings as arguments of the command.
        holdout: the rule by which it was made.
        roles: 'train' or a test set → names of recordings.
        left_out: names of recordings that have no role.
        windows: name of a recording → first frames of its tested sequences, where recordings are on both sides.
        view, open_set: as in `Tree`.
        sums: role → SHA-256 of its arrays, where the file has them.
        alike: whether nothing that was typed besides changes the settings.
    """

    path: Path
    length: int
    flags: tuple[str, ...]
    holdout: str | tuple[str, ...] | None
    roles: Mapping[str, frozenset[str]]
    left_out: frozenset[str]
    windows: Mapping[str, np.ndarray] | None
    view: int | None
    open_set: bool
    sums: Mapping[str, str]
    alike: bool = False

    def tree(self, recordings: Sequence[RawRecording], used: Sequence[int], length: int) -> Tree:
        """Who is trained and tested on.

        `recordings`: all that were found; `used`: indices of those that are not left out; `length`: T. The indices of
        the tree are places in `used`. Raises UserError: the file is of other recordings, or of another length.
        """
        found, named = {raw.name for raw in recordings}, self.left_out.union(*self.roles.values())
        for names, what in ((named - found, 'which the raw data lack'), (found - named, 'which are not in the file')):
            if names:
                raise UserError(
                    f'{self.path} was expected to name just the recordings of the raw data, and there are '
                    f'{len(names)} {what}, such as {min(names)!r}; give --raw the data that the split was made of'
                )
        if self.windows is not None and length != self.length:
            raise UserError(
                f'{self.path} names sequences of {self.length} frames, and {length} were asked for; leave out --length'
            )
        places = {recordings[index].name: at for at, index in enumerate(used)}
        parts = {role: sorted(places[name] for name in names & places.keys()) for role, names in self.roles.items()}
        windows = self.windows and {places[name]: own for name, own in self.windows.items() if name in places}
        return Tree(parts.pop('train'), parts, self.view, self.open_set, windows)

    def refuse_other_arrays(self, length: int, splits: Mapping[str, Mapping[str, Any]]) -> str:
        """Compares checksums.

        `splits`: role → what `prepare.json` says of it. Returns a note, or ''. Raises UserError: settings and length
        are those of the file, and the arrays are not.
        """
        if not self.sums:
            return f'{self.path.name} has no checksums to compare the arrays with'
        if not self.alike or length != self.length:
            return f'cut otherwise than {self.path.name} says: its counts and checksums are of other arrays'
        for role, sums in self.sums.items():
            if splits.get(role, {}).get('sha256') != sums:
                raise UserError(
                    f'{self.path} was made of other raw data: the arrays of {role!r} should have the SHA-256 '
                    f'{sums:.12}... and have {splits.get(role, {}).get("sha256", "none"):.12}; compare the raw files'
                )
        return ''


def to_json(
    settings: Mapping[str, Any], length: int, tree: Tree, names: Sequence[str], left_out: Sequence[str], splits: Any
) -> dict[str, Any]:
    """What `split.json` holds.

    `settings`: those that `prepare.json` keeps; `tree`: with indices into `names`, those of all recordings; `splits`:
    counts and checksums by role.
    """
    roles = {'train': tree.train, **tree.tests}
    return {
        'format': _FORMAT,
        'dataset': settings['name'],
        'length': length,
        'holdout': settings['holdout'],
        'leaks': tree.windows is not None,
        'view': tree.view,
        'open_set': tree.open_set,
        'settings': {
            key: settings[key]
            for key in (*_ONE, *_MANY, *_ALONE)
            if settings[key] is not None and settings[key] is not False
        },
        'splits': splits,
        'recordings': {role: [names[index] for index in part] for role, part in roles.items()},
        'left_out': list(left_out),
        'windows': None
        if tree.windows is None
        else {names[index]: first.tolist() for index, first in tree.windows.items()},
    }


def read_split(path: Path, name: str) -> SplitFile:
    """Reads a `split.json`.

    `name`: the data set that it should be of. Raises UserError: it is none, or of another data set.
    """
    if not path.exists():
        raise UserError(f'--split {path} should be a split.json that prepare has written, and there is no such file')
    content = read_json(path)
    content = content if isinstance(content, dict) else {}
    if content.get('format') != _FORMAT or content.get('dataset') != name:
        raise UserError(
            f'{path} should be a split of {name} in format {_FORMAT}, and is of '
            f'{str(content.get("dataset"))!a:.60} in format {str(content.get("format"))!a:.20}; give another --split'
        )
    roles, windows, holdout = content.get('recordings'), content.get('windows'), content.get('holdout', BY_HAND)
    sound = (
        isinstance(roles, dict)
        and len(roles) > 1
        and 'train' in roles
        and all(map(_are_names, roles.values()))
        and _are_names(content.get('left_out', []))
        and (windows is None or (isinstance(windows, dict) and all(map(_are_frames, windows.values()))))
        and (holdout is None or isinstance(holdout, str) or _are_names(holdout))
        and isinstance(content.get('settings', {}), dict)
        and isinstance(content.get('splits', {}), dict)
        and type(content.get('length')) is int
        and 2 <= content['length'] <= LONGEST
        and (content.get('view') is None or (type(content['view']) is int and 0 <= content['view'] <= 10))
    )
    if not sound:
        raise UserError(
            f'{path} should name recordings by role (train, and at least one test set) with length and settings, as '
            'prepare writes it, and does not; make it again'
        )
    _refuse_two_roles(path, roles, content.get('left_out', []), windows)
    splits = content.get('splits', {})
    sums = {role: part.get('sha256') for role, part in splits.items() if isinstance(part, dict)}
    return SplitFile(
        path,
        content['length'],
        tuple(_flags(content.get('settings', {}))),
        tuple(holdout) if isinstance(holdout, list) else holdout,
        {role: frozenset(names) for role, names in roles.items()},
        frozenset(content.get('left_out', [])),
        None if windows is None else {name: np.array(first, np.int64) for name, first in windows.items()},
        content.get('view'),
        content.get('open_set') is True,
        {role: value for role, value in sums.items() if isinstance(value, str)},
    )


def _refuse_two_roles(path: Path, roles: Mapping[str, list[str]], left_out: list[str], windows: Any) -> None:
    """A recording has one role, unless sequences are named; conditions of CASIA-B are parts of all of them."""
    trained = set(roles['train'])
    for role, names in roles.items():
        both = trained.intersection(names) if role != 'train' and windows is None else set()
        if both := both or set(left_out).intersection(names):
            raise UserError(
                f'{path}: {min(both)!r} should have one role and has two, {role!r} is one; correct the file'
            )


def _flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as arguments of the command, whose parser refuses what cannot be."""
    flags = []
    for key, value in settings.items():
        if key in _ALONE:
            flags += [f'--{key}'] * (value is True)
        elif key in _MANY and isinstance(value, list):
            # A text that begins with - would be another flag.
            flags += [f'--{_MANY[key]}', *(str(item).lstrip('-') for item in value or ['all'])]
        elif key in _ONE and not (key == 'seed' and value == 0):
            flags.append(f'--{key}={value}')
    return flags


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name.isprintable() for name in value)


def _are_frames(value: Any) -> bool:
    return isinstance(value, list) and all(type(frame) is int and 0 <= frame < 2**31 for frame in value)
