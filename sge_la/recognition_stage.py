"""Stage 2 of a run: feature files, the recognition network, and the choice of its epoch."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la import cages, checkpoints, layout, metrics, runs, stages
from sge_la.ablation_rows import ablation_row
from sge_la.casia_b import protocols
from sge_la.data import Dataset
from sge_la.data.npy import read_npy
from sge_la.encoder_stage import EncoderJob, TrainingData, fingerprint, load_job, say_resumed
from sge_la.errors import UserError
from sge_la.features import FeatureSource, by_source, one_hot, row_labels, write_feature_file
from sge_la.files import os_errors, read_json, save_npy, write_json
from sge_la.model import recognition
from sge_la.options import PLUS, TASKS, changed_by_faithful
from sge_la.training import NotFinite, TrainingState, compiled_recogniser, fit_recognition, fresh_state, logits

say = tqdm.write
# The original's file names of the test features, in the order of the test sets (IAS has two).
TEST_STEMS = ('val', 'val_2')
SELECTION_STEM = 'selection'
FEATURE_RECORD = 'features.json'


def feature_manner(options) -> str:
    """How rows are scored: the contrast head gives one row a sequence, whatever `--manner` says."""
    return 'sc' if options.frozen or options.c_reid else options.manner


def feature_sources(options, jobs: list[EncoderJob]) -> list[FeatureSource]:
    """The trained encoders as sources of feature columns."""
    kind = 'contrast' if options.frozen or options.c_reid else 'context'
    if options.ablation:
        kind = ablation_row(options.ablation).features
    loaded: dict[Path, dict] = {}
    sources = []
    for job in jobs:
        params = loaded.setdefault(job.folders['x'], None) or load_job(job)
        loaded[job.folders['x']] = params
        task = 'sorting' if job.permute_train_only else job.task
        sources.append(
            FeatureSource(
                job.config,
                params,
                task=task,
                kind=kind,
                permute_test=not job.permute_train_only,
                shared_order=not options.faithful,
            )
        )
    return sources


@dataclass(frozen=True)
class Features:
    """Rows of one set of sequences: `X` float32 `[R, D]` (a memory map), `labels` int64 `[R]`, and C."""

    X: np.ndarray
    labels: np.ndarray
    num_classes: int


def write_features(options, dataset: Dataset, data: TrainingData, sources: list[FeatureSource], folder: Path) -> None:
    """Encodes training, selection and test sequences into the files that the original writes, and one of ours.

    `train_X.npy`, `val_X.npy` (IAS also `val_2_X.npy`) and `selection_X.npy` (`--select val`): float32 `[R, D]`; the
    same with `_y`: uint8 one-hot `[R, C]`. Training rows stand in one random order, as in the original.
    """
    manner = feature_manner(options)
    skeletons, labels = data.split.skeletons, dataset.classes(data.split)
    rows = cages.original_rows(data.ids, pad=True)
    row_classes = row_labels(labels[rows], sources, manner)
    order = np.random.default_rng([options.seed, len(row_classes)]).permutation(len(row_classes))
    write_feature_file(
        folder / 'train_X.npy', sources, skeletons, rows, manner, seed=options.seed, test=False, order=order
    )
    save_npy(folder / 'train_y.npy', one_hot(row_classes[order], len(dataset.identities)))
    if data.held:
        held = cages.all_rows(data.held)
        _write_test(folder, SELECTION_STEM, options, dataset, sources, data.split, held)
    for stem, split in zip(TEST_STEMS, dataset.tests.values(), strict=False):
        _write_test(folder, stem, options, dataset, sources, split, original_test_rows(options, split.ids))


def original_test_rows(options, ids: dict[int, np.ndarray]) -> np.ndarray:
    """The test sequences that the original encodes; the published rev_rec_plus scores the padding as well.

    There its second pass meets lists of indices that the first has padded, and all of its passes are as long.
    """
    return cages.original_rows(ids, pad=options.faithful and options.model == PLUS)


def _write_test(folder, stem, options, dataset, sources, split, rows) -> None:
    manner = feature_manner(options)
    classes = row_labels(dataset.classes(split)[rows], sources, manner)
    write_feature_file(folder / f'{stem}_X.npy', sources, split.skeletons, rows, manner, seed=options.seed, test=True)
    save_npy(folder / f'{stem}_y.npy', one_hot(classes, len(dataset.identities)))


def feature_record(options, data: TrainingData, sources: list[FeatureSource], dataset: Dataset) -> dict:
    """Everything that the feature files depend on."""
    names = ('dataset', 'manner', 'length', 'view', 'transfer', 'frozen', 'c_reid', 'encoding', 'model', 'ablation')
    checksum = 0
    for source in sources:
        for name in sorted(source.params):
            checksum = zlib.crc32(np.ascontiguousarray(source.params[name]).data, checksum)
    return {
        **{name: getattr(options, name) for name in (*names, 'seed')},
        'faithful': changed_by_faithful(options),
        'select_val': options.select == 'val',
        'data': data.fingerprint,
        'tests': {name: fingerprint(split.skeletons, split.ids) for name, split in dataset.tests.items()},
        'encoders': f'{checksum:08x}',
    }


def prepare_features(options, dataset: Dataset, data: TrainingData, sources: list[FeatureSource], folder: Path) -> dict:
    """Writes the feature files, unless the folder has just these.

    Returns:
        Their record.
    """
    record, path = feature_record(options, data, sources, dataset), folder / FEATURE_RECORD
    stems = ['train', *([SELECTION_STEM] if data.held else []), *TEST_STEMS[: len(dataset.tests)]]
    if path.exists() and read_json(path) == record and _are_sound(folder, stems):
        say('Features are there already')
        return record
    with os_errors(path, 'remove'):
        path.unlink(missing_ok=True)
    say('Generate CAGEs' if options.encoding == 'CAGE' else 'Generate AGEs')
    for text in protocols.data_lines(options, dataset):
        say(text)
    write_features(options, dataset, data, sources, folder)
    write_json(path, record)
    return record


def _are_sound(folder: Path, stems: list[str]) -> bool:
    try:
        for stem in stems:
            read_features(folder, stem)
    except UserError as error:
        say(f'warning: {error}; they are made again')
        return False
    return True


def read_features(folder: Path, stem: str, task: str = '') -> Features:
    """Reads a pair of feature files; features stay a memory map.

    Args:
        folder: of the recognition network.
        stem: 'train', 'val', ...
        task: of rev_rec_plus, for its columns alone; '' for all.

    Raises:
        UserError: a file is missing or damaged, or the two do not fit.
    """
    X = read_npy(folder / f'{stem}_X.npy', mmap=True)
    labels = read_npy(folder / f'{stem}_y.npy', mmap=True)
    features = checked_features(X, labels, folder / f'{stem}_X.npy')
    return of_task(features, task) if task else features


def own_tasks(options) -> tuple[str, ...]:
    """The pretext tasks whose own scores stand beside the joined one; the published rev_rec_plus has but one."""
    return TASKS if options.model == PLUS and not options.faithful and not options.double_pretext else ()


@dataclass(frozen=True)
class OwnColumns:
    """The columns of one encoder among joined features; rows are copied when they are asked for, and not before.

    Attributes:
        blocks: `[R, 3, values]`, a view of the joined ones.
    """

    blocks: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.blocks), self.blocks.shape[1] * self.blocks.shape[2]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        return self.blocks[rows].reshape(-1, self.shape[1])


def of_task(features: Features, task: str) -> Features:
    """The columns of rev_rec_plus that one task's encoder gave."""
    return replace(features, X=OwnColumns(by_source(features.X, len(TASKS))[:, :, TASKS.index(task)]))


