"""What of a data set and of its scores cannot be trusted, on one page: `python -m sge_la.reporting.audit NAME`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sge_la.errors import program, run_command, say
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.data.quality.findings import Report

_DESCRIPTION = """\
Looks for what makes scores of a data set too high, and prints it on one page: recordings and frames that are both
trained on and tested on, test recordings that are nearly training recordings, copies within one set, and, for each run
of this data set, what the choice of the epoch on the test set adds to the last epoch's score.

Exit status: 0 nothing is on both sides, 1 something is, or the data set is damaged, 2 there is no such data set or the
arguments are wrong.
"""
_VIEW = 'not looked for: views of one walk are on both sides of a cross-view test on purpose'
_UNKNOWN = 'not known: these arrays do not say which recording a sequence is from'


def parser() -> Parser:
    """The command line."""
    result = Parser('audit', _DESCRIPTION)
    result.add_dataset()
    result.add_argument('--layout', type=int, choices=(1, 2, 3), help='default: the one that it is found in')
    result.add_argument('--models_dir', type=Path, default=Path('Models'), metavar='FOLDER', help='default: Models')
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = parser().parse_args(argv)
    # Not before: the help text must not wait for NumPy.
    from sge_la.data.quality.arrays import check
    from sge_la.data.quality.findings import BOTH_SIDES, COPIES, NEAR_COPIES, SHARED_FRAMES

    report = check(options.name, options.length, options.data_dir, view=options.view, layout=options.layout)
    say(f'{report.name}, sequences of {report.length} frames, layout {report.layout}, in {report.root}\n')
    titles = {
        BOTH_SIDES: 'Recordings in training and test',
        SHARED_FRAMES: 'Frames in training and test',
        NEAR_COPIES: 'Test recordings that are nearly trained on',
        COPIES: 'Copies within one set',
    }
    others = sum(finding.kind not in titles for finding in report.bad)
    for kind, title in titles.items():
        found = [finding.text for finding in (*report.bad, *report.odd) if finding.kind == kind]
        if not found and kind == BOTH_SIDES:
            found = _why_not_looked_for(report, options.view)
        say(f'{title}: {"" if found else "none" if not others else "none in what could be read"}'.rstrip())
        for text in found:
            say(f'  {text}')
    if others:
        say(f'{others} more findings are bad, which may hide others; {program("check")} names them')
    say()
    for line in selection_lines(options.models_dir, options.name, options.length, options.view):
        say(line)
    return 1 if report.bad else 0


def _why_not_looked_for(report: Report, view: int | None) -> list[str]:
    if view is not None:
        return [_VIEW]
    known = [row for row in report.files if row.path.name.startswith(('recording_', 't_recording_'))]
    return [] if len({row.path.parent for row in known}) > 1 else [_UNKNOWN]


def selection_lines(models_dir: Path | str, name: str, length: int, view: int | None) -> Iterator[str]:
    """What the choice of the epoch on the test set adds, for each run of a data set that has both numbers.

    `models_dir`: the folder `Models/`; `name`, `length`, `view`: of the data set. Raises UserError: a run's results
    cannot be read.
    """
    from sge_la.evaluation.epoch_choice import side_by_side

    rows = []
    for run, results in _runs(Path(models_dir), {'dataset': name, 'length': length, 'view': view}):
        for test, found in results.get('test_sets', {}).items():
            known = side_by_side(found)
            if {'test', 'last'} <= set(known):
                rows.append((f'{run} ({test})', *_row(known['test'], known['last'])))
    if not rows:
        yield f'Choice of the epoch on the test set: no run of {name} in {models_dir} chose its epoch so'
        return
    yield 'Choice of the epoch on the test set, Rank-1 / nAUC in %, and what it adds to the last epoch in points:'
    for cells in [('run', 'best on test', 'last', 'adds'), *rows]:
        yield f'  {cells[1]:>14}  {cells[2]:>14}  {cells[3]:>14}  {cells[0]}'


def _runs(models_dir: Path, wanted: Mapping[str, object]) -> Iterator[tuple[str, Mapping]]:
    """Name and results of the runs whose options are as wanted."""
    from sge_la.runs import records
    from sge_la.settings.names import RECOGNITION_ROOTS

    for root in RECOGNITION_ROOTS.values():
        for folder in sorted((models_dir / root).glob('*/')):
            options = (records.read_config(folder) or {}).get('options', {})
            if all(options.get(key) == value for key, value in wanted.items()):
                yield folder.name, records.read_results(folder) or {}


def _row(test: Mapping, last: Mapping) -> tuple[str, str, str]:
    pairs = [tuple(scores.get(key) for key in ('rank1', 'nauc')) for scores in (test, last)]
    added = [None if None in both else both[0] - both[1] for both in zip(*pairs, strict=True)]
    return (
        *(' / '.join(map(_percent, pair)) for pair in pairs),
        ' / '.join(f'{_percent(value, "+")}' for value in added),
    )


def _percent(value: float | None, sign: str = '') -> str:
    return '–' if value is None else f'{100 * value:{sign}.1f}'


if __name__ == '__main__':
    sys.exit(run_command(main))
