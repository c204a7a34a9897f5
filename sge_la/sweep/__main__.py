"""Trains and scores many runs, and tabulates what they found: `python -m sge_la.sweep [FILE] [--FLAG VALUE ...]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sge_la.errors import UserError, run_command, say
from sge_la.files.locks import claim
from sge_la.settings.options import TrainOptions
from sge_la.settings.parser import options_parser
from sge_la.sweep.carry_out import carry_out, refuse_failures
from sge_la.sweep.runs import NOT_HERE, read_grids, runs_of
from sge_la.sweep.single import is_finished
from sge_la.sweep.table import as_markdown, lines_of, write_tables
from sge_la.sweep.way import add_flags, way_of

_DESCRIPTION = """\
Train and score a run for every combination of values, but for those that are finished, and table what they found:
mean and standard deviation over seeds, with intervals.

A flag of train.py takes several values here, such as --seed 0 1 2 --recipe original modern. What was stopped goes on
with the same command. FILE holds the same as JSON; typed flags win over it.
"""
FOLDER = 'sweep'


def _parser() -> argparse.ArgumentParser:
    parser = options_parser(TrainOptions, 'sweep', _DESCRIPTION, several=True, without=NOT_HERE)
    parser.usage = '%(prog)s [FILE] [--FLAG VALUE ... ...]'
    parser.add_argument('file', nargs='?', type=Path, metavar='FILE', help='flags and their values, as JSON')
    parser.add_argument(
        '--output',
        type=Path,
        metavar='FOLDER',
        help=f"folder of the tables and the jobs' logs (default MODELS_DIR/{FOLDER})",
    )
    parser.add_argument('--list', action='store_true', help='say which runs there would be, and train none')
    add_flags(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(argv)
    way = way_of(given)
    fields = TrainOptions.__dataclass_fields__
    # In the order in which they were typed: runs and the columns of the tables follow it.
    typed = {name: one if isinstance(one, list) else [one] for name, one in vars(given).items() if name in fields}
    if not typed and given.file is None:
        raise UserError(f'flags with their values, or a FILE of them, were expected; see `{_parser().prog} --help`')
    runs = runs_of([{**grid, **typed} for grid in (read_grids(given.file) if given.file else [{}])])
    if given.list:
        for run in runs:
            say(f'{"finished" if is_finished(run.options) else "to do":8}  {run.folder}')
        return
    home = given.output or Path(runs[0].options.models_dir) / FOLDER
    with claim(home):
        failed = carry_out([run.options for run in runs], way, home / 'jobs')
        lines = lines_of(runs)
        if lines:
            say('\n' + as_markdown(lines))
            say(f'Written to {", ".join(map(str, write_tables(lines, home)))}')
    refuse_failures(failed, len(runs))


if __name__ == '__main__':
    sys.exit(run_command(main))