def checked_features(X: np.ndarray, one_hot: np.ndarray, where: Path) -> Features:
    """Checks shapes, and turns one-hot labels into class indices."""
    if X.ndim != 2 or one_hot.ndim != 2 or len(X) != len(one_hot) or not len(X):
        raise UserError(
            f'{where}: expected features [rows, values] with one-hot labels [rows, classes] beside them, found shapes '
            f'{X.shape} and {one_hot.shape}; delete both files to make them again'
        )
    return Features(X, np.asarray(one_hot).argmax(axis=1).astype(np.int64), one_hot.shape[1])


@dataclass
class Best:
    """The best epoch so far, for one checkpoint.

    Attributes:
        stem: the checkpoint's file name.
        score: of that epoch; -1 before the first.
        epoch: its number.
        params: its weights.
    """

    stem: str
    score: float = -1.0
    epoch: int = 0
    params: dict = field(default_factory=dict)

    def take(self, score: float, state: TrainingState) -> None:
        self.score, self.epoch = score, state.epoch
        self.params = state.arrays()['params']


def sequence_accuracy(
    scores: np.ndarray, features: Features, length: int, manner: str, batch_size: int, *, fill_batch: bool = False
) -> float:
    """Rank-1 over sequences under the original's rules on incomplete batches."""
    settings = {'manner': manner, 'batch_size': batch_size, 'fill_batch': fill_batch}
    found = metrics.sequence_scores(scores, features.labels, length, **settings)
    return float(np.mean(found.scores.argmax(axis=1) == found.labels))


