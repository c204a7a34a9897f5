"""The paper's comparison table, row by row: `python -m sge_la.compare --dataset NAME`.

Baselines are computed (`sge_la.paper.methods`) and kept in `<models_dir>/comparison/`, so that a stopped command goes
on with the row that it was at; rows of our networks are read from the runs in `--models_dir` (`--train` trains those
that are missing, or `train.py`, with `--runs N` for several seeds). All scores are of all test sequences.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sge_la.data import Dataset, load
from sge_la.errors import UserError, say, typed
from sge_la.evaluation import metrics
from sge_la.evaluation.intervals import bootstrap_evaluation, summarise_runs
from sge_la.features import cages
from sge_la.files.atomic import make_folder
from sge_la.files.text import read_json, write_json
from sge_la.paper.curves import draw_cmc, draw_runs
from sge_la.paper.methods import NEIGHBOURS, YARDSTICKS, Method, Sets, methods
from sge_la.paper.published import COLUMNS, PAPER, published
from sge_la.reporting.style import require_matplotlib
from sge_la.runs import records
from sge_la.runs.banner import CHOSEN
from sge_la.runs.find import recognition_folder
from sge_la.settings.command_line import parse_train
from sge_la.settings.options import TrainOptions, gpu_number
from sge_la.settings.papers import DATASETS
from sge_la.settings.parser import Parser, options_parser
from sge_la.sweep.carry_out import carry_out, refuse_failures
from sge_la.sweep.runs import runs_of
from sge_la.sweep.way import NONE, add_flags, way_of

MODERN = 'CAGE, modern recipe'
TRAINED = {
    'AGEs': ('--encoding', 'AGE'),
    'CAGE Rev.Rec.': (),
    'CAGE Rev.Rec.Plus': ('--model', 'rev_rec_plus'),
    MODERN: ('--recipe', 'modern'),
}
FOLDER = 'comparison'


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `found`: Rank-1 and nAUC of each seed (empty: nothing was measured); `seconds`: a seed; `interval`: the ends of the
    95 % interval of the first seed's Rank-1; `trained_on`: sequences that it learned from.
    """

    method: str
    found: Sequence[dict[str, float]] = ()
    seconds: float | None = None
    note: str = ''
    interval: Sequence[float] = ()
    trained_on: int | None = None


class Kept:
    """What was measured before, in a JSON file: scores, seconds and note by everything that they depend on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = read_json(path) if path.exists() else []
        if not isinstance(self._entries, list) or not all(map(_is_entry, self._entries)):
            raise UserError(f'{path} should hold rows as this command writes them, and does not; delete the file')

    def get(self, record: Mapping) -> dict | None:
        return next((entry for entry in self._entries if entry['record'] == record), None)

    def add(self, entry: dict) -> None:
        self._entries.append(entry)
        make_folder(self._path.parent)
        write_json(self._path, self._entries)


def _is_entry(entry: object) -> bool:
    kinds = {'record': dict, 'scores': dict, 'seconds': (int, float), 'note': str}
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), kind) for name, kind in kinds.items()):
        return False
    return 'rank1' in entry['scores'] and all(isinstance(value, float) for value in entry['scores'].values())


def measured_row(name: str, method: Method, sets: Sets, seeds: Sequence[int], data: str, kept: Kept) -> Row:
    """Measures a method once a seed (once in all where seeds do not matter), or takes what was measured before.

    `data` are words that change with the sequences.
    """
    if method.named_joints and sets.dataset.skeleton is None:
        return Row(name, note='the joints are not known: skeleton.json is missing')
    entries = []
    for seed in seeds if method.seeded else seeds[:1]:
        record = {'method': name, **method.settings, 'data': data, **({'seed': seed} if method.seeded else {})}
        entry = kept.get(record)
        if entry is None:
            began = time.perf_counter()
            scores, note = method.measure(sets, seed)
            found, seconds = _numbers(scores, sets.labels()), time.perf_counter() - began
            interval = bootstrap_evaluation(scores, sets.labels(), sets.groups(), ranks=(1,))['rank1']
            ends = [interval.low, interval.high]
            entry = {'record': record, 'scores': found, 'seconds': seconds, 'note': note, 'interval': ends}
            kept.add(entry)
        entries.append(entry)
    seconds = float(np.mean([entry['seconds'] for entry in entries]))
    trained_on, first = len(sets.classes(sets.train)), entries[0]
    scores = [entry['scores'] for entry in entries]
    return Row(name, scores, seconds, first['note'], first.get('interval', ()), trained_on)


def trained_row(method: str, flags: Sequence[str], test: str, ids: Mapping[int, np.ndarray]) -> Row:
    """Reads what the runs of a network have scored on a test set, all seeds that are there.

    `ids`: identity → training sequences; the original's network learns from whole 128s of each person alone.
    """
    try:
        folders = _runs_of(method, flags)
    except UserError as error:  # AGEs have one length
        return Row(method, note=str(error))
    found, seconds, notes, intervals = [], [], [], []
    for folder in folders:
        results = records.read_results(folder) or {}
        of_test = results.get('test_sets', {}).get(test, {})
        if scores := of_test.get('all_sequences'):
            found.append({name: scores[name] for name in ('rank1', 'nauc') if scores.get(name) is not None})
            intervals.append(scores.get('intervals', {}).get('rank1', ()))
            seconds.append(sum(results.get('seconds', {}).values()))
            notes.append(_how_trained(folder, of_test))
    if not found:
        return Row(method, note=f'not trained: {typed("train", *flags, *TRAINED[method])}')
    alone = () if method == MODERN else ('time without the encoders',)
    note = '; '.join([*dict.fromkeys(filter(None, notes)), *alone])
    rows = cages.all_rows(ids) if method == MODERN else cages.original_rows(ids, pad=True)
    return Row(method, found, float(np.mean(seconds)), note, intervals[0], len(np.unique(rows)))


def _runs_of(method: str, flags: Sequence[str]) -> list[Path]:
    """The folders of a network's run and of its repeats, one a seed, without those that have not ended."""
    base = recognition_folder(parse_train([*flags, *TRAINED[method]]))
    pattern = re.compile(re.escape(base.name) + r'(_seed-\d+)?')
    by_seed = {}
    for path in sorted(path for path in base.parent.glob(f'{base.name}*') if pattern.fullmatch(path.name)):
        config = records.read_config(path) or {}
        if config.get('finished', True):
            by_seed.setdefault(str(config.get('options', {}).get('seed')), path)
    return list(by_seed.values())


