"""The paper's comparison table, row by row: `python -m sge_la.compare --dataset NAME`.

Baselines that need no training of ours are computed; rows of networks are read from the runs in `--models_dir`
(`train.py`, with `--runs N` for several seeds). All scores are of all test sequences. AdaBoost's settings are chosen by
cross-validation over training recordings; the test set has no part in it.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sge_la import baselines, metrics, runs
from sge_la.command_line import parse_train
from sge_la.data import Dataset, Split, load
from sge_la.errors import UserError, run_command
from sge_la.files import write_json
from sge_la.run_folders import recognition_folder
from sge_la.statistics import summarise_runs

# Rank-1 and nAUC in per cent, from the T-PAMI paper's Table 2 (AGEs: its README); None where it has none.
COLUMNS = ('BIWI', 'IAS-A', 'IAS-B', 'KS20', 'KGBD')
_N = None
PAPER = {
    'D13 + SVM': ((17.9, _N, _N, _N, _N), (_N,) * 5),
    'D13 + KNN': ((39.3, 33.8, 40.5, 58.3, 46.9), (64.3, 63.6, 71.1, 78.0, 90.0)),
    'D16 + AdaBoost': ((41.8, 27.4, 39.2, 59.8, 69.9), (74.1, 65.5, 78.2, 78.8, 90.6)),
    'Single-layer LSTM': ((15.8, 20.0, 19.1, 80.9, 39.8), (65.8, 65.9, 68.4, 92.3, 87.2)),
    'Multi-layer LSTM': ((36.1, 34.4, 30.9, 81.6, 46.2), (75.6, 72.1, 71.9, 94.2, 89.8)),
    'PoseGait': ((33.3, 41.4, 37.1, 70.5, 90.6), (81.8, 79.9, 74.8, 94.0, 97.8)),
    'AGEs': ((59.1, 56.1, 58.2, 86.9, 87.7), (86.5, 81.7, 85.3, 94.9, 96.3)),
    'CAGE Rev.Rec.': ((62.9, 60.1, 62.5, 86.9, 86.9), (86.8, 82.9, 86.9, 94.9, 97.1)),
    'CAGE Rev.Rec.Plus': ((63.3, 59.1, 62.2, 92.0, 90.6), (88.3, 81.5, 86.2, 94.9, 98.1)),
}
# Nearest neighbours that the paper does not have, by descriptor.
NEIGHBOURS = {
    'D13 + KNN': 'D13',
    'Raw coordinates + nearest neighbour': 'raw',
    'Hip-centred coordinates + nearest neighbour': 'centred',
    'Bone lengths + nearest neighbour': 'bones',
}
ADABOOST = 'D16 + AdaBoost'
TRAINED = {
    'Multi-layer LSTM': ('--ablation', 'GE'),
    'AGEs': ('--encoding', 'AGE'),
    'CAGE Rev.Rec.': (),
    'CAGE Rev.Rec.Plus': ('--model', 'rev_rec_plus'),
}
NOTES = {
    'D13 + SVM': 'not here',
    'Single-layer LSTM': 'not here',
    'PoseGait': 'not here',
    'D13 + KNN': 'k = 1',
    ADABOOST: 'our own list of 16 measures',
    'Multi-layer LSTM': "two layers trained with labels, the ablation's GE",
}
_MOST_FOR_CHOICE = 4000


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        method: its name.
        found: Rank-1 and nAUC of each seed, by name; empty where nothing was measured.
        seconds: it took for a seed, or None.
        note: what else is to be said.
    """

    method: str
    found: Sequence[dict[str, float]] = ()
    seconds: float | None = None
    note: str = ''


def neighbour_row(method: str, train: Split, test: Split, dataset: Dataset) -> Row:
    """Scores the nearest neighbour among all training sequences."""
    began = time.perf_counter()
    vectors, classes, probes, labels = described(train, test, dataset, NEIGHBOURS[method])
    count = len(dataset.identities)
    scores = baselines.nearest_neighbour_scores(vectors, classes, probes, count, show_progress=True)
    return Row(method, [_numbers(scores, labels)], time.perf_counter() - began, NOTES.get(method, ''))


