"""Looks through a data set and says what is wrong with it: `python -m sge_la.data.check NAME`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sge_la.errors import UserError, run_command, say
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.data.quality.findings import Report


_DESCRIPTION = """\
Looks through every file of a data set and prints a table of what they hold and a list of what is bad (training or
scoring with it would fail or mislead) or odd (it would not).

Exit status: 0 nothing is bad, 1 something is, 2 there is no such data set or the arguments are wrong.
"""


def parser() -> Parser:
    """The command line."""
    result = Parser('check', _DESCRIPTION)
    result.add_dataset()
    result.add_argument('--layout', type=int, choices=(1, 2, 3), help='default: the one that it is found in')
    result.add_argument(
        '--figures',
        nargs='?',
        const='',
        metavar='FILE',
        help='draw a training sequence as skeletons, front and side (default file: NAME_LENGTH_skeletons.png)',
    )
    result.add_argument('--sequence', type=int, default=0, metavar='N', help='the one that is drawn (default: 0)')
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = parser().parse_args(argv)
    if options.view is not None and options.name not in ('KS20', 'CASIA_B'):
        raise UserError(f'--view is for KS20 and CASIA_B alone, and {options.name} has no views: leave it out')
    from sge_la.data.quality.arrays import check

    report = check(options.name, options.length, options.data_dir, view=options.view, layout=options.layout)
    print_report(report)
    if options.figures is not None:
        _draw(report, Path(options.figures or f'{options.name}_{options.length}_skeletons.png'), options.sequence)
    return 1 if report.bad else 0


def print_report(report: Report) -> None:
    """Prints the table of files and the findings."""
    say(f'{report.name}, sequences of {report.length} frames, layout {report.layout}, in {report.root}\n')
    header = ('file', 'shape', 'dtype', 'people', 'sequences', 'frames', '')
    rows = [
        (
            str(row.path.relative_to(report.root)),
            ' × '.join(map(str, row.shape)),
            row.dtype,
            *('' if number is None else str(number) for number in (row.people, row.sequences, row.frames)),
            row.state,
        )
        for row in report.files
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        cells = [
            cell.rjust(width) if 3 <= column <= 5 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say('  '.join(cells).rstrip())
    say()
    for level, findings in (('bad', report.bad), ('odd', report.odd)):
        for finding in findings:
            say(f'{level}: {finding.text}')
    for line in report.needs:
        say(line)
    if report.bad:
        say(f'{len(report.bad)} bad, {len(report.odd)} odd; the first bad file is {report.bad[0].path}')
    else:
        say(f'nothing bad, {len(report.odd)} odd')


def _draw(report: Report, path: Path, sequence: int) -> None:
    from sge_la.data.draw import save_strip

    skeletons = report.train
    if skeletons is None:
        raise UserError(f'there is nothing to draw, because the training arrays in {report.root} cannot be read')
    if not 0 <= sequence < len(skeletons):
        raise UserError(
            f'--sequence: a number from 0 to {len(skeletons) - 1} was expected, found {sequence}; choose another'
        )
    title = f'{report.name}, training sequence {sequence}'
    save_strip(path, skeletons[sequence], report.skeleton, title)
    say(f'drawn: {path}')


if __name__ == '__main__':
    sys.exit(run_command(main))
