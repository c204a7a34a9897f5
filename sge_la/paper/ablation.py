"""Runs rows of the IJCAI paper's ablation and prints them beside its numbers: `python -m sge_la.ablation --help`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sge_la.errors import UserError, say
from sge_la.settings.command_line import parse_train
from sge_la.settings.papers import ROWS
from sge_la.settings.parser import Parser

_DESCRIPTION = """\
Trains and scores the rows of the ablation (IJCAI 2020, Table 2) one after the other, and prints a table.
All flags of train.py may stand here as well (--dataset, --epochs, ...), but for --ablation and --runs.
Rows that differ in their features alone share an encoder; what is trained already is not trained again.
"""


def main(argv: Sequence[str] | None = None) -> None:
    rows, flags = _rows_and_flags(argv)
    every = [parse_train([*flags, '--ablation', name]) for name in rows]
    if every[0].runs > 1:
        raise UserError('--runs repeats one training: leave it out, or give it to train.py with --ablation')
    from sge_la.data import load
    from sge_la.runs.plan import plan_of
    from sge_la.training.pipeline import run_training

    first = every[0]
    tests = (first.probe,) if first.probe else None
    dataset = load(first.dataset, first.length, first.data_dir, view=first.view, tests=tests)
    found = {options.ablation: run_training(plan_of(options, dataset), dataset) for options in every}
    say('\n'.join(table(first.dataset, found)))


def _rows_and_flags(argv: Sequence[str] | None) -> tuple[list[str], list[str]]:
    parser = Parser('ablation', _DESCRIPTION)
    parser.add_argument('--rows', nargs='+', metavar='ROW', help=f'all, or some of: {", ".join(ROWS)}')
    known, flags = parser.parse_known_args(argv)
    if '--ablation' in flags:
        raise UserError('--ablation is what this command sets: name rows with --rows')
    return known.rows or list(ROWS), flags


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
