"""Stage 2 of a run: training the recognition network on CAGEs, and its run folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from sge_la import backends, checkpoints
from sge_la.backends import ops
from sge_la.evaluation import metrics
from sge_la.evaluation.epoch_choice import EpochChoice
from sge_la.evaluation.scores import summary
from sge_la.features.files import SELECTION_STEM, TEST_STEMS, read_features
from sge_la.files.arrays import release_pages
from sge_la.files.write_arrays import save_npy
from sge_la.model import products, recognition
from sge_la.model.adam import adam_step
from sge_la.model.config import FLOAT32
from sge_la.model.losses import accuracy
from sge_la.runs import records
from sge_la.runs.plan import Plan
from sge_la.runs.states import NotFinite, TrainingState, fresh_state
from sge_la.training.epochs import LEARNING_RATE, run_epochs, whole_batches
from sge_la.training.scoring import EpochScore, scorer
from sge_la.training.stage import Stage
from sge_la.training.together import epoch_runner

# Steps of the recognition network in one call: a step takes a fraction of a millisecond, a call almost as much.
RECOGNITION_DISPATCH = 16
# Calls after which the features that were read are given back: some hundred megabytes.
_CALLS_IN_MEMORY = 32


def recognition_step(state, features, labels, rate: float = LEARNING_RATE):
    """One update of the recognition network: Adam; the original's clipping has no effect there."""
    params, first, second, number = state
    number = number + 1
    (loss, logits), grads = recognition.loss_and_gradients(params, features, labels)
    correct = accuracy(logits, labels)
    updated = adam_step(params, first, second, grads, number, rate)
    return (*updated, number), ops.stack([loss, correct])


@cache
def _recognition_step(rate: float, precision: str) -> Callable:
    def step(state, features, labels):
        with products.precision(precision):
            return recognition_step(state, features, labels, rate)

    return step


def fit_recognition(
    features: np.ndarray,
    labels: np.ndarray,
    state: TrainingState,
    *,
    epochs: int,
    batch_size: int = 128,
    rate: float = LEARNING_RATE,
    precision: str = FLOAT32,
    progress: str | None = None,
) -> Iterator[TrainingState]:
    """Stage 2: trains the recognition network; yields the state after every epoch.

    Args:
        features: float32 `[R, D]` in the order of training, which is the same every epoch; may be a memory map. The
            last incomplete batch is dropped.
        labels: class indices `[R]`.
        state: where to go on from.
        epochs: in all.
        batch_size: rows a step.
        rate: Adam's.
        precision: of the products, see `sge_la.model.products`.
        progress: what the bar says; None shows none.

    Yields:
        The state, whose history has gained `train_loss` and `train_accuracy` of the epoch's last batch, and `seconds`.

    Raises:
        NotFinite: as `fit_encoder`.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    batches = whole_batches(np.arange(len(features)), batch_size, 'rows', '--rn_batch_size')
    run = epoch_runner(_recognition_step(rate, precision), lambda r: (features[r], labels[r]), RECOGNITION_DISPATCH)
    calls = itertools.count(1)

    def give_back(steps: int) -> None:
        if next(calls) % _CALLS_IN_MEMORY == 0:
            release_pages(features)

    def line_of(epoch: int, params: dict, terms: np.ndarray) -> dict[str, float]:
        return {'train_loss': float(terms[-1, 0]), 'train_accuracy': float(terms[-1, 1])}

    return run_epochs(
        *(run, state, epochs, lambda epoch: batches, line_of),
        losses=['cross-entropy'],
        progress=progress,
        bar_of_epochs=True,
        after_call=give_back,
    )


def train_recognition(
    plan: Plan, stage: Stage, names: list[str], classes: int, *, num_held: int, task: str = ''
) -> tuple[TrainingState, EpochChoice]:
    """Trains the recognition network on the feature files of a run folder and saves the chosen checkpoints.

    `plan`: of the run; `stage`: of this network; its home is the run folder or, of a single task, a folder in it;
    `names`: of the test sets; `classes`: C; `num_held`: sequences that were held out for `--select val`; `task`: of
    rev_rec_plus, to train on its columns alone; '' for all. Returns the last state and the chosen epochs.
    """
    columns = plan.columns_of(task)
    train = read_features(plan.network, 'train', columns)
    batches = {'batch_size': plan.rn_batch_size, 'fill_batch': plan.fills_batch}
    tests = {name: _scorer(plan, stem, columns, **batches) for name, stem in zip(names, TEST_STEMS, strict=False)}
    held = _scorer(plan, SELECTION_STEM, columns, drop_incomplete=False) if num_held else None
    choice = EpochChoice(plan.select, names)
    fresh = fresh_state(recognition.initial_params(train.X.shape[1], classes, plan.seed))
    state = stage.start(fresh, choice.restore)
    steps = len(train.X) // plan.rn_batch_size
    settings = {'epochs': plan.rn_epochs, 'batch_size': plan.rn_batch_size, 'rate': plan.rn_rate}
    settings |= {'precision': plan.precision, 'progress': 'recognition'}

    def look(state: TrainingState) -> tuple[str, tuple]:
        line = state.history[-1]
        scores = {name: score(state.params) for name, score in tests.items()}
        for name, found in scores.items():
            line |= {f'accuracy_{name}': found.accuracy, f'loss_{name}': found.loss}
            if not np.isfinite(found.loss):
                raise NotFinite(state.epoch, state.step // state.epoch, '', f'cross-entropy loss on {name}')
        if held is not None:
            line['selection_accuracy'] = held(state.params).accuracy
        _offer(choice, line, state, scores)
        return _epoch_line(line, plan.rn_epochs, steps, names, state.history), choice.kept()

    state = stage.follow(plan, state, fit_recognition(train.X, train.labels, state, **settings), look)
    _save(stage.home, state, choice, names)
    return state, choice


def _scorer(plan: Plan, stem: str, columns: tuple[int, int] | None, **rules) -> Callable[[dict], EpochScore]:
    """What scores a feature file of the run folder after each epoch, under the original's rules."""
    features = read_features(plan.network, stem, columns)
    features = replace(features, X=backends.at_hand(features.X))
    return scorer(features, plan.length, plan.precision, manner=plan.manner, **rules)


def _offer(choice: EpochChoice, line: dict, state: TrainingState, scores: dict[str, EpochScore]) -> None:
    """Lets an epoch be chosen, and keeps its scores where either rule would choose it."""
    held = line.get('selection_accuracy')
    choice.offer({name: found.accuracy for name, found in scores.items()}, held, state)
    for name, found in scores.items():

        def summed(found=found) -> dict:
            sequences = found.sequences()
            return summary(metrics.evaluate_scores(sequences.scores, sequences.labels))

        choice.scores.offer(name, state.epoch, found.accuracy, held, summed)


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
    records.write_history(folder, state.history)
    columns = {'train_loss': 'train_loss', 'acc': f'accuracy_{names[0]}'}
    if len(names) == 1:
        columns['test_loss'] = f'loss_{names[0]}'
    else:
        columns |= {f'test_{name}_loss': f'loss_{name}' for name in names}
    for file, column in columns.items():
        save_npy(folder / f'{file}.npy', np.array([line[column] for line in state.history], np.float32))
