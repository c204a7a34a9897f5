"""What is printed of a scored run: a few lines, or with `--verbose` all that the original prints and more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sge_la.evaluation import epoch_choice, metrics
from sge_la.runs.banner import CHOSEN
from sge_la.runs.plan import Plan

# What results.json calls nAUC of the network's probabilities.
PROBABILITIES = 'nauc_of_probabilities'


def few_lines(plan: Plan, evaluation: metrics.Evaluation, found: dict, note: str) -> Iterator[str]:
    """The results that scripts look for, and what a reader should hold beside them."""
    yield '\n' + (_original_age(evaluation) if plan.encoding == 'AGE' else metrics.result_lines(evaluation))
    every, chosen, last = found['all_sequences'], found['selected'], found.get('last')
    spans = every['intervals'] if every['groups'] > 1 else {}
    rank1, nauc = (_percent(every[name], spans.get(name)) for name in ('rank1', 'nauc'))
    line = f'All {every["sequences"]} sequences ({note}): Rank-1 {rank1}, nAUC {nauc}'
    if every['nauc'] is not None:
        line += f', nAUC of probabilities {_percent(every[PROBABILITIES], spans.get(PROBABILITIES))}'
    yield line
    unit = (
        f'95 % intervals over {every["groups"]} {every["resampled"]} in brackets' if spans else 'too few for intervals'
    )
    yield f'({unit}; chance is {100 * every["chance"]:.1f} % and 50.0 % with {every["classes"]} people)'
    if 'epoch' in chosen:
        select = chosen.get('select')
        line = f'Epoch {chosen["epoch"]}: {CHOSEN.get(select, "chosen")}'
        line += ', as in the original' if select == 'test' else ''
        if last and last['epoch'] != chosen['epoch']:
            line += f'; the last epoch, {last["epoch"]}, which nobody chose: Rank-1 {_percent(last["rank1"])}, '
            line += f'nAUC {_percent(last["nauc"])}'
        yield line


def _percent(value: float | None, span: Sequence[float] | None = None) -> str:
    """`76.6 %`, with an interval in brackets where there is one."""
    text = 'undefined' if value is None else f'{100 * value:.1f} %'
    return text if span is None else f'{text} ({100 * span[0]:.1f} to {100 * span[1]:.1f})'


def all_lines(plan: Plan, evaluation: metrics.Evaluation, found: dict, note: str) -> Iterator[str]:
    """What `--verbose` prints: what the original does, then the same numbers counted in other ways."""
    original = metrics.original_lines(evaluation, rows_apart=plan.protocol is not None)
    yield '\n' + (_original_age(evaluation) if plan.encoding == 'AGE' else original)
    every = found['all_sequences']
    yield one_line('All sequences', every, note)
    if every['nauc'] is not None:
        yield f'nAUC of probabilities: {every[PROBABILITIES]:.6f}'
    unit = every['resampled'] if every['resampled'] == 'recordings' else 'people, since recordings are unknown'
    if every['groups'] < 2:
        yield f'95 % intervals: none, because there is nothing to resample among one of the {unit}'
    else:
        titles = {
            'rank1': 'Rank-1 Accuracy',
            'rank5': 'Rank-5 Accuracy',
            'nauc': 'nAUC',
            PROBABILITIES: 'nAUC of probabilities',
        }
        spans = (f'{titles[name]} {low:.4f} to {high:.4f}' for name, (low, high) in every['intervals'].items())
        yield f'95 % intervals: {", ".join(spans)} (resampling {every["groups"]} {unit})'
    if vote := found.get('recording_vote'):
        nauc = np.nan if vote['nauc'] is None else vote['nauc']
        yield (
            f'Recording vote: Rank-1 Accuracy: {vote["rank1"]:.6f}, nAUC: {nauc:.6f}, '
            f"{vote['recordings']} recordings (each by the mean of its sequences' scores)"
        )
    if last := found.get('last'):
        yield one_line('Last epoch', last, f'epoch {last["epoch"]}')
    yield from epoch_choice.lines(found)
    yield f'Chance: Rank-1 Accuracy: {every["chance"]:.6f}, nAUC: 0.500000, {every["classes"]} identities'


def _original_age(evaluation: metrics.Evaluation) -> str:
    """What the IJCAI code prints."""
    return f'Rank-1 Accuracy: {evaluation.rank1}\nnAUC: {evaluation.nauc}'


def one_line(title: str, found: dict[str, Any], note: str = '') -> str:
    """`title: Rank-1 Accuracy: ..., nAUC: ..., n sequences` with a note in brackets."""
    nauc = 'undefined' if found['nauc'] is None else f'{found["nauc"]:.6f}'
    text = f'{title}: Rank-1 Accuracy: {found["rank1"]:.6f}, nAUC: {nauc}, {found["sequences"]} sequences'
    return f'{text} ({note})' if note else text
