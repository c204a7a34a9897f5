"""The one stage of the modern recipe: encoders and recognition network, and their run folders."""

from __future__ import annotations

import operator
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sge_la import checkpoints
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.data import Dataset
from sge_la.data.training_set import TrainingData, fingerprint
from sge_la.errors import counted, say
from sge_la.evaluation.sides import sequence_features
from sge_la.features import cages
from sge_la.features.files import TEST_STEMS, write_test_features
from sge_la.features.inputs import Inputs
from sge_la.features.sources import ModernSource
from sge_la.model import sequence_recognition
from sge_la.model.config import EncoderConfig, Recipe
from sge_la.model.sequence_recognition import PREFIX
from sge_la.runs import records
from sge_la.runs.plan import EncoderJob, Plan
from sge_la.runs.states import RunState, TrainingState, fresh_state
from sge_la.training import joint
from sge_la.training.stage import Stage, claimed


@dataclass
class Kept:
    """The weights that a run will end with.

    `score`: on the held-out sequences; -1 before the first epoch; `epoch`: whose weights they are; `params`: of
    encoders and recognition network.
    """

    score: float = -1.0
    epoch: int = 0
    params: dict | None = None


def train_modern(plan: Plan, dataset: Dataset, data: TrainingData, environment: dict) -> None:
    """Trains encoders and recognition network together, unless the folders hold the finished result.

    `plan`: of the run; `dataset`: with the test sets, which nothing here looks at before the end of the training;
    `data`: the training sequences, and those held out for `--select val`; `environment`: versions and machine, for
    config.json. Raises UserError: the folders hold another run, there is too little to train on, or losses became NaN.
    """
    folder, job = plan.network, plan.encoders[0]
    tests = {name: fingerprint(split.skeletons, split.ids) for name, split in dataset.tests.items()}
    stage = Stage(
        home=folder,
        folders=[*job.folders.values(), folder],
        logs={'': folder},
        record={**plan.joint_record, 'data': data.fingerprint, 'tests': tests},
        epochs=plan.epochs,
        flag='--overwrite --epochs',  # the course of the learning rate is that of so many epochs
        trained_already=f'Encoders and recognition network are trained already: {folder.name}',
    )

    def train() -> None:
        began = time.perf_counter()
        made = _inputs(plan.recipe, dataset, data)
        config = replace(job.config, joints=made.width)
        kept, history = _fit(plan, stage, data, config, made)
        trained = time.perf_counter()
        source = _save(job, folder, kept, history, config, made)
        for stem, split in zip(TEST_STEMS, dataset.tests.values(), strict=False):
            rows = cages.original_rows(split.ids, pad=plan.pads_tests)
            write_test_features(folder, stem, plan, dataset, [source], split, rows)
        seconds = {'training': round(trained - began, 2), 'encoding': round(time.perf_counter() - trained, 2)}
        selected = {'selected': {'epoch': kept.epoch, 'select': plan.select}}
        records.write_results(folder, {'test_sets': dict.fromkeys(dataset.tests, selected), 'seconds': seconds})

    with claimed(stage.folders):
        stage.run(plan, environment, train)


def _inputs(recipe: Recipe, dataset: Dataset, data: TrainingData) -> Inputs:
    if recipe.has('sizes') and dataset.skeleton is None:
        say('Nobody knows the bones of these joints: their lengths are left out')
    return Inputs.fit(
        data.split.skeletons,
        np.sort(cages.all_rows(data.ids)),
        dataset.skeleton if recipe.has('sizes') else None,
        centred=recipe.has('centred'),
        standardised=recipe.has('standardised'),
    )


def _fit(plan: Plan, stage: Stage, data: TrainingData, config: EncoderConfig, made: Inputs) -> tuple[Kept, list[dict]]:
    """Trains from the start or from where an unfinished run stopped; returns the chosen weights and the history."""
    kept, skeletons = Kept(), data.split.skeletons

    def restore(found: RunState) -> None:
        score, epoch = found.meta['kept']
        kept.score, kept.epoch, kept.params = float(score), operator.index(epoch), found.parts['kept']

    fresh = fresh_state(joint.initial_params(config, plan.manner, data.num_classes, plan.seed))
    state = stage.start(fresh, restore)
    recordings = data.classes if data.split.recordings is None else data.split.recordings
    rows, held = np.sort(cages.all_rows(data.ids)), cages.all_rows(data.held) if data.held else None
    if alone := int(np.sum(np.unique(recordings[rows], return_counts=True)[1] == 1)):
        say(
            f'warning: {counted(alone, "sequence")} of {len(rows)} cannot be trained on, each the only one of its '
            'recording: --recipe modern takes neighbours in twos'
        )
    epochs = joint.fit(
        *(config, plan.recipe, plan.manner, lambda chosen: made.of(skeletons[chosen])),
        *(data.classes, rows, recordings, state),
        **{'epochs': plan.epochs, 'batch_size': plan.batch_size, 'seed': plan.seed, 'progress': 'training'},
    )
    say('Begin Training of Encoders and Recognition Network')

    def look(state: TrainingState) -> tuple[str, tuple]:
        params, score = state.arrays()['params'], kept.score
        if held is not None:
            answers = sequence_logits(config, made, params, skeletons, held, plan.manner)
            score = float(np.mean(answers.argmax(axis=1) == data.classes[held]))
            state.history[-1]['selection_accuracy'] = score
        if score >= kept.score:
            kept.score, kept.epoch, kept.params = score, state.epoch, params
        meta = {'kept': [kept.score, kept.epoch]}
        return _epoch_line(state.history[-1], plan.epochs), ({'kept': kept.params}, meta)

    return kept, stage.follow(plan, state, epochs, look).history


def _epoch_line(line: dict, epochs: int) -> str:
    shown = [
        f'Epoch {line["epoch"]:3}/{epochs} - Train Loss: {line["train_loss"]:6.3f}',
        f'Train_Acc: {line["train_accuracy"]:6.3f}',
        f'Reconstruction: {line["reconstruction"]:8.3f}',
        f'Contrastive loss: {line["contrastive"]:6.3f}',
    ]
    if 'supervised_contrastive' in line:
        shown.append(f'between people: {line["supervised_contrastive"]:6.3f}')
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

    `params`: of encoders and recognition network, NumPy arrays; `skeletons`: float32 `[N, T, J, 3]`; `rows`: the
    sequences.
    """
    source, network = ModernSource(config, encoder_part(params), made=made), sequence_recognition.head_params(params)
    return sequence_features([source], skeletons, rows, manner, network=network)


def _save(job: EncoderJob, folder: Path, kept: Kept, history, config, made: Inputs) -> ModernSource:
    """Writes the chosen weights; returns the encoders as everything else will load them."""
    params = encoder_part(kept.params)
    for home in job.folders.values():
        made.save(home)
    checkpoints.save_encoder(job.folders, params)
    checkpoints.save_recognition(folder, sequence_recognition.head_params(kept.params), stem=CHECKPOINT_STEM)
    records.write_history(folder, history)
    return ModernSource(config, params, made=made)