class EpochChoice:
    """Keeps the weights of the chosen epoch.

    'test': the original's rule: best on the test set, later epochs win ties. IAS keeps three checkpoints: `A_` and
    `B_` when that test set gains, and a joint one when one of them and their sum gain. 'val': best on held-out
    training sequences. 'last': the last epoch.
    """

    def __init__(self, select: str, names: list[str]):
        self.select = select
        self.joint = Best(layout.CHECKPOINT_STEM)
        self.single = {name: Best(f'{name}_{layout.CHECKPOINT_STEM}') for name in names} if len(names) > 1 else {}

    def offer(self, accuracies: dict[str, float], held: float | None, state: TrainingState) -> None:
        """Looks at a finished epoch: accuracies on the test sets, and on the held-out sequences."""
        if self.select != 'test':
            score = held if self.select == 'val' else self.joint.score
            for best in (self.joint, *self.single.values()):
                if score >= best.score:
                    best.take(score, state)
            return
        total = sum(accuracies.values())
        if not self.single:
            if total >= self.joint.score:
                self.joint.take(total, state)
            return
        gained = [name for name, best in self.single.items() if accuracies[name] > best.score]
        for name in gained:
            self.single[name].take(accuracies[name], state)
        if gained and total > self.joint.score:
            self.joint.take(total, state)

    def all(self) -> list[Best]:
        return [self.joint, *self.single.values()]

    def kept(self) -> tuple[dict[str, dict], dict]:
        """What an unfinished run must keep: weights by part, and scores and epochs."""
        parts = {f'best_{best.stem}': best.params for best in self.all() if best.epoch}
        return parts, {'best': {best.stem: [best.score, best.epoch] for best in self.all()}}

    def restore(self, state: runs.RunState) -> None:
        """Takes back what `kept` gave."""
        for best in self.all():
            best.score, best.epoch = state.meta['best'][best.stem]
            best.params = state.parts.get(f'best_{best.stem}', {})


