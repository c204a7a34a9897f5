"""The one stage of the modern recipe: encoders and recognition network, and their run folders."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sge_la import checkpoints
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.data import Dataset
from sge_la.data.training_set import TrainingData, fingerprint
from sge_la.evaluation.scores import compiled_recogniser, logits
from sge_la.features import cages
from sge_la.features.files import TEST_STEMS, feature_manner, original_test_rows, write_test_features
from sge_la.features.inputs import Inputs
from sge_la.features.sources import ModernSource, fill_features
from sge_la.model import sequence_recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.sequence_recognition import PREFIX
from sge_la.runs import records, states
from sge_la.runs.plan import EncoderJob
from sge_la.runs.states import FINISHED, fresh_state
from sge_la.runs.tensorboard import epoch_logs, log_finished
from sge_la.settings.names import recorded_precision
from sge_la.settings.options import TrainOptions
from sge_la.settings.recipe import Recipe
from sge_la.training import joint
from sge_la.training.encoders import claimed, say_resumed

say = tqdm.write
_RECORDED = (
    *('dataset', 'manner', 'length', 'view', 'attention', 'model', 't', 'select', 'batch_size', 'seed', 'without'),
)
_SEQUENCES_AT_ONCE = 2048


@dataclass
class Kept:
    """The weights that a run will end with.

    Attributes:
        score: on the held-out sequences; -1 before the first epoch.
        epoch: whose weights they are.
        params: of encoders and recognition network.
    """

    score: float = -1.0
    epoch: int = 0
    params: dict | None = None


def train_modern(
    options: TrainOptions, dataset: Dataset, data: TrainingData, job: EncoderJob, folder: Path, environment: dict
) -> None:
    """Trains encoders and recognition network together, unless the folders hold the finished result.

    Args:
        options: of the run.
        dataset: with the test sets, which nothing here looks at before the end of the training.
        data: the training sequences, and those held out for `--select val`.
        job: the encoders' kind and folders.
        folder: of the recognition network.
        environment: versions and machine, for config.json.

    Raises:
        UserError: the folders hold another run, there is too little to train on, or losses became NaN.
    """
    recipe = Recipe.of(options.without)
    record = _record(options, dataset, data, recipe)
    more = {'options': asdict(options), 'environment': environment}
    with contextlib.ExitStack() as stack:
        homes = [*job.folders.values(), folder]
        for home in homes:
            stack.enter_context(claimed(home))
        found = [states.begin(home, record, more, overwrite=options.overwrite) for home in homes]
        if all(status == FINISHED for status in found):
            say(f'Encoders and recognition network are trained already: {folder.name}')
            log_finished(options.tensorboard, {'': folder})
            return
        began = time.perf_counter()
        made, config = _inputs(dataset, data, job, recipe)
        kept, history = _fit(options, recipe, data, config, made, folder, len(dataset.identities))
        trained = time.perf_counter()
        source = _save(options, job, folder, kept, history, config, made)
        for stem, split in zip(TEST_STEMS, dataset.tests.values(), strict=False):
            rows = original_test_rows(options, split.ids)
            write_test_features(folder, stem, options, dataset, [source], split, rows)
        seconds = {'training': round(trained - began, 2), 'encoding': round(time.perf_counter() - trained, 2)}
        selected = {'selected': {'epoch': kept.epoch, 'select': options.select}}
        records.write_results(folder, {'test_sets': dict.fromkeys(dataset.tests, selected), 'seconds': seconds})
        for home in homes:  # the recognition network's last: the state to go on from lies there
            states.finish(home)
    say('Model Trained and Saved')


def _record(options: TrainOptions, dataset: Dataset, data: TrainingData, recipe: Recipe) -> dict:
    """Everything that the result depends on."""
    return {
        'recipe': 'modern',
        **{name: getattr(options, name) for name in _RECORDED},
        'all_epochs': options.epochs,  # the learning rate's course depends on it
        'settings': {name: value for name, value in asdict(recipe).items() if name != 'without'},
        'data': data.fingerprint,
        'tests': {name: fingerprint(split.skeletons, split.ids) for name, split in dataset.tests.items()},
        **recorded_precision(options),
    }


def _inputs(dataset: Dataset, data: TrainingData, job: EncoderJob, recipe: Recipe) -> tuple[Inputs, EncoderConfig]:
    if recipe.has('sizes') and dataset.skeleton is None:
        say('Nobody knows the bones of these joints: their lengths are left out')
    made = Inputs.fit(
        data.split.skeletons,
        np.sort(cages.all_rows(data.ids)),
        dataset.skeleton if recipe.has('sizes') else None,
        centred=recipe.has('centred'),
        standardised=recipe.has('standardised'),
    )
    return made, replace(job.config, joints=made.width)


def _fit(
    options: TrainOptions,
    recipe: Recipe,
    data: TrainingData,
    config: EncoderConfig,
    made: Inputs,
    folder: Path,
    classes: int,
) -> tuple[Kept, list[dict]]:
    """Trains from the start or from where an unfinished run stopped; returns the chosen weights and the history."""
    manner, kept = feature_manner(options), Kept()
    state = fresh_state(joint.initial_params(config, manner, classes, options.seed))
    if found := states.resume(folder, state, options.epochs):
        state = found[0]
        kept = Kept(*found[1].meta['kept'], found[1].parts['kept'])
        say_resumed(found[1].warning, state.epoch, options.epochs)
    recordings = data.split.recordings
    epochs = joint.fit(
        *(config, recipe, manner),
        lambda rows: made.of(data.split.skeletons[rows]),
        data.classes,
        np.sort(cages.all_rows(data.ids)),
        data.classes if recordings is None else recordings,
        state,
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        progress='training',
    )
    held = cages.all_rows(data.held) if data.held else None
    say('Begin Training of Encoders and Recognition Network')
    logs = epoch_logs(options.tensorboard, {'': folder}, state.history)
    with states.naming_last_state(folder, '--epochs'), states.saving(folder) as save, logs as log:
        for state in epochs:
            params, score = state.arrays()['params'], kept.score
            if held is not None:
                answers = sequence_logits(config, made, params, data.split.skeletons, held, manner)
                score = float(np.mean(answers.argmax(axis=1) == data.classes[held]))
                state.history[-1]['selection_accuracy'] = score
            if score >= kept.score:
                kept = Kept(score, state.epoch, params)
            say(_epoch_line(state.history[-1], options.epochs))
            log(state.history[-1])
            if state.epoch < options.epochs:
                meta = {'kept': [kept.score, kept.epoch]}
                save(state, {'kept': kept.params}, meta)
    return kept, state.history


def _epoch_line(line: dict, epochs: int) -> str:
    shown = [
        f'Epoch {line["epoch"]:3}/{epochs} - Train Loss: {line["train_loss"]:6.3f}',
        f'Train_Acc: {line["train_accuracy"]:6.3f}',
        f'Reconstruction: {line["reconstruction"]:8.3f}',
        f'Contrastive loss: {line["contrastive"]:6.3f}',
    ]
    if 'selection_accuracy' in line:
        shown.append(f'Held_Acc {line["selection_accuracy"]:6.3f}')
    return '  - '.join(shown)


def encoder_part(params: dict) -> dict:
    """The encoders' own among the parameters of a run."""
    return {name: value for name, value in params.items() if not name.startswith(PREFIX)}


