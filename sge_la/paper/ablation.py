"""Runs rows of the IJCAI paper's ablation and prints them beside its numbers: `python -m sge_la.ablation --help`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from sge_la.errors import UserError, say
from sge_la.settings.command_line import parse_train
from sge_la.settings.papers import ROWS
from sge_la.settings.parser import Parser
from sge_la.sweep.carry_out import carry_out, refuse_failures
from sge_la.sweep.single import scores_of
from sge_la.sweep.way import add_flags, way_of

_DESCRIPTION = """\
Trains and scores the rows of the ablation (IJCAI 2020, Table 2), but for those that are finished, and prints a table.
All flags of train.py may stand here as well (--dataset, --epochs, ...), but for --ablation and --runs.
Rows that differ in their features alone share an encoder; what is trained already is not trained again.
"""


def main(argv: Sequence[str] | None = None) -> None:
    given, flags = _rows_and_flags(argv)
    every = {name: parse_train([*flags, '--ablation', name]) for name in given.rows or ROWS}
    first = next(iter(every.values()))
    if first.runs > 1:
        raise UserError('--runs repeats one training: leave it out, or use `sge-la sweep --ablation ROW ... --runs N`')
    if first.devices is not None:
        raise UserError('--devices shares the batches of one training: leave it out, or give it to train.py')
    failed = carry_out([*every.values()], way_of(given), Path(first.models_dir) / 'ablation')
    found = {name: scores_of(options) for name, options in every.items()}
    if any(found.values()):
        say('\n'.join(table(first.dataset, found)))
    refuse_failures(failed, len(every))


def _rows_and_flags(argv: Sequence[str] | None) -> tuple[Namespace, list[str]]:
    parser = Parser('ablation', _DESCRIPTION)
    parser.add_argument('--rows', nargs='+', metavar='ROW', help=f'all, or some of: {", ".join(ROWS)}')
    add_flags(parser)
    known, flags = parser.parse_known_args(argv)
    if any(flag.partition('=')[0] == '--ablation' for flag in flags):
        raise UserError('--ablation is what this command sets: name rows with --rows')
    return known, flags


def table(dataset: str, found: Mapping[str, Mapping[str, dict]]) -> list[str]:
    """The lines of the table; `found` is row → test set → scores as `run_training` returns them."""
    width = max(map(len, ROWS))
    lines = [f'\n### Ablation on {dataset}, in percent; the paper has BIWI, 400 and 300 epochs']
    lines.append(f'{"":{width}}  {"best epoch":>15}  {"last epoch":>15}  {"paper":>15}')
    lines.append(f'{"row":{width}}' + 3 * f'  {"Rank-1":>7} {"nAUC":>7}')
    for name, tests in found.items():
        for test, scores in tests.items():
            paper = {'rank1': ROWS[name].rank1 / 100, 'nauc': ROWS[name].nauc / 100}
            cells = map(_percent, (scores['selected'], scores.get('last', {}), paper))
            lines.append('  '.join([f'{name:{width}}', *cells]) + (f'  {test}' if len(tests) > 1 else ''))
    return lines


def _percent(scores: Mapping[str, float | None]) -> str:
    found = (scores.get('rank1'), scores.get('nauc'))
    return ' '.join(f'{"-" if value is None else f"{100 * value:.1f}":>7}' for value in found)
