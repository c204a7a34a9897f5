"""Stage 1 of a run: which gait encoders it needs, training them, and their run folders."""

from __future__ import annotations

import contextlib
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la import checkpoints, layout, runs, stages
from sge_la.ablation_rows import ablation_row
from sge_la.casia_b import protocols
from sge_la.data import Dataset, Split
from sge_la.data.holdout import hold_out
from sge_la.errors import UserError
from sge_la.events import epoch_logs, log_finished
from sge_la.files import save_npy
from sge_la.labelled_stage import fit_labelled, load_labelled
from sge_la.layout import AXES
from sge_la.model import gait_encoder, labelled_lstm
from sge_la.model.gait_encoder import EncoderConfig
from sge_la.options import PLUS, TrainOptions, encoder_suffix, recorded_precision, trains_otherwise
from sge_la.pretext import pretext
from sge_la.training import TrainingState, fit_encoder, fresh_state

say = tqdm.write  # prints above a bar


@dataclass(frozen=True)
class EncoderJob:
    """One gait encoder that a run needs.

    Attributes:
        task: its pretext task.
        attention: 'LA' or 'BA'; of an ablation also 'MBA' or 'none'.
        config: the model's.
        folders: where x, y and z are kept.
        labelled: an encoder alone, trained with labels (the ablation's first row).
        permute_train_only: published rev_rec_plus: the third time only training inputs are permuted.
    """

    task: str
    attention: str
    config: EncoderConfig
    folders: dict[str, Path]
    labelled: bool = False
    permute_train_only: bool = False


def encoder_jobs(options, joints: int) -> list[EncoderJob]:
    """The encoders whose features are joined: one, or for rev_rec_plus three (with `--double_pretext` two of them).

    `--faithful` gives what was published as rev_rec_plus: the rev_rec encoder three times, the third time with
    permuted training inputs.
    """
    if options.model != PLUS:
        return [_job(options, options.model, options.attention, joints)]
    if options.faithful:
        first = _job(options, 'rev_rec', 'LA', joints)
        jobs = [first, first, replace(first, permute_train_only=True)]
    else:
        jobs = [
            _job(options, task, attention, joints)
            for task, attention in (('rev_rec', 'LA'), ('prediction', 'BA'), ('sorting', 'BA'))
        ]
    return [jobs[place] for place in protocols.DOUBLE_PRETEXT[options.double_pretext]]


def _job(options, task: str, attention: str, joints: int) -> EncoderJob:
    row = ablation_row(options.ablation) if options.ablation else None
    config = EncoderConfig(
        length=options.length,
        joints=joints,
        attention=attention,
        reverse=row is None or row.reverse,
        contrastive=options.encoding == 'CAGE',
        temperature=options.t,
        detach_contrast=bool(options.frozen),
        precision=options.precision,
    )
    source = options.transfer or options.dataset
    names = {'frozen': options.frozen, 'view': options.view, 'task': task, 'encoding': options.encoding}
    suffix = encoder_suffix(options, task)
    folders = {
        axis: layout.encoder_folder(
            options.models_dir, source, attention, axis, options.length, options.t, suffix=suffix, **names
        )
        for axis in AXES
    }
    return EncoderJob(task, attention, config, folders, labelled=row is not None and row.labelled)


@dataclass(frozen=True)
class TrainingData:
    """The training sequences of a run.

    Attributes:
        split: skeletons, ids and recordings as loaded.
        ids: identity → sequences to train on.
        held: identity → sequences held out to choose the epoch by (`--select val`), else empty.
        classes: the class of each sequence `[N]`, -1 for one that belongs to nobody.
        num_classes: C.
        fingerprint: changes with the data.
    """

    split: Split
    ids: dict[int, np.ndarray]
    held: dict[int, np.ndarray]
    classes: np.ndarray
    num_classes: int
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
    classes, num_classes = dataset.classes(split), len(dataset.identities)
    return TrainingData(split, ids, held, classes, num_classes, fingerprint(split.skeletons, ids))


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
        found = [stages.begin(folder, record, more, overwrite=options.overwrite) for folder in job.folders.values()]
        if all(status == stages.FINISHED for status in found):
            say(f'Gait encoders are trained already: {home.name} and its y and z')
            log_finished(options.tensorboard, job.folders)
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
    state = fresh_state(_initial_params(options, job, data))
    if kept := stages.resume(home, state, options.epochs):
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
    with stages.naming_last_state(home, '--epochs'), stages.saving(home) as save, logs as log:
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
    task = 'rec' if not job.config.reverse else 'rev_rec' if protocols.trains_on_reverse_alone(options) else job.task
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
        runs.write_history(folder, [{name: line[name] for name in _columns(line, axis)} for line in state.history])
        for file, column in files.items():
            name = column if job.labelled else f'{column}_{axis}'
            save_npy(folder / f'{file}.npy', np.array([line[name] for line in state.history], np.float32))


def _columns(line: dict, axis: str) -> list[str]:
    shared = ('epoch', 'seconds', 'cross_entropy', 'accuracy')
    return [name for name in line if name in shared or name.endswith(f'_{axis}')]


def load_job(job: EncoderJob) -> dict[str, np.ndarray]:
    """The trained parameters of an encoder.

    Raises:
        UserError: a checkpoint is missing, unfinished, or does not fit joints, length or kind.
    """
    for folder in job.folders.values():
        stages.refuse_unfinished(folder)
    if job.labelled:
        return load_labelled(job.folders, job.config.joints, job.config.units)
    return checkpoints.load_encoder(
        job.folders,
        job.config.joints,
        job.config.length,
        contrastive=job.config.contrastive,
        attends=job.config.attends,
        slots=False,
    ).params