def _how_trained(folder: Path, of_test: Mapping) -> str:
    """Epochs of both stages, and which epoch the network is of."""
    options = (records.read_config(folder) or {}).get('options', {})
    epochs = [options.get(name) for name in ('epochs', 'rn_epochs')]
    words = [f'{epochs[0]} / {epochs[1]} epochs'] if all(isinstance(value, int) for value in epochs) else []
    select = of_test.get('selected', {}).get('select')
    words += [f'epoch kept: {CHOSEN[select]}'] if select in CHOSEN else []
    return ', '.join(words)


def _numbers(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    found = metrics.evaluate_scores(scores, labels)
    return {'rank1': found.rank1, 'nauc': found.nauc} if np.isfinite(found.nauc) else {'rank1': found.rank1}


def table(rows: Iterable[Row], column: str | None) -> Iterator[str]:
    """The lines of a Markdown table; `column` is the paper's, or None for a data set that it does not have."""
    yield '| method | Rank-1, paper | Rank-1, ours | nAUC, paper | nAUC, ours | seeds | trained on | time | |'
    yield '|---|---|---|---|---|---|---|---|---|'
    for row in rows:
        ours = summarise_runs(row.found) if row.found else {}
        cells = [row.method]
        for value, name in zip(published(row.method, column), ('rank1', 'nauc'), strict=True):
            cells.append('–' if value is None else f'{value:.1f}')
            ends = row.interval if name == 'rank1' else ()
            cells.append(_in_percent(ours[name], ends) if name in ours else '–')
        cells += [
            str(len(row.found)) if row.found else '',
            '' if row.trained_on is None else str(row.trained_on),
            '' if row.seconds is None else f'{row.seconds:.1f} s',
            row.note,
        ]
        yield f'| {" | ".join(cells)} |'


def _in_percent(found, ends: Sequence[float]) -> str:
    spread = '' if found.num_runs == 1 else f' ± {100 * found.sd:.1f}'
    known = len(ends) and np.isfinite(np.array(ends, float)).all()  # null or NaN where nothing could be resampled
    interval = f' ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})' if known else ''
    return f'{100 * found.mean:.1f}{spread}{interval}'


def all_rows(
    dataset: Dataset, test: str, flags: Sequence[str], seeds: Sequence[int], computed: Mapping[str, Method], kept: Kept
) -> Iterator[Row]:
    """The paper's rows that can be had or named, in its order, then those that it does not have."""
    from sge_la.data.training_set import fingerprint

    sets = Sets(dataset, dataset.train, dataset.tests[test])
    data = '; '.join(fingerprint(split.skeletons, split.ids) for split in (sets.train, sets.test))
    for name in dict.fromkeys([*PAPER, MODERN, *NEIGHBOURS, *YARDSTICKS]):
        if name in TRAINED:
            yield trained_row(name, flags, test, sets.train.ids)
        elif name in computed:
            yield measured_row(name, computed[name], sets, seeds, data, kept)
        else:
            yield Row(name, note='not here')


def main(argv: Sequence[str] | None = None) -> None:
    given = _arguments(argv)
    home, kept = Path(given.models_dir) / FOLDER, {}
    if given.figures is not None:
        require_matplotlib()
    if given.figures:
        draw_runs(given.figures, given.models_dir, home / 'figures')
        return
    flags = ['--dataset', given.dataset, '--data_dir', given.data_dir, '--models_dir', given.models_dir]
    flags += ['--length', str(given.length)]
    parse_train(flags)
    way = way_of(given)
    dataset = load(given.dataset, given.length, given.data_dir)
    every = _to_train(given, flags)
    failed = carry_out(every, way, home / 'jobs')
    from sge_la.backends.runtime import start
    from sge_la.training.stage import claimed

    start(given.gpu, 0)
    computed = methods(given.lstm_epochs, given.yardstick_epochs)
    with claimed([home]):
        for test in dataset.tests:
            column = next((name for name in (given.dataset, f'{given.dataset}-{test}') if name in COLUMNS), None)
            say('\n'.join(_heading(given.dataset, test, dataset)))
            before = Kept(home / f'{given.dataset}_{given.length}_{test}.json')
            kept[test] = rows = []
            found = all_rows(dataset, test, flags, range(given.runs), computed, before)
            for line in table(_noted(found, rows), column):
                say(line)  # as soon as it is known
    if given.output:
        write_json(given.output, kept)
    if given.figures is not None:
        draw_cmc(dict(_networks(flags)), given.dataset, home / 'figures')
    refuse_failures(failed, len(every))


def _to_train(given: argparse.Namespace, flags: Sequence[str]) -> list[TrainOptions]:
    """The runs of the table's networks, with as many seeds as all else has; none without `--train`."""
    parser, every = options_parser(TrainOptions, 'train', '', several=True), []
    for words in TRAINED.values() if given.train else ():
        grid = vars(parser.parse_args([*flags, *words, '--runs', str(given.runs), '--gpu', given.gpu]))
        with contextlib.suppress(UserError):  # AGEs have one length
            every += [run.options for run in runs_of([grid])]
    return every


def _networks(flags: Sequence[str]) -> Iterator[tuple[str, list[Path]]]:
    """The table's networks that are trained, with the runs of each."""
    for method in TRAINED:
        with contextlib.suppress(UserError):  # AGEs have one length
            yield method, _runs_of(method, flags)


def _noted(rows: Iterable[Row], noted: list[dict]) -> Iterator[Row]:
    for row in rows:
        noted.append(vars(row))
        yield row


def _heading(name: str, test: str, dataset: Dataset) -> Iterator[str]:
    num_test, people = int((dataset.tests[test].labels >= 0).sum()), len(dataset.identities)
    yield f'\n## {name}, test set {test}: {num_test} sequences; {people} people, chance {100 / people:.1f} %'
    yield 'Rank-1 and nAUC in per cent, of all sequences; ± is the standard deviation over seeds,'
    yield 'in brackets the 95 % interval of the first seed over recordings (people, where recordings are unknown).\n'


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser('compare', "Print the paper's comparison table with our numbers.")
    parser.add_argument('--dataset', help=f'{", ".join(DATASETS)}, or your own')
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--runs', type=int, default=3, help='seeds of AdaBoost and of what is trained (default 3)')
    parser.add_argument('--lstm_epochs', type=int, default=30, help='epochs of the LSTMs (default 30)')
    parser.add_argument(
        '--yardstick_epochs', type=int, default=10, help='epochs of MLPs, GRU and transformer (default 10)'
    )
    parser.add_argument(
        '--train', action='store_true', help='train the networks first that are not, --runs seeds of each'
    )
    parser.add_argument('--gpu', type=gpu_number, default='0', help='number of the GPU, -1 for the CPU')
    parser.add_argument('--data_dir', default='Datasets', help='folder of the data sets')
    parser.add_argument('--models_dir', default='Models', help='folder of the trained models')
    parser.add_argument('--output', type=Path, help='write the rows into this JSON file too')
    parser.add_argument(
        '--figures',
        nargs='*',
        metavar='RUN',
        help='draw the CMC of these runs (folders, or names of folders) into one plot, without the table; '
        "without names the table's networks",
    )
    add_flags(parser)
    given = parser.parse_args(argv)
    if given.cluster != NONE and not given.train:
        raise UserError(f'--cluster {given.cluster} says how networks are trained: add --train or leave it out')
    if given.figures and (given.train or given.output):
        raise UserError('--figures RUN draws runs and makes no table: leave out its names, or --train and --output')
    if not given.dataset and not given.figures:
        parser.error('the following arguments are required: --dataset')
    for name in ('runs', 'lstm_epochs', 'yardstick_epochs'):
        if getattr(given, name) < 1:
            raise UserError(f'--{name}: a number of at least 1 was expected, found {getattr(given, name)}')
    if given.output and not given.output.absolute().parent.is_dir():
        raise UserError(
            f"--output expects a file in an existing folder, and '{given.output.parent}' is none: make it first"
        )
    return given
