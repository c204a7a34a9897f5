"""The runs of a sweep: every combination of the values that a file or the command line gives to train.py's flags."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain, islice, product
from pathlib import Path
from typing import Any

from sge_la.data.casia_b import cases_at_hand
from sge_la.errors import UserError
from sge_la.files.text import read_json
from sge_la.runs.find import recognition_folder
from sge_la.settings.command_line import checked
from sge_la.settings.options import TrainOptions
from sge_la.settings.papers import CME, protocol_of
from sge_la.settings.parser import did_you_mean, options_parser

# Flags of train.py that a sweep has no use for: its file takes the place of --config, a run always goes on, and has a
# device to itself.
NOT_HERE = frozenset({'config', 'resume', 'together', 'devices'})
# Runs in a sweep, and bytes of the file that lists them.
MOST_RUNS, _MOST_BYTES = 10_000, 2**20
_FLAGS = {item.name: item for item in fields(TrainOptions) if item.name not in NOT_HERE}
_SEEDS = frozenset({'seed', 'by_seed', 'runs'})


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    `typed`: the flags that were given for it; `options`: what they come to; `folder`: of its recognition network.
    """

    typed: Mapping[str, Any]
    options: TrainOptions

    @property
    def folder(self) -> Path:
        return recognition_folder(self.options)

    @property
    def setting(self) -> dict[str, Any]:
        """What it shares with its repeats, which differ in their seeds alone."""
        return {name: value for name, value in self.typed.items() if name not in _SEEDS}


def read_grids(path: Path) -> list[dict[str, list]]:
    """Reads the flags of a sweep from a JSON file: one object, or a list of them, from flags to a value or a list.

    `path`: the file, which may be anybody's; null stands for a flag that is left alone. Returns, for each object, the
    values of each flag as parsing gives them. Raises UserError: it is no such file.
    """
    content = read_json(path, _MOST_BYTES)
    grids = content if isinstance(content, list) else [content]
    if not grids or not all(isinstance(grid, dict) for grid in grids):
        raise UserError(
            f'{path} should hold the flags of a sweep, such as {{"dataset": "BIWI", "seed": [0, 1, 2]}}, or a list of '
            'such objects, and does not; see docs/scaling.md'
        )
    _refuse_too_many(sum(math.prod(len(v) if isinstance(v, list) else 1 for v in grid.values()) for grid in grids))
    parser = options_parser(TrainOptions, 'train', '')
    return [{name: [*_values(path, parser, name, value)] for name, value in grid.items()} for grid in grids]


def _values(path: Path, parser: argparse.ArgumentParser, name: str, value: Any) -> Iterator[Any]:
    if name not in _FLAGS:
        raise UserError(f'{path}: a sweep has no flag {name!a}{did_you_mean(name, _FLAGS)}; take it out of the file')
    for one in value if isinstance(value, list) and value else [value]:
        if not isinstance(one, (str, int, float, type(None))):
            raise UserError(f'{path}: {name}: expected a value or a list of values, found {str(one)!a:.80}')
        if one is None:
            yield None
        elif isinstance(_FLAGS[name].default, bool):
            if not isinstance(one, bool):
                raise UserError(f'{path}: {name} should be true or false, found {one!a:.80}')
            yield one
        else:
            try:  # one word, so that whoever wrote the file types no flags of their own
                yield vars(parser.parse_args([f'--{name}={one}']))[name]
            except UserError as error:
                raise UserError(f'{path}: {error}') from error


def _refuse_too_many(count: int) -> None:
    if count > MOST_RUNS:
        raise UserError(f'a sweep has at most {MOST_RUNS} runs, and these flags have more combinations: give fewer')


def runs_of(grids: Sequence[Mapping[str, Sequence]]) -> list[Run]:
    """The runs of a sweep, each once.

    `grids`: the values of each flag, None for one that is left alone; each grid gives all its combinations, the seeds
    of a setting one after the other. Where a sweep has several seeds, their runs have folders of their own, as those of
    `--runs`. Raises UserError: a combination that means nothing, or two that would share a folder.
    """
    every = list(islice(chain.from_iterable(map(_combinations, grids)), MOST_RUNS + 1))  # --runs may ask for any number
    _refuse_too_many(len(every))
    seeds = {typed.get('seed', TrainOptions.seed) for typed in every}
    if len(seeds) > 1:
        every = [{**typed, 'by_seed': True} for typed in every]
    found: dict[Path, Run] = {}
    for run in (run for typed in every for run in _single(typed)):
        other = found.setdefault(run.folder, run)
        if other.options != run.options:
            raise UserError(
                f'{_told(run, other)} and {_told(other, run)} would share the folder {run.folder}: sweep over flags '
                'that its name tells, or give them different --models_dir'
            )
    return list(found.values())


def _combinations(grid: Mapping[str, Sequence]) -> Iterator[dict[str, Any]]:
    """Every combination of a grid, with a seed for each of its `--runs`; seeds change fastest."""
    names = sorted(grid, key=lambda name: name in _SEEDS)
    for values in product(*(grid[name] for name in names)):
        given = zip(names, values, strict=True)
        typed = {name: value for name, value in given if value is not None and value is not False}  # 0 is a value
        first, repeats = typed.get('seed', TrainOptions.seed), typed.pop('runs', 1)
        yield from ({**typed, 'seed': seed} for seed in range(first, first + repeats)) if repeats > 1 else [typed]


def _single(typed: Mapping[str, Any]) -> Iterator[Run]:
    """The run of some flags; of CASIA-B's `--view all` one for each view that is there."""
    options = checked(TrainOptions(**typed), frozenset(typed))
    if protocol_of(options) == CME:
        raise UserError(
            '--protocol CME trains no recognition network, and has nothing that a sweep could repeat but --probe_type: '
            'use train.py --probe_type all'
        )
    for case in cases_at_hand(options):
        yield Run(typed if case == options else {**typed, 'view': case.view}, case)


def _told(run: Run, other: Run) -> str:
    """The flags in which a run differs from another one, as they would be typed."""
    return ' '.join(f'--{name} {run.typed.get(name, "(left alone)")}' for name in differing([run.typed, other.typed]))


def differing(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """The flags that are not the same in all of these, in the order in which they first occur."""
    settings = list(settings)
    names = dict.fromkeys(name for setting in settings for name in setting)
    return [name for name in names if len({setting.get(name) for setting in settings}) > 1]
