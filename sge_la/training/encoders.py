"""Stage 1 of a run: training its gait encoders on pretext tasks, and their run folders."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
from keras import ops
from tqdm import tqdm

from sge_la import backends, checkpoints
from sge_la.data.layout import AXES
from sge_la.data.training_set import TrainingData
from sge_la.files import locks
from sge_la.files.locks import RunLock
from sge_la.files.write_arrays import save_npy
from sge_la.model import gait_encoder, labelled_lstm
from sge_la.model.adam import adam_step
from sge_la.model.config import EncoderConfig
from sge_la.model.gradients import losses, losses_and_gradients
from sge_la.model.losses import l2_loss
from sge_la.model.pretext import Pretext, pretext
from sge_la.runs import records, states
from sge_la.runs.plan import EncoderJob
from sge_la.runs.states import FINISHED, TrainingState, fresh_state
from sge_la.runs.tensorboard import epoch_logs, log_finished
from sge_la.settings import papers
from sge_la.settings.names import recorded_precision, trains_otherwise
from sge_la.settings.options import TrainOptions
from sge_la.settings.papers import ablation_row
from sge_la.training.epochs import LEARNING_RATE, encoder_batches, refuse_not_finite, refuse_weights
from sge_la.training.labelled import fit_labelled

CLIP = 5.0
TERMS = ('reconstruction', 'locality', 'contrastive', 'l2')
say = tqdm.write  # prints above a bar


@cache
def encoder_step(config: EncoderConfig) -> Callable:
    """One update of the encoders of x, y and z: Adam on all terms of the cost.

    Returns:
        `(state, inputs [B, T, J, 3], targets) -> (state, terms [4, 3])`; the state is (parameters, Adam's two moments,
        number of updates), the terms are `TERMS` by axis, before the update.
    """

    def step(state, inputs, targets):
        params, first, second, number = state
        number = number + 1
        inputs, targets = gait_encoder.axis_major(inputs), gait_encoder.axis_major(targets)
        terms, grads = losses_and_gradients(config, params, inputs, targets)
        terms['l2'] = l2_loss(params, config.l2)
        updated = adam_step(params, first, second, grads, number, LEARNING_RATE, l2=config.l2, clip=CLIP)
        return (*updated, number), ops.stack([terms[name] for name in TERMS])

    return step


@cache
def _encoder_validation(config: EncoderConfig) -> Callable:
    def terms(params, inputs, targets):
        found = losses(config, params, gait_encoder.axis_major(inputs), gait_encoder.axis_major(targets))
        return ops.stack([found[name] for name in TERMS[:3]])

    return backends.current().compiled(terms)


def fit_encoder(
    config: EncoderConfig,
    pretext: Pretext,
    rows: np.ndarray,
    state: TrainingState,
    *,
    epochs: int,
    batch_size: int = 128,
    validation: np.ndarray | None = None,
    progress: str | None = None,
) -> Iterator[TrainingState]:
    """Stage 1: trains the encoders of x, y and z; yields the state after every epoch.

    Batches are consecutive sequences in the order of `rows`, which the contrastive loss relies on. Adam, rate 0.0005,
    elementwise clip ±5, no decay (the original's schedule has no effect).

    Args:
        config: the encoder's.
        pretext: inputs and targets.
        rows: sequences to train on, in order.
        state: where to go on from; `fresh_state(initial_params(...))` at the beginning.
        epochs: in all; those that `state` already has are not repeated.
        batch_size: B.
        validation: sequences of the "validation" losses; the first 128 of `rows` as in the original.
        progress: what the bar says; None shows none.

    Yields:
        The state, whose history has gained one dict: for every axis the last batch's losses (`reconstruction_x`, ...)
        and the validation losses (`validation_reconstruction_x`, ...), and `seconds`.

    Raises:
        NotFinite: a loss or a weight is NaN or infinite.
    """
    batches = encoder_batches(rows, batch_size)
    validation = rows[:128] if validation is None else validation
    validate = _encoder_validation(config)
    run = backends.current().epoch_runner(encoder_step(config), lambda r: (pretext.inputs(r), pretext.targets(r)))
    held = (state.params, state.first, state.second, np.float32(state.step))
    for epoch in range(state.epoch + 1, epochs + 1):
        began = time.perf_counter()
        with tqdm(
            total=len(batches),
            desc=f'{progress} {epoch}/{epochs}',
            unit='step',
            leave=False,
            disable=None if progress else True,
        ) as bar:
            held, terms = run(held, batches, bar.update)
        refuse_not_finite(epoch, terms, TERMS, AXES)
        refuse_weights(epoch, len(batches), held[0], AXES)
        checked = ops.convert_to_numpy(validate(held[0], pretext.inputs(validation), pretext.targets(validation)))
        refuse_not_finite(epoch, checked[None], [f'validation {name}' for name in TERMS[:3]], AXES, len(batches))
        line = {f'{name}_{axis}': float(terms[-1, i, a]) for i, name in enumerate(TERMS) for a, axis in enumerate(AXES)}
        line |= {
            f'validation_{name}_{axis}': float(checked[i, a])
            for i, name in enumerate(TERMS[:3])
            for a, axis in enumerate(AXES)
        }
        line = {'epoch': epoch, **line, 'seconds': round(time.perf_counter() - began, 3)}
        state = TrainingState(*held[:3], state.step + len(batches), epoch, [*state.history, line])
        yield state


def encoder_rows(data: TrainingData, options: TrainOptions) -> np.ndarray:
    """The sequences that the encoders train on, in their order.

    File order; BIWI only the first two thirds; AGE shuffles them once. All as in the original.
    """
    rows = np.arange(len(data.split.skeletons))
    if data.held:
        rows = np.sort(np.concatenate(list(data.ids.values())))
    if options.dataset == 'BIWI':
        rows = rows[: 2 * len(rows) // 3]
    if options.encoding == 'AGE':
        rows = np.random.default_rng([options.seed, len(rows)]).permutation(rows)
    return rows


def encoder_record(options: TrainOptions, job: EncoderJob, data: TrainingData) -> dict:
    """Everything that an encoder's weights depend on, for its config.json."""
    return {
        'dataset': options.dataset,
        'model': job.task,
        'attention': job.attention,
        'encoding': options.encoding,
        'length': options.length,
        't': options.t,
        'view': options.view,
        'frozen': options.frozen,
        'faithful': options.faithful and trains_otherwise(options, job.task),
        'ablation': ablation_row(options.ablation).encoder if options.ablation else None,
        'select_val': options.select == 'val',
        'epochs': options.epochs,
        'batch_size': options.batch_size,
        'seed': options.seed,
        'data': data.fingerprint,
        **recorded_precision(options),
    }


def train_encoder(options: TrainOptions, job: EncoderJob, data: TrainingData, environment: dict) -> None:
    """Stage 1 for one pretext task: trains x, y and z together, unless the folders hold the finished result."""
    record = encoder_record(options, job, data)
    home = job.folders['x']
    with contextlib.ExitStack() as stack:
        for folder in job.folders.values():
            stack.enter_context(claimed(folder))
        more = {'options': asdict(options), 'environment': environment}
        found = [states.begin(folder, record, more, overwrite=options.overwrite) for folder in job.folders.values()]
        if all(status == FINISHED for status in found):
            say(f'Gait encoders are trained already: {home.name} and its y and z')
            log_finished(options.tensorboard, job.folders)
            return
        state = _fit(options, job, data, home)
        _save_encoder(job, state)
        # x last: the state to go on from lies there, and must outlast the others' unfinished marks.
        for folder in reversed(job.folders.values()):
            states.finish(folder)
    say('Model Trained and Saved')


def claimed(folder: Path) -> RunLock:
    """Takes a folder for this run and says so if a dead run's lock was in the way."""
    lock = locks.claim(folder)
    if lock.note:
        say(lock.note)
    return lock


def _fit(options: TrainOptions, job: EncoderJob, data: TrainingData, home: Path) -> TrainingState:
    state = fresh_state(_initial_params(options, job, data))
    if kept := states.resume(home, state, options.epochs):
        state = kept[0]
        say_resumed(kept[1].warning, state.epoch, options.epochs)
    say('Begin Training on Dimension [X, Y, Z]')
    rows = encoder_rows(data, options)
    if job.labelled:
        rows = rows[data.classes[rows] >= 0]
        settings = {'epochs': options.epochs, 'batch_size': options.batch_size, 'precision': options.precision}
        found = fit_labelled(data.split.skeletons, data.classes, rows, state, **settings)
    else:
        found = _fit_pretext(options, job, data, rows, state)
    steps = len(rows) // options.batch_size
    logs = epoch_logs(options.tensorboard, job.folders, state.history)
    with states.naming_last_state(home, '--epochs'), states.saving(home) as save, logs as log:
        for state in found:
            say(_encoder_line(state.history[-1], options.epochs, steps))
            log(state.history[-1])
            if state.epoch < options.epochs:
                save(state)
    return state


def _initial_params(options: TrainOptions, job: EncoderJob, data: TrainingData) -> dict[str, np.ndarray]:
    if job.labelled:
        return labelled_lstm.initial_params(job.config.joints, job.config.units, data.num_classes, options.seed)
    return gait_encoder.initial_params(job.config, options.seed)


def _fit_pretext(options, job: EncoderJob, data: TrainingData, rows: np.ndarray, state: TrainingState):
    task = 'rec' if not job.config.reverse else 'rev_rec' if papers.trains_on_reverse_alone(options) else job.task
    sequences = data.split.skeletons
    if data.held and job.task == 'prediction':  # the next sequence must not be a held-out one
        sequences, rows = sequences[rows], np.arange(len(rows))
    pairs = pretext(task, sequences, seed=options.seed, shared_order=not options.faithful)
    settings = {'epochs': options.epochs, 'batch_size': options.batch_size, 'progress': 'encoders'}
    return fit_encoder(job.config, pairs, rows, state, **settings)


def say_resumed(warning: str, epoch: int, epochs: int) -> None:
    """Says what an unfinished run left."""
    if warning:
        say(f'warning: {warning}')
    say(f'Found an unfinished run: going on after epoch {epoch} of {epochs}')


def _encoder_line(line: dict, epochs: int, steps: int) -> str:
    start = f'Epoch {line["epoch"]:3}/{epochs} Batch {steps - 1:4}/{steps} - '
    if 'cross_entropy' in line:
        return f'{start}Training Loss: {line["cross_entropy"]:6.3f}  - Train_Acc: {line["accuracy"]:6.3f}'

    def three(name: str) -> str:
        return ' '.join(f'{line[f"{name}_{axis}"]:6.3f}' for axis in AXES)

    return '  - '.join(
        [
            f'{start}Training Loss: {three("reconstruction")}',
            f'Validation loss: {three("validation_reconstruction")}',
            f'Contrastive loss: {three("validation_contrastive")}',
        ]
    )


def _save_encoder(job: EncoderJob, state: TrainingState) -> None:
    arrays = state.arrays()
    checkpoints.save_encoder(job.folders, arrays['params'], (arrays['first'], arrays['second']), state.step)
    files = {
        'train_loss': 'reconstruction',
        'test_loss': 'validation_reconstruction',
        'c_train_loss': 'validation_contrastive',
    }
    if job.labelled:
        files = {'train_loss': 'cross_entropy', 'acc': 'accuracy'}
    for axis, folder in job.folders.items():
        records.write_history(folder, [{name: line[name] for name in _columns(line, axis)} for line in state.history])
        for file, column in files.items():
            name = column if job.labelled else f'{column}_{axis}'
            save_npy(folder / f'{file}.npy', np.array([line[name] for line in state.history], np.float32))


def _columns(line: dict, axis: str) -> list[str]:
    shared = ('epoch', 'seconds', 'cross_entropy', 'accuracy')
    return [name for name in line if name in shared or name.endswith(f'_{axis}')]
