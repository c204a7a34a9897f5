"""Stage 2 of a run: the recognition network, and the choice of its epoch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la import backends, checkpoints, layout, metrics, runs, stages
from sge_la.casia_b import protocols
from sge_la.encoder_stage import say_resumed
from sge_la.epochs import EpochScores
from sge_la.evaluation import summary
from sge_la.events import epoch_logs
from sge_la.feature_files import SELECTION_STEM, TEST_STEMS, Features, feature_manner, read_features
from sge_la.files import save_npy
from sge_la.model import recognition
from sge_la.training import (
    LOGIT_ROWS,
    NotFinite,
    TrainingState,
    compiled_recogniser,
    fit_recognition,
    fresh_state,
    logits,
)

say = tqdm.write


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


def _sequences(answers: np.ndarray, features: Features, options) -> metrics.SequenceScores:
    """Scores of the test sequences under the original's rules on incomplete batches."""
    settings = {'batch_size': options.rn_batch_size, 'fill_batch': protocols.fills_batch(options)}
    return metrics.sequence_scores(answers, features.labels, options.length, manner=feature_manner(options), **settings)


def sequence_accuracy(found: metrics.SequenceScores) -> float:
    """Rank-1 over sequences."""
    return float(np.mean(found.scores.argmax(axis=1) == found.labels))


class EpochChoice:
    """Keeps the weights of the chosen epoch.

    'test': the original's rule: best on the test set, later epochs win ties. IAS keeps three checkpoints: `A_` and
    `B_` when that test set gains, and a joint one when one of them and their sum gain. 'val': best on held-out
    training sequences. 'last': the last epoch.

    Attributes:
        joint, single: the checkpoints.
        scores: of the epochs that either rule would choose.
    """

    def __init__(self, select: str, names: list[str]):
        self.select = select
        self.joint = Best(layout.CHECKPOINT_STEM)
        self.single = {name: Best(f'{name}_{layout.CHECKPOINT_STEM}') for name in names} if len(names) > 1 else {}
        self.scores = EpochScores()

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
        best = {best.stem: [best.score, best.epoch] for best in self.all()}
        return parts, {'best': best, 'scores': self.scores.found}

    def restore(self, state: runs.RunState) -> None:
        """Takes back what `kept` gave."""
        for best in self.all():
            best.score, best.epoch = state.meta['best'][best.stem]
            best.params = state.parts.get(f'best_{best.stem}', {})
        self.scores.found = state.meta.get('scores', {})


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
    if kept := stages.resume(folder, state, options.rn_epochs):
        state = kept[0]
        choice.restore(kept[1])
        say_resumed(kept[1].warning, state.epoch, options.rn_epochs)
    compiled = compiled_recogniser(options.precision)
    steps = len(train.X) // options.rn_batch_size
    settings = {'epochs': options.rn_epochs, 'batch_size': options.rn_batch_size, 'rate': options.rn_rate}
    settings |= {'precision': options.precision, 'progress': 'recognition'}
    epochs = fit_recognition(train.X, train.labels, state, **settings)
    logs = epoch_logs(options.tensorboard, {'': folder}, state.history)
    with stages.naming_last_state(folder, '--rn_epochs'), stages.saving(folder) as save, logs as log:
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
    runs.write_history(folder, state.history)
    columns = {'train_loss': 'train_loss', 'acc': f'accuracy_{names[0]}'}
    if len(names) == 1:
        columns['test_loss'] = f'loss_{names[0]}'
    else:
        columns |= {f'test_{name}_loss': f'loss_{name}' for name in names}
    for file, column in columns.items():
        save_npy(folder / f'{file}.npy', np.array([line[column] for line in state.history], np.float32))