def described(train: Split, test: Split, dataset: Dataset, name: str) -> tuple[np.ndarray, ...]:
    """Training and test vectors (standardised) and their classes; sequences that belong to nobody are left out."""
    sides = []
    for split in (train, test):
        classes = dataset.classes(split)
        known = np.flatnonzero(classes >= 0)
        sides += [baselines.descriptor(split.skeletons[known], dataset.skeleton, name), classes[known]]
    vectors, probes = baselines.standardise(sides[0], sides[2])
    return vectors, sides[1], probes, sides[3]


def adaboost_row(train: Split, test: Split, dataset: Dataset, seeds: Sequence[int]) -> Row:
    """Scores AdaBoost, whose settings are chosen on training sequences alone."""
    began = time.perf_counter()
    vectors, classes, probes, labels = described(train, test, dataset, 'D16')
    recordings = None if train.recordings is None else train.recordings[dataset.classes(train) >= 0]
    settings = chosen_settings(vectors, classes, recordings)
    count = len(dataset.identities)
    found = [
        _numbers(baselines.adaboost_scores(vectors, classes, probes, count, seed=seed, **settings), labels)
        for seed in seeds
    ]
    words = ', '.join(f'{name} {value}' for name, value in settings.items())
    unit = 'sequences' if recordings is None else 'recordings'
    note = f'{NOTES[ADABOOST]}; {words} by cross-validation on training {unit}'
    return Row(ADABOOST, found, (time.perf_counter() - began) / len(seeds), note)


def chosen_settings(vectors: np.ndarray, classes: np.ndarray, recordings: np.ndarray | None, seed: int = 0) -> dict:
    """The settings of AdaBoost with the best mean accuracy in two-fold cross-validation.

    Folds are whole recordings of each person; where recordings are unknown, the halves of each person's sequences in
    file order. At most 4000 sequences take part, drawn at random.

    Args:
        vectors: float [N, D].
        classes: integers [N].
        recordings: integers [N] or None.
        seed: of the draw and the trees.
    """
    fold = _folds(classes, recordings)
    kept = np.sort(np.random.default_rng(seed).permutation(len(classes))[:_MOST_FOR_CHOICE])
    vectors, classes, fold = vectors[kept], classes[kept], fold[kept]
    both = np.intersect1d(classes[fold == 0], classes[fold == 1])
    inside = np.isin(classes, both)
    vectors, fold = vectors[inside], fold[inside]
    people, classes = np.unique(classes[inside], return_inverse=True)
    if len(people) < 2:
        return {'rounds': 50, 'depth': 1, 'learning_rate': 1.0}  # scikit-learn's own
    deep = int(np.ceil(np.log2(len(people))))
    best = (-1.0, {})
    for depth in (deep + 2, deep + 6):
        for rate in (0.3, 1.0):
            settings = {'rounds': 50, 'depth': depth, 'learning_rate': rate}
            right = []
            for test in (0, 1):
                train = fold != test
                args = vectors[train], classes[train], vectors[~train], len(people)
                scores = baselines.adaboost_scores(*args, seed=seed, **settings)
                right.append(np.mean(scores.argmax(axis=1) == classes[~train]))
            best = max(best, (float(np.mean(right)), settings), key=lambda item: item[0])
    return best[1]