def sequence_logits(
    config: EncoderConfig, made: Inputs, params: dict, skeletons: np.ndarray, rows: np.ndarray, manner: str
) -> np.ndarray:
    """Answers on sequences, float32 `[len(rows), C]`, in bounded memory.

    Args:
        params: of encoders and recognition network, NumPy arrays.
        skeletons: float32 `[N, T, J, 3]`.
        rows: the sequences.
    """
    source = ModernSource(config, encoder_part(params), made=made)
    each, width = cages.feature_shape(config, manner)
    size, network, found = min(_SEQUENCES_AT_ONCE, len(rows)), sequence_recognition.head_params(params), []
    compiled = compiled_recogniser(config.precision)
    block = np.empty((size * each, width), np.float32)
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        filled = np.concatenate([chosen, np.full(size - len(chosen), chosen[0])])
        fill_features(block, [source], skeletons, filled, manner, seed=0, test=True)
        found.append(logits(network, block, compiled).reshape(size, each, -1).mean(axis=1)[: len(chosen)])
    return np.concatenate(found)


def _save(options, job: EncoderJob, folder: Path, kept: Kept, history, config, made: Inputs) -> ModernSource:
    """Writes the chosen weights; returns the encoders as everything else will load them."""
    params = encoder_part(kept.params)
    for home in job.folders.values():
        made.save(home)
    checkpoints.save_encoder(job.folders, params)
    checkpoints.save_recognition(folder, sequence_recognition.head_params(kept.params), stem=CHECKPOINT_STEM)
    records.write_history(folder, history)
    return ModernSource(config, params, made=made)