def train_recognition(
    options, folder: Path, names: list[str], classes: int, *, num_held: int, task: str = ''
) -> tuple[TrainingState, EpochChoice]:
    """Trains the recognition network on the feature files of a run folder and saves the chosen checkpoints.

    Args:
        options: of the run.
        folder: with the feature files.
        names: of the test sets.
        classes: C.
        num_held: sequences that were held out for `--select val`.
        task: of rev_rec_plus, to train on its columns alone; what comes of it lies in a folder of this name.

    Returns:
        The last state and the chosen epochs.
    """
    train = read_features(folder, 'train', task)
    tests = {name: read_features(folder, stem, task) for name, stem in zip(names, TEST_STEMS, strict=False)}
    held = read_features(folder, SELECTION_STEM, task) if num_held else None
    folder = folder / task
    manner = feature_manner(options)
    state, choice = (
        fresh_state(recognition.initial_params(train.X.shape[1], classes, options.seed)),
        EpochChoice(options.select, names),
    )
    if kept := stages.resume(folder, state, options.rn_epochs):
        state = kept[0]
        choice.restore(kept[1])
        say_resumed(kept[1].warning, state.epoch, options.rn_epochs)
    compiled = compiled_recogniser()
    steps = len(train.X) // options.rn_batch_size
    settings = {'epochs': options.rn_epochs, 'batch_size': options.rn_batch_size, 'rate': options.rn_rate}
    epochs = fit_recognition(train.X, train.labels, state, **settings, progress='recognition')
    with stages.naming_last_state(folder, '--rn_epochs'):
        for state in epochs:
            line = state.history[-1]
            line |= _scores_of(state, tests, compiled, options, manner)
            held_accuracy = None
            if held is not None:
                answers = logits(state.params, held.X, compiled)
                found = metrics.sequence_scores(
                    answers, held.labels, options.length, manner=manner, drop_incomplete=False
                )
                held_accuracy = float(np.mean(found.scores.argmax(axis=1) == found.labels))
                line['selection_accuracy'] = held_accuracy
            choice.offer({name: line[f'accuracy_{name}'] for name in names}, held_accuracy, state)
            say(_epoch_line(line, options.rn_epochs, steps, names, state.history))
            if state.epoch < options.rn_epochs:
                stages.save(folder, state, *choice.kept())
    _save(folder, state, choice, names)
    return state, choice


def _scores_of(state, tests: dict[str, Features], compiled: Callable, options, manner: str) -> dict[str, float]:
    line = {}
    for name, features in tests.items():
        answers = logits(state.params, features.X, compiled)
        line[f'accuracy_{name}'] = sequence_accuracy(
            answers,
            features,
            options.length,
            manner,
            options.rn_batch_size,
            fill_batch=protocols.fills_batch(options),
        )
        line[f'loss_{name}'] = loss = _cross_entropy(answers, features.labels)
        if not np.isfinite(loss):
            raise NotFinite(state.epoch, state.step // state.epoch, '', f'cross-entropy loss on {name}')
    return line


def _cross_entropy(answers: np.ndarray, labels: np.ndarray) -> float:
    highest = answers.max(axis=1)
    total = np.log(np.exp(answers - highest[:, None]).sum(axis=1)) + highest
    return float(np.mean(total - answers[np.arange(len(labels)), labels]))


def _epoch_line(line: dict, epochs: int, steps: int, names: list[str], history: list[dict]) -> str:
    shown = [f'Epoch {line["epoch"]:3}/{epochs} Batch {steps - 1:4}/{steps} - Train Loss: {line["train_loss"]:6.3f}']
    shown.append(f'Train_Acc: {line["train_accuracy"]:6.3f}')
    columns = (
        {'Val_Acc': f'accuracy_{names[0]}'}
        if len(names) == 1
        else {f'Val_{name}_Acc': f'accuracy_{name}' for name in names}
    )
    if 'selection_accuracy' in line:
        columns['Held_Acc'] = 'selection_accuracy'
    for title, column in columns.items():
        best = max(entry[column] for entry in history)
        shown.append(f'{title} {line[column]:6.3f} {best:6.3f} (max)')
    return '  - '.join(shown)


def _save(folder: Path, state: TrainingState, choice: EpochChoice, names: list[str]) -> None:
    for best in choice.all():
        checkpoints.save_recognition(folder, best.params, stem=best.stem)
    runs.write_history(folder, state.history)
    columns = {'train_loss': 'train_loss', 'acc': f'accuracy_{names[0]}'}
    if len(names) == 1:
        columns['test_loss'] = f'loss_{names[0]}'
    else:
        columns |= {f'test_{name}_loss': f'loss_{name}' for name in names}
    for file, column in columns.items():
        save_npy(folder / f'{file}.npy', np.array([line[column] for line in state.history], np.float32))