def _folds(classes: np.ndarray, recordings: np.ndarray | None) -> np.ndarray:
    """0 or 1 for each sequence: every other recording of a person, or the second half of its sequences."""
    fold = np.zeros(len(classes), np.int64)
    for person in np.unique(classes):
        own = np.flatnonzero(classes == person)
        if recordings is not None and len(np.unique(recordings[own])) > 1:
            fold[own] = np.unique(recordings[own], return_inverse=True)[1] % 2
        else:
            fold[own[len(own) // 2 :]] = 1
    return fold


def trained_row(method: str, flags: Sequence[str], test: str) -> Row:
    """Reads what the runs of a network have scored on a test set, all seeds that are there.

    Args:
        method: name of the row.
        flags: of train.py.
        test: the test set.
    """
    base = recognition_folder(parse_train([*flags, *TRAINED[method]]))
    pattern = re.compile(re.escape(base.name) + r'(_seed-\d+)?')
    folders = sorted(path for path in base.parent.glob(f'{base.name}*') if pattern.fullmatch(path.name))
    found, seconds = [], []
    for folder in folders:
        results = runs.read_results(folder) or {}
        scores = results.get('test_sets', {}).get(test, {}).get('all_sequences')
        if scores:
            found.append({name: scores[name] for name in ('rank1', 'nauc') if scores.get(name) is not None})
            seconds.append(sum(results.get('seconds', {}).values()))
    note = NOTES.get(method, '')
    if not found:
        typed = ' '.join([*flags, *TRAINED[method]])
        return Row(method, note=f'not trained: python train.py {typed}')
    return Row(method, found, float(np.mean(seconds)), '; '.join(filter(None, (note, 'time without the encoders'))))


def _numbers(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    found = metrics.evaluate_scores(scores, labels)
    return {'rank1': found.rank1, 'nauc': found.nauc} if np.isfinite(found.nauc) else {'rank1': found.rank1}


def table(rows: Sequence[Row], column: str | None) -> Iterator[str]:
    """The lines of a Markdown table; `column` is the paper's, or None for a data set that it does not have."""
    yield '| method | Rank-1, paper | Rank-1, ours | nAUC, paper | nAUC, ours | seeds | time | |'
    yield '|---|---|---|---|---|---|---|---|'
    for row in rows:
        paper = PAPER.get(row.method)
        published = [paper[k][COLUMNS.index(column)] if paper and column else None for k in (0, 1)]
        ours = summarise_runs(row.found) if row.found else {}
        cells = [row.method]
        for value, name in zip(published, ('rank1', 'nauc'), strict=True):
            cells.append('–' if value is None else f'{value:.1f}')
            cells.append(_in_percent(ours[name]) if name in ours else '–')
        cells += [
            str(len(row.found)) if row.found else '',
            '' if row.seconds is None else f'{row.seconds:.1f} s',
            row.note,
        ]
        yield f'| {" | ".join(cells)} |'


def _in_percent(found) -> str:
    spread = '' if found.num_runs == 1 else f' ± {100 * found.sd:.1f}'
    return f'{100 * found.mean:.1f}{spread}'


def all_rows(dataset: Dataset, test: str, flags: Sequence[str], seeds: Sequence[int]) -> Iterator[Row]:
    """The paper's rows that can be had or named, in its order, then nearest neighbours that it does not have."""
    train, probes = dataset.train, dataset.tests[test]
    for method in [*PAPER, *(name for name in NEIGHBOURS if name not in PAPER)]:
        if method in TRAINED:
            yield trained_row(method, flags, test)
        elif (method in NEIGHBOURS or method == ADABOOST) and dataset.skeleton is None:
            yield Row(method, note='the joints are not known: skeleton.json is missing')
        elif method in NEIGHBOURS:
            yield neighbour_row(method, train, probes, dataset)
        elif method == ADABOOST:
            yield adaboost_row(train, probes, dataset, seeds)
        else:
            yield Row(method, note=NOTES[method])


def main(argv: Sequence[str] | None = None) -> None:
    given = _arguments(argv)
    dataset = load(given.dataset, given.length, given.data_dir)
    flags = ['--dataset', given.dataset, '--data_dir', given.data_dir, '--models_dir', given.models_dir]
    flags += ['--length', str(given.length)]
    kept = {}
    for test in dataset.tests:
        column = next((name for name in (given.dataset, f'{given.dataset}-{test}') if name in COLUMNS), None)
        num_test, people = int((dataset.tests[test].labels >= 0).sum()), len(dataset.identities)
        print(
            f'\n## {given.dataset}, test set {test}: {num_test} sequences; {people} people, chance {100 / people:.1f} %'
        )
        print('Rank-1 and nAUC in per cent, of all sequences; ± is the standard deviation over seeds.\n')
        rows = list(all_rows(dataset, test, flags, range(given.runs)))
        print('\n'.join(table(rows, column)))
        kept[test] = [vars(row) for row in rows]
    if given.output:
        write_json(given.output, kept)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m sge_la.compare', description="Print the paper's comparison table with our numbers."
    )
    parser.add_argument('--dataset', required=True, help='BIWI, IAS, KGBD, KS20, DEMO, or your own')
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--runs', type=int, default=3, help='seeds of AdaBoost (default 3)')
    parser.add_argument('--data_dir', default='Datasets', help='folder of the data sets')
    parser.add_argument('--models_dir', default='Models', help='folder of the trained models')
    parser.add_argument('--output', type=Path, help='write the rows into this JSON file too')
    given = parser.parse_args(argv)
    if given.runs < 1:
        raise UserError(f'--runs: a number of at least 1 was expected, found {given.runs}')
    return given


if __name__ == '__main__':
    sys.exit(run_command(main))
