"""Stage 2 of a run: training the recognition network on CAGEs, and its run folder."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from keras import ops
from tqdm import tqdm

from sge_la import backends, checkpoints
from sge_la.evaluation import metrics
from sge_la.evaluation.epoch_choice import EpochChoice
from sge_la.evaluation.scores import LOGIT_ROWS, compiled_recogniser, logits, summary
from sge_la.features.cages import release_pages
from sge_la.features.files import SELECTION_STEM, TEST_STEMS, Features, feature_manner, read_features
from sge_la.files.write_arrays import save_npy
from sge_la.model import products, recognition
from sge_la.model.adam import adam_step
from sge_la.model.config import FLOAT32
from sge_la.runs import records, states
from sge_la.runs.states import NotFinite, TrainingState, fresh_state
from sge_la.runs.tensorboard import epoch_logs
from sge_la.settings import papers
from sge_la.training.encoders import say_resumed
from sge_la.training.epochs import LEARNING_RATE, encoder_batches, refuse_not_finite, refuse_weights

# Steps of the recognition network in one call: a step takes a fraction of a millisecond, a call almost as much.
RECOGNITION_DISPATCH = 16
# Calls after which the features that were read are given back: some hundred megabytes.
_CALLS_IN_MEMORY = 32
say = tqdm.write


def recognition_step(state, features, labels, rate: float = LEARNING_RATE):
    """One update of the recognition network: Adam; the original's clipping has no effect there."""
    params, first, second, number = state
    number = number + 1
    (loss, logits), grads = recognition.loss_and_gradients(params, features, labels)
    correct = ops.mean(ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.cast(labels, 'int32')), 'float32'))
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
    batches = encoder_batches(np.arange(len(features)), batch_size, 'rows', '--rn_batch_size')
    run = backends.current().epoch_runner(
        _recognition_step(rate, precision), lambda r: (features[r], labels[r]), RECOGNITION_DISPATCH
    )
    held = (state.params, state.first, state.second, np.float32(state.step))
    calls = itertools.count(1)

    def tick(steps: int) -> None:
        if next(calls) % _CALLS_IN_MEMORY == 0:
            release_pages(features)

    with tqdm(
        total=epochs, initial=state.epoch, desc=progress, unit='epoch', leave=False, disable=None if progress else True
    ) as bar:
        for epoch in range(state.epoch + 1, epochs + 1):
            began = time.perf_counter()
            held, terms = run(held, batches, tick)
            refuse_not_finite(epoch, terms[:, :1, None], ['cross-entropy'], [''])
            refuse_weights(epoch, len(batches), held[0])
            loss, accuracy = map(float, terms[-1])
            line = {'epoch': epoch, 'train_loss': loss, 'train_accuracy': accuracy}
            line['seconds'] = round(time.perf_counter() - began, 3)
            state = TrainingState(*held[:3], state.step + len(batches), epoch, [*state.history, line])
            bar.update()
            yield state


def _sequences(answers: np.ndarray, features: Features, options) -> metrics.SequenceScores:
    """Scores of the test sequences under the original's rules on incomplete batches."""
    settings = {'batch_size': options.rn_batch_size, 'fill_batch': papers.fills_batch(options)}
    return metrics.sequence_scores(answers, features.labels, options.length, manner=feature_manner(options), **settings)


def sequence_accuracy(found: metrics.SequenceScores) -> float:
    """Rank-1 over sequences."""
    return float(np.mean(found.scores.argmax(axis=1) == found.labels))


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
    tests = {name: _at_hand(folder, stem, task) for name, stem in zip(names, TEST_STEMS, strict=False)}
    held = _at_hand(folder, SELECTION_STEM, task) if num_held else None
    folder = folder / task
    state, choice = (
        fresh_state(recognition.initial_params(train.X.shape[1], classes, options.seed)),
        EpochChoice(options.select, names),
    )
    if kept := states.resume(folder, state, options.rn_epochs):
        state = kept[0]
        choice.restore(kept[1])
        say_resumed(kept[1].warning, state.epoch, options.rn_epochs)
    compiled = compiled_recogniser(options.precision)
    steps = len(train.X) // options.rn_batch_size
    settings = {'epochs': options.rn_epochs, 'batch_size': options.rn_batch_size, 'rate': options.rn_rate}
    settings |= {'precision': options.precision, 'progress': 'recognition'}
    epochs = fit_recognition(train.X, train.labels, state, **settings)
    logs = epoch_logs(options.tensorboard, {'': folder}, state.history)
    with states.naming_last_state(folder, '--rn_epochs'), states.saving(folder) as save, logs as log:
        for state in epochs:
            line = state.history[-1]
            answers = {name: logits(state.params, features.X, compiled) for name, features in tests.items()}
            line |= _scores_of(state, tests, answers, options)
            if held is not None:
                line['selection_accuracy'] = _held_accuracy(logits(state.params, held.X, compiled), held, options)
            _offer(choice, line, state, {name: (answers[name], tests[name]) for name in names}, options)
            say(_epoch_line(line, options.rn_epochs, steps, names, state.history))
            log(line)
            if state.epoch < options.rn_epochs:
                save(state, *choice.kept())
    _save(folder, state, choice, names)
    return state, choice


def _at_hand(folder: Path, stem: str, task: str) -> Features:
    features = read_features(folder, stem, task)
    return replace(features, X=backends.at_hand(features.X))


def _scores_of(state, tests: dict[str, Features], answers: dict[str, np.ndarray], options) -> dict[str, float]:
    line = {}
    for name, features in tests.items():
        found = _sequences(answers[name], features, options)
        line[f'accuracy_{name}'] = sequence_accuracy(found)
        line[f'loss_{name}'] = loss = _cross_entropy(answers[name], features.labels)
        if not np.isfinite(loss):
            raise NotFinite(state.epoch, state.step // state.epoch, '', f'cross-entropy loss on {name}')
    return line


def _held_accuracy(answers: np.ndarray, held: Features, options) -> float:
    settings = {'manner': feature_manner(options), 'drop_incomplete': False}
    return sequence_accuracy(metrics.sequence_scores(answers, held.labels, options.length, **settings))


def _offer(choice: EpochChoice, line: dict, state: TrainingState, tests: dict[str, tuple], options) -> None:
    """Lets an epoch be chosen, and keeps its scores where either rule would choose it."""
    held = line.get('selection_accuracy')
    choice.offer({name: line[f'accuracy_{name}'] for name in tests}, held, state)
    for name, (answers, features) in tests.items():

        def scores(answers=answers, features=features) -> dict:
            found = _sequences(answers, features, options)
            return summary(metrics.evaluate_scores(found.scores, found.labels))

        choice.scores.offer(name, state.epoch, line[f'accuracy_{name}'], held, scores)


def _cross_entropy(answers: np.ndarray, labels: np.ndarray) -> float:
    losses = np.empty(len(labels), np.float32)
    for start in range(0, len(labels), LOGIT_ROWS):  # what lies between stays in the caches
        block = slice(start, start + LOGIT_ROWS)
        rows, right = answers[block], labels[block]
        highest = rows.max(axis=1)
        total = np.log(np.exp(rows - highest[:, None]).sum(axis=1)) + highest
        losses[block] = total - rows[np.arange(len(right)), right]
    return float(np.mean(losses))


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
