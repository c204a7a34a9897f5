"""Stage 1 of a run: which gait encoders it needs, training them, and their run folders."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la import checkpoints, layout, runs, stages
from sge_la.data import Dataset, Split
from sge_la.data.holdout import hold_out
from sge_la.errors import UserError
from sge_la.files import save_npy
from sge_la.layout import AXES
from sge_la.model import gait_encoder
from sge_la.model.gait_encoder import EncoderConfig
from sge_la.options import PLUS, TrainOptions, encoder_suffix, facts
from sge_la.pretext import pretext
from sge_la.training import TrainingState, fit_encoder, fresh_state

say = tqdm.write  # prints above a bar


@dataclass(frozen=True)
class EncoderJob:
    """One gait encoder that a run needs.

    Attributes:
        task: its pretext task.
        attention: 'LA' or 'BA'.
        config: the model's.
        folders: where x, y and z are kept.
        permute_train_only: published rev_rec_plus: the third time only training inputs are permuted.
    """

    task: str
    attention: str
    config: EncoderConfig
    folders: dict[str, Path]
    permute_train_only: bool = False


def encoder_jobs(options, joints: int) -> list[EncoderJob]:
    """The encoders whose features are joined: one, or for rev_rec_plus three.

    `--faithful` gives what was published as rev_rec_plus: the rev_rec encoder three times, the third time with
    permuted training inputs.
    """
    if options.model != PLUS:
        return [_job(options, options.model, options.attention, joints)]
    if options.faithful:
        first = _job(options, 'rev_rec', 'LA', joints)
        return [first, first, replace(first, permute_train_only=True)]
    return [
        _job(options, task, attention, joints)
        for task, attention in (('rev_rec', 'LA'), ('prediction', 'BA'), ('sorting', 'BA'))
    ]


def _job(options, task: str, attention: str, joints: int) -> EncoderJob:
    config = EncoderConfig(
        length=options.length,
        joints=joints,
        attention=attention,
        contrastive=options.encoding == 'CAGE',
        temperature=options.t,
        detach_contrast=bool(options.frozen),
    )
    source = options.transfer or options.dataset
    temperature = facts(source).temperature if options.transfer else options.t
    names = {'frozen': options.frozen, 'view': options.view, 'task': task, 'encoding': options.encoding}
    suffix = encoder_suffix(options, task)
    folders = {
        axis: layout.encoder_folder(
            options.models_dir, source, attention, axis, options.length, temperature, suffix=suffix, **names
        )
        for axis in AXES
    }
    return EncoderJob(task, attention, config, folders)


@dataclass(frozen=True)
class TrainingData:
    """The training sequences of a run.

    Attributes:
        split: skeletons, ids and recordings as loaded.
        ids: identity → sequences to train on.
        held: identity → sequences held out to choose the epoch by (`--select val`), else empty.
        fingerprint: changes with the data.
    """

    split: Split
    ids: dict[int, np.ndarray]
    held: dict[int, np.ndarray]
    fingerprint: str


def training_data(dataset: Dataset, options: TrainOptions) -> TrainingData:
    """Chooses the training sequences, holding some out for `--select val`."""
    split = dataset.train
    ids, held = split.ids, {}
    if options.select == 'val':
        ids, held = hold_out(split.skeletons, split.ids, split.recordings)
        if not any(len(rows) for rows in held.values()):
            raise UserError(
                '--select val needs training sequences that share no frame with the others, but there are none: '
                'use --select last'
            )
    return TrainingData(split, ids, held, fingerprint(split.skeletons, ids))


def fingerprint(skeletons: np.ndarray, ids: dict[int, np.ndarray]) -> str:
    """Words that change with the sequences or with who is in them."""
    checksum = zlib.crc32(np.ascontiguousarray(skeletons).data)
    for identity in sorted(ids):
        checksum = zlib.crc32(np.concatenate([[identity], ids[identity]]).tobytes(), checksum)
    return f'{len(skeletons)} sequences, {checksum:08x}'


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
        'faithful': options.faithful and job.task == 'sorting',
        'ablation': options.ablation,
        'select_val': options.select == 'val',
        'epochs': options.epochs,
        'batch_size': options.batch_size,
        'seed': options.seed,
        'data': data.fingerprint,
    }


def train_encoder(options: TrainOptions, job: EncoderJob, data: TrainingData, environment: dict) -> None:
    """Stage 1 for one pretext task: trains x, y and z together, unless the folders hold the finished result."""
    record = encoder_record(options, job, data)
    home = job.folders['x']
    with contextlib.ExitStack() as stack:
        for folder in job.folders.values():
            stack.enter_context(claimed(folder))
        more = {'options': asdict(options), 'environment': environment}
        found = [stages.begin(folder, record, more, overwrite=options.overwrite) for folder in job.folders.values()]
        if all(status == stages.FINISHED for status in found):
            say(f'Gait encoders are trained already: {home.name} and its y and z')
            return
        state = _fit(options, job, data, home)
        _save_encoder(job, state)
        # x last: the state to go on from lies there, and must outlast the others' unfinished marks.
        for folder in reversed(job.folders.values()):
            stages.finish(folder)
    say('Model Trained and Saved')


def claimed(folder: Path) -> runs.RunLock:
    """Takes a folder for this run and says so if a dead run's lock was in the way."""
    lock = runs.claim(folder)
    if lock.note:
        say(lock.note)
    return lock


