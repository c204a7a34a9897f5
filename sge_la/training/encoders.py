"""Stage 1 of a run: training its gait encoders on pretext tasks, and their run folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from sge_la import backends, checkpoints
from sge_la.backends import ops
from sge_la.data.layout import AXES
from sge_la.data.training_set import TrainingData
from sge_la.errors import say
from sge_la.files.write_arrays import save_npy
from sge_la.model import gait_encoder, labelled_lstm
from sge_la.model.adam import adam_step
from sge_la.model.config import EncoderConfig
from sge_la.model.losses import l2_loss
from sge_la.model.pretext import Pretext, pretext
from sge_la.runs import records
from sge_la.runs.plan import EncoderJob, Plan
from sge_la.runs.states import TrainingState, fresh_state
from sge_la.training.epochs import LEARNING_RATE, refuse_not_finite, run_epochs, whole_batches
from sge_la.training.labelled import fit_labelled
from sge_la.training.stage import Stage, claimed
from sge_la.training.together import epoch_runner

CLIP = 5.0
TERMS = ('reconstruction', 'locality', 'contrastive', 'l2')


@cache
def encoder_step(config: EncoderConfig) -> Callable:
    """One update of the encoders of x, y and z: Adam on all terms of the cost.

    Returns `(state, inputs [B, T, J, 3], targets) -> (state, terms [4, 3])`; the state is (parameters, Adam's two
    moments, number of updates), the terms are `TERMS` by axis, before the update.
    """

    def step(state, inputs, targets):
        params, first, second, number = state
        number = number + 1
        inputs, targets = gait_encoder.axis_major(inputs), gait_encoder.axis_major(targets)
        terms, grads = gait_encoder.losses_and_gradients(config, params, inputs, targets)
        terms['l2'] = l2_loss(params, config.l2)
        updated = adam_step(params, first, second, grads, number, LEARNING_RATE, l2=config.l2, clip=CLIP)
        return (*updated, number), ops.stack([terms[name] for name in TERMS])

    return step


@cache
def _encoder_validation(config: EncoderConfig) -> Callable:
    def terms(params, inputs, targets):
        found = gait_encoder.losses(config, params, gait_encoder.axis_major(inputs), gait_encoder.axis_major(targets))
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
    batches = whole_batches(rows, batch_size)
    validation = rows[:128] if validation is None else validation
    validate = _encoder_validation(config)
    checked_names = [f'validation_{name}' for name in TERMS[:3]]

    def line_of(epoch: int, params: dict, terms: np.ndarray) -> dict[str, float]:
        checked = ops.convert_to_numpy(validate(params, pretext.inputs(validation), pretext.targets(validation)))
        words = [name.replace('_', ' ') for name in checked_names]
        refuse_not_finite(epoch, checked[None], words, AXES, len(batches))
        return _by_axis(TERMS, terms[-1]) | _by_axis(checked_names, checked)

    run = epoch_runner(encoder_step(config), lambda r: (pretext.inputs(r), pretext.targets(r)))
    return run_epochs(run, state, epochs, lambda epoch: batches, line_of, losses=TERMS, axes=AXES, progress=progress)


def _by_axis(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """Terms `[terms, axes]` as columns of the history: `reconstruction_x`, `reconstruction_y`, ..."""
    return {f'{name}_{axis}': float(values[i, a]) for i, name in enumerate(names) for a, axis in enumerate(AXES)}


def encoder_rows(data: TrainingData, plan: Plan) -> np.ndarray:
    """The sequences that the encoders train on: in file order but for BIWI and AGE, as in the original."""
    rows = np.arange(len(data.split.skeletons))
    if data.held:
        rows = np.sort(np.concatenate(list(data.ids.values())))
    if plan.two_thirds:
        rows = rows[: 2 * len(rows) // 3]
    if plan.shuffled:
        rows = np.random.default_rng([plan.seed, len(rows)]).permutation(rows)
    return rows


def train_encoder(plan: Plan, job: EncoderJob, data: TrainingData, environment: dict) -> None:
    """Stage 1 for one pretext task: trains x, y and z together, unless the folders hold the finished result."""
    home, folders = job.folders['x'], list(job.folders.values())
    stage = Stage(
        home=home,
        folders=folders,
        logs=job.folders,
        record={**job.record, 'data': data.fingerprint},
        epochs=plan.epochs,
        flag='--epochs',
        trained_already=f'Gait encoders are trained already: {home.name} and its y and z',
    )

    def train() -> None:
        state = stage.start(fresh_state(_initial_params(plan, job, data)))
        say('Begin Training on Dimension [X, Y, Z]')
        rows = encoder_rows(data, plan)
        if job.labelled:
            rows = rows[data.classes[rows] >= 0]
            settings = {'epochs': plan.epochs, 'batch_size': plan.batch_size, 'precision': plan.precision}
            epochs = fit_labelled(data.split.skeletons, data.classes, rows, state, **settings)
        else:
            epochs = _fit_pretext(plan, job, data, rows, state)
        steps = len(rows) // plan.batch_size

        def look(state: TrainingState) -> tuple[str, tuple]:
            return _encoder_line(state.history[-1], plan.epochs, steps), ()

        _save_encoder(job, stage.follow(plan, state, epochs, look))

    with claimed(folders):
        stage.run(plan, environment, train)


def _initial_params(plan: Plan, job: EncoderJob, data: TrainingData) -> dict[str, np.ndarray]:
    if job.labelled:
        return labelled_lstm.initial_params(job.config.joints, job.config.units, data.num_classes, plan.seed)
    return gait_encoder.initial_params(job.config, plan.seed)


def _fit_pretext(plan: Plan, job: EncoderJob, data: TrainingData, rows: np.ndarray, state: TrainingState):
    sequences = data.split.skeletons
    if data.held and job.task == 'prediction':  # the next sequence must not be a held-out one
        sequences, rows = sequences[rows], np.arange(len(rows))
    pairs = pretext(job.targets, sequences, seed=plan.seed, shared_order=plan.shared_order)
    settings = {'epochs': plan.epochs, 'batch_size': plan.batch_size, 'progress': 'encoders'}
    return fit_encoder(job.config, pairs, rows, state, **settings)


def _encoder_line(line: dict, epochs: int, steps: int) -> str:
    start = f'Epoch {line["epoch"]:3}/{epochs} Batch {steps - 1:4}/{steps} - '
    if 'cross_entropy' in line:
        return f'{start}Training Loss: {line["cross_entropy"]:6.3f}  - Train_Acc: {line["accuracy"]:6.3f}'

    def three(name: str) -> str:
        return ' '.join(f'{axis} {line[f"{name}_{axis}"]:.3f}' for axis in AXES)

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
