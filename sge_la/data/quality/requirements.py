"""What train.py needs of a data set, whether it has that, and the command that works with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sge_la.data.holdout import hold_out
from sge_la.data.quality.findings import Part, Report
from sge_la.errors import typed
from sge_la.settings.papers import BATCH_SIZE, CME, CONDITION_MATCHING, CVE, DATASET, LENGTHS


def requirements(
    report: Report, train: Part, tests: Sequence[Part], data_dir: Path | str, view: int | None
) -> list[str]:
    """Lines for the user: each need and whether it is met, then the command.

    `train`, `tests`: what could be read; `data_dir`, `view`: where the data set was looked for.
    """
    if train.skeletons is None or train.ids is None or report.bad:
        return ['train.py: correct what is bad first']
    count, people = sum(map(len, train.ids.values())), len(train.ids)
    lines = [
        _line(people > 1, f'two people or more to tell apart: {people}'),
        _line(
            count >= BATCH_SIZE, f'a batch of {BATCH_SIZE} training sequences: {count}', '--batch_size makes it smaller'
        ),
    ]
    tested = set().union(*(part.ids for part in tests if part.ids is not None))
    if report.name != CONDITION_MATCHING:
        known = len(tested & set(train.ids))
        lines.append(_line(known > 0, f'people who are trained on and tested: {known} of {people}'))
    lines.append(
        _line(train.recordings is not None, 'the recordings of training sequences are known', 'persons stand in')
    )
    flags = _batch(count)
    if report.name != CONDITION_MATCHING:  # trains no network whose epoch could be chosen
        held, flags = _held_out(train, count, people)
        lines.append(held)
    if people < 2 or count < 2:
        return ['train.py needs', *lines, 'no command works before there is more']
    return ['train.py needs', *lines, f'works: {_command(report, data_dir, view, flags)}']


def _line(met: bool, need: str, without: str = '') -> str:
    return f'  {"met" if met else "NOT MET"}: {need}' + (f' ({without})' if without and not met else '')


def _held_out(train: Part, count: int, people: int) -> tuple[str, dict[str, object]]:
    """Whether the epoch can be chosen without the test set, and the flags of a run that does it if it can."""
    twice = 0
    if train.recordings is not None:
        twice = sum(len(np.unique(train.recordings[rows])) > 1 for rows in train.ids.values())
    training, held = hold_out(train.skeletons, train.ids, train.recordings)
    left = sum(map(len, training.values()))
    line = _line(
        twice == people,
        f'two training recordings or more of each person, so that --select val can hold one out: {twice} of {people}',
        'a tenth of a person stands in' if any(map(len, held.values())) else '--select last chooses without',
    )
    select = 'val' if any(map(len, held.values())) and left > 1 else 'last'
    size = left if select == 'val' else count
    return line, {'select': select, **_batch(size)}


def _batch(count: int) -> dict[str, object]:
    return {'batch_size': count // 2 * 2} if count < BATCH_SIZE else {}


def _command(report: Report, data_dir: Path | str, view: int | None, flags: Mapping[str, object]) -> str:
    protocol = {DATASET: CVE, CONDITION_MATCHING: CME}.get(report.name)
    return typed(
        'train',
        dataset=DATASET if protocol else report.name,
        protocol=protocol,
        view=view,
        length=None if report.length == LENGTHS.get(protocol, 6) else report.length,
        data_dir=None if Path(data_dir) == Path('Datasets') else data_dir,
        **flags,
    )