def _fit(options: TrainOptions, job: EncoderJob, data: TrainingData, home: Path) -> TrainingState:
    state = fresh_state(gait_encoder.initial_params(job.config, options.seed))
    if kept := stages.resume(home):
        state = kept[0]
        say_resumed(kept[1].warning, state.epoch, options.epochs)
    task = 'rec' if not job.config.reverse and job.task == 'rev_rec' else job.task
    sequences, rows = data.split.skeletons, encoder_rows(data, options)
    if data.held and job.task == 'prediction':  # the next sequence must not be a held-out one
        sequences, rows = sequences[rows], np.arange(len(rows))
    pairs = pretext(task, sequences, seed=options.seed, shared_order=not options.faithful)
    say('Begin Training on Dimension [X, Y, Z]')
    steps = len(rows) // options.batch_size
    settings = {'epochs': options.epochs, 'batch_size': options.batch_size, 'progress': 'encoders'}
    found = fit_encoder(job.config, pairs, rows, state, **settings)
    for state in found:
        say(_encoder_line(state.history[-1], options.epochs, steps))
        if state.epoch < options.epochs:
            stages.save(home, state)
    return state


def say_resumed(warning: str, epoch: int, epochs: int) -> None:
    """Says what an unfinished run left."""
    if warning:
        say(f'warning: {warning}')
    say(f'Found an unfinished run: going on after epoch {epoch} of {epochs}')


def _encoder_line(line: dict, epochs: int, steps: int) -> str:
    def three(name: str) -> str:
        return ' '.join(f'{line[f"{name}_{axis}"]:6.3f}' for axis in AXES)

    return '  - '.join(
        [
            f'Epoch {line["epoch"]:3}/{epochs} Batch {steps - 1:4}/{steps} - Training Loss: {three("reconstruction")}',
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
    for axis, folder in job.folders.items():
        runs.write_history(folder, [{name: line[name] for name in _columns(line, axis)} for line in state.history])
        for file, column in files.items():
            save_npy(folder / f'{file}.npy', np.array([line[f'{column}_{axis}'] for line in state.history], np.float32))


def _columns(line: dict, axis: str) -> list[str]:
    return [name for name in line if name in ('epoch', 'seconds') or name.endswith(f'_{axis}')]


def load_job(job: EncoderJob) -> dict[str, np.ndarray]:
    """The trained parameters of an encoder.

    Raises:
        UserError: a checkpoint is missing or does not fit joints, length or kind.
    """
    return checkpoints.load_encoder(
        job.folders,
        job.config.joints,
        job.config.length,
        contrastive=job.config.contrastive,
        attends=job.config.attends,
        slots=False,
    ).params
