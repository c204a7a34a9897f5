"""CMC of several runs in one plot: `python -m sge_la.compare --figures RUN RUN`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sge_la.errors import UserError, program, say
from sge_la.evaluation.epoch_choice import RULES
from sge_la.reporting import figures, style
from sge_la.runs import records
from sge_la.runs.find import named_folder, options_of_folder

# Options that tell runs apart, the most telling first.
_TELLING = (
    *('recipe', 'encoding', 'ablation', 'model', 'attention', 'manner', 'length', 'without', 't', 'precision'),
    'supervised',
    *('frozen', 'c_reid', 'transfer', 'view', 'faithful', 'select', 'seed', 'epochs', 'rn_epochs'),
)


def draw_runs(names: Sequence[str], models_dir: str, home: Path) -> None:
    """Draws runs, given as for `--RN_dir`, as one curve each, named by what tells them apart.

    Raises UserError: one is not there or was not scored, or they are of several data sets.
    """
    folders = [named_folder(name, models_dir, '--figures') for name in names]
    options = [options_of_folder(str(folder), models_dir) for folder in folders]
    datasets = dict.fromkeys(str(of_run.get('dataset')) for of_run in options)
    if len(datasets) > 1:
        raise UserError(f'--figures expects runs of one data set, found {", ".join(datasets)}: name those of one')
    for folder in folders:
        if not _scores(folder):
            score = program('evaluate')
            raise UserError(
                f'{folder} should hold results.json with Rank-n, and does not: score the run with `{score}`'
            )
    labels = _labels(folders, options)
    draw_cmc({label: [folder] for label, folder in zip(labels, folders, strict=True)}, next(iter(datasets)), home)


def _labels(folders: Sequence[Path], options: Sequence[Mapping]) -> list[str]:
    """The fewest options that tell the runs apart; where none do, the folders."""
    keys, labels = [], ['' for _ in folders]
    for key in _TELLING:
        longer = [', '.join(_said(name, of_run.get(name)) for name in [*keys, key]) for of_run in options]
        if len(set(longer)) > len(set(labels)):
            keys, labels = [*keys, key], longer
    if not keys or len(set(labels)) < len(labels):
        labels = [folder.name for folder in folders]
    return labels if len(set(labels)) == len(labels) else [str(folder) for folder in folders]


def _said(option: str, value: object) -> str:
    """Words such as 'modern' and 'BA' speak for themselves, numbers do not."""
    return value if isinstance(value, str) else f'{option} {value}'


def draw_cmc(runs: Mapping[str, Sequence[Path]], dataset: str, home: Path) -> None:
    """Draws a figure for each test set: a curve a name, the mean of those of its folders (seeds) that were scored.

    Raises UserError: the runs know different numbers of people.
    """
    scores = {name: [_scores(folder) for folder in folders] for name, folders in runs.items()}
    tests = dict.fromkeys(test for seeds in scores.values() for found in seeds for test in found)
    drawn = {}
    for test in tests:
        found = {name: [seed[test] for seed in seeds if test in seed] for name, seeds in scores.items()}
        found = {name: seeds for name, seeds in found.items() if seeds}
        people = {len(seed['rank_n']) for seeds in found.values() for seed in seeds}
        if len(people) > 1:
            found = ' and '.join(map(str, sorted(people)))
            raise UserError(
                f'--figures expects runs on the same people of {dataset}, found {found}: name runs on these'
            )
        curves = {name: np.mean([seed['rank_n'] for seed in seeds], axis=0) for name, seeds in found.items()}
        title = f'CMC on {style.fitted(dataset, 20)}, {style.of_test_set(test)}'
        # Both names may come from a stranger's files, and must not lead elsewhere.
        drawn[re.sub(r'[^\w.-]', '_', f'{dataset}-{test}-cmc')] = figures.cmc(curves, people.pop(), title)
        for name, seeds in found.items():
            chosen = ' or '.join(dict.fromkeys(seed['chosen'] for seed in seeds))
            mean = f'mean of {len(seeds)} seeds' if len(seeds) > 1 else 'one seed'
            say(f'{test}: {name}: Rank-1 {style.percent(curves[name][0])} ({mean}, epoch chosen by {chosen})')
    for path in style.save(home, drawn):
        say(f'Figure: {path}, and as PDF')
    if not drawn:
        say('No figure: none of the networks is trained and scored')


def _scores(folder: Path) -> dict[str, dict]:
    """Rank-n of all sequences, and how the epoch was chosen, by test set."""
    tests = (records.read_results(folder) or {}).get('test_sets', {})
    return {
        test: {'rank_n': rank_n, 'chosen': RULES.get(kinds.get('selected', {}).get('select'), 'an unknown rule')}
        for test, kinds in tests.items()
        if (rank_n := kinds.get('all_sequences', {}).get('rank_n'))
    }
