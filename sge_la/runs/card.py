"""A model card: what a trained run is, of whom, how good, what it is not for. It names nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sge_la.runs import records
from sge_la.runs.banner import CHOSEN
from sge_la.runs.plan import Plan
from sge_la.runs.trained_on import TrainedOn

_LIMITS = """\
## Limits

- A closed set: the network names one of the people that it was trained on, for a stranger too. Its scores are no
  probabilities, and the figures above say nothing about people outside the data set. They are no ground for decisions
  about people.
- It takes skeletons of the kind above alone: the same joints in the same order, metres, and about the same sensor,
  frame rate and view. Another sensor needs training of its own.
- It is biometric, personal data of everybody that it was trained on, with or without their names: it recognises them.
  Pass it on only where they and the law allow it.

## Licence

Not stated here: that is for the owner of the weights to say, within the terms of the data set.
"""


def model_card(plan: Plan, joints: int, known: TrainedOn, folder: Path | None, loading: str) -> str:
    """The card as Markdown.

    `joints`: J; `known`: what the run was trained on; `folder`: of its recognition network, None where it is not at
    hand; `loading`: Markdown that says how the exported form is loaded. Raises UserError: a file of the folder is
    damaged.
    """
    config = (records.read_config(folder) if folder else None) or {}
    results = (records.read_results(folder) if folder else None) or {}
    lines = [
        f'# {plan.network.name}',
        '',
        'Gait encoders and a recognition network that tell who walks from 3D skeletons: self-supervised gait encoding',
        'with locality-aware attention (Rao et al., T-PAMI 2021, doi 10.1109/TPAMI.2021.3092833), as SGE-LA trains it.',
        '',
        *_table(('', ''), _facts(plan, joints, known, config)),
        '',
        '## Scores',
        '',
        *_scores(results.get('test_sets', {})),
        '',
        _LIMITS,
        '## How to load it',
        '',
        loading,
    ]
    return '\n'.join(lines) + '\n'


def _facts(plan: Plan, joints: int, known: TrainedOn, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    data = str(config.get('record', {}).get('data', ''))
    sequences = f', {found[1]} sequences' if (found := re.match(r'(\d{1,15}) sequences\b', data)) else ''
    simulated = ' (simulated walkers, no recordings of people)' if plan.dataset == 'DEMO' else ''
    yield 'data set', f'{plan.dataset}{simulated}'
    yield 'trained on', f'{len(known.people)} people{sequences}'
    kind = '' if known.skeleton is None else f': {", ".join(known.skeleton.joints)}'
    yield 'input', f'`[N, {plan.length}, {joints}, 3]`, float32, metres, N sequences of {plan.length} frames'
    yield 'joints', f'{joints}, in this order{kind}' if kind else f'{joints}, of a kind that the run does not say'
    yield 'output', f'{plan.encoding}s, and one logit for each of {len(known.people)} people'
    recipe = 'modern (encoders and network trained together)' if plan.recipe else 'original (as the papers train)'
    yield 'recipe', f'{recipe}, pretext task {plan.task}, {plan.precision} products'
    chosen_on = 'as in the original: its scores are too good' if plan.select == 'test' else 'the test set chose nothing'
    yield 'epoch kept', f'{CHOSEN[plan.select]}; {chosen_on}'
    if transfer := plan.options.get('transfer'):
        yield 'encoders', f'trained on {transfer}; the network alone on {plan.dataset}'
    left_out = plan.options.get('unknown')
    yield 'seed', f'{plan.seed}' + (f'; a share of {left_out:g} of all people was left out' if left_out else '')


def _scores(test_sets: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, kinds in test_sets.items():
        found = kinds.get('all_sequences') or kinds.get('selected') or {}
        if 'rank1' not in found:
            continue
        spans = found.get('intervals', {})
        cells = [_percent(found[key], spans.get(key)) for key in ('rank1', 'nauc')]
        chance = _percent(found['chance']) if 'chance' in found else 'not known'
        groups = found.get('groups')
        over = f' in {groups} {found.get("resampled", "groups")}' if groups and spans else ''
        rows.append((_plain(name), *cells, f'{found["sequences"]}{_plain(over[:40])}', chance))
    if not rows:
        yield 'Not at hand where this card was written.'
        return
    yield 'Closed-set identification: the network names the person of each sequence of a test set, all of whose people'
    yield 'it was trained on. In brackets 95 % intervals, by resampling what the table counts.'
    yield ''
    yield from _table(('test set', 'Rank-1', 'nAUC', 'sequences', 'chance'), rows)


def _percent(value: float | None, span: list | None = None) -> str:
    if value is None:
        return 'not known'
    sure = span and None not in span
    return f'{value:.1%}' + (f' ({span[0]:.1%} to {span[1]:.1%})' if sure else '')


def _plain(text: str) -> str:
    """Without what Markdown would read as its own."""
    return re.sub(r'[^\w .,-]', '?', text)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f'| {" | ".join(header)} |'
    yield '|---' * len(header) + '|'
    for row in rows:
        yield f'| {" | ".join(row)} |'
