"""A whole run of train.py: data → encoders → features → recognition network → scores."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from sge_la import runs, runtime, stages
from sge_la.casia_b import protocols
from sge_la.console import banner, selection_line
from sge_la.data import Dataset
from sge_la.encoder_stage import EncoderJob, TrainingData, claimed, encoder_jobs, train_encoder, training_data
from sge_la.evaluation import score, summary
from sge_la.events import log_finished
from sge_la.feature_files import (
    TEST_STEMS,
    feature_manner,
    feature_record,
    feature_sources,
    own_tasks,
    prepare_features,
    read_features,
)
from sge_la.files import make_folder
from sge_la.modern.recipe import MODERN
from sge_la.modern.stage import train_modern
from sge_la.options import TrainOptions
from sge_la.probes import AtHand, ProbeSet, are_trained, probe_features
from sge_la.recognition_stage import EpochChoice, train_recognition
from sge_la.run_folders import recognition_folder
from sge_la.scoring import score_test
from sge_la.training import TrainingState, compiled_recogniser

say = tqdm.write
# Options that say where and how, not what: a result does not depend on them.
_NOT_RECORDED = (
    *('gpu', 'data_dir', 'models_dir', 'config', 'overwrite', 'resume', 'train_flag', 'epochs', 'runs', 'by_seed'),
    *('figures', 'tensorboard', 'recipe', 'without', 'precision'),
)


def run_training(options: TrainOptions, dataset: Dataset) -> dict:
    """Trains what the options ask for and prints the scores.

    Args:
        options: resolved.
        dataset: loaded with the options' length, view and test sets.

    Returns:
        The scores by test set, as results.json has them.
    """
    environment, data, jobs = train_encoders(options, dataset)
    folder = recognition_folder(options)
    if options.train_flag != 2 and options.recipe == MODERN:
        train_modern(options, dataset, data, jobs[0], folder, environment)
    elif options.train_flag != 2:
        with claimed(folder):
            _train_recognition(options, dataset, data, jobs, folder, environment)
    say(f'Dataset: {options.dataset}')
    if protocols.protocol_of(options):
        say(f'View: view_{options.view}')
    say(selection_line(options.select))
    results = runs.read_results(folder) or {}
    known = results.get('test_sets', {})
    at_hand = AtHand(dataset, (lambda: feature_sources(options, jobs)) if are_trained(jobs) else None)
    stages.refuse_unfinished(folder)
    for name, stem in zip(dataset.tests, TEST_STEMS, strict=False):
        test = ProbeSet.of(name, probe_features(folder, stem, name, options, at_hand), dataset)
        known[name] = score_test(folder, options, test, at_hand.sources, known.get(name, {}))
    runs.write_results(folder, {**results, 'test_sets': known})
    return known


def train_encoders(options: TrainOptions, dataset: Dataset) -> tuple[dict, TrainingData, list[EncoderJob]]:
    """Starts a run of train.py: says what it does, and trains the encoders if it is to.

    Returns:
        The environment for config.json, the training sequences, and the encoders, trained now or before.
    """
    environment = runtime.environment(runtime.start(options.gpu, options.seed), options.precision)
    say(banner(options, environment))
    say(f' ## Training Gait Encoding Model: {options.train_flag == 1}')
    matches = protocols.protocol_of(options) == protocols.CME
    say(f' ## Training Recognition Network: {options.train_flag in (0, 1) and not matches}\n')
    data = training_data(dataset, options)
    jobs = encoder_jobs(options, dataset.joints)
    if options.resume:
        stages.refuse_new_run(jobs[0].folders['x'] if options.train_flag == 1 else recognition_folder(options))
    if options.train_flag == 1 and options.recipe != MODERN:  # which trains them with the network
        for job in {str(job.folders['x']): job for job in jobs}.values():
            train_encoder(options, job, data, environment)
    return environment, data, jobs


def _train_recognition(
    options: TrainOptions, dataset: Dataset, data: TrainingData, jobs: list[EncoderJob], folder: Path, environment: dict
) -> None:
    sources = feature_sources(options, jobs)
    record = {name: value for name, value in asdict(options).items() if name not in _NOT_RECORDED}
    record |= feature_record(options, data, sources, dataset)
    more = {'options': asdict(options), 'environment': environment}
    names, num_held = list(dataset.tests), sum(map(len, data.held.values()))
    for task in ('', *own_tasks(options)):  # the network on all columns first
        began, home = time.perf_counter(), make_folder(folder / task)
        if stages.begin(home, {**record, 'task': task}, more, overwrite=options.overwrite) == stages.FINISHED:
            say(f'The recognition network is trained already: {home.relative_to(folder.parent)}')
            log_finished(options.tensorboard, {'': home})
            continue
        prepare_features(options, dataset, data, sources, folder)
        encoded = time.perf_counter()
        say(f'Train a recognition network on {options.encoding}s' + (f' of {task} alone' if task else ''))
        settings = {'num_held': num_held, 'task': task}
        state, choice = train_recognition(options, folder, names, len(dataset.identities), **settings)
        seconds = {'encoding': round(encoded - began, 2), 'recognition': round(time.perf_counter() - encoded, 2)}
        found = _first_results(options, folder, names, state, choice, task)
        runs.write_results(home, {'test_sets': found, 'seconds': seconds})
        stages.finish(home)
        say('Model Trained and Saved')


def _first_results(options, folder, names: list[str], state: TrainingState, choice: EpochChoice, task: str) -> dict:
    """Which epoch was chosen, and scores of others, which no later evaluation could find out."""
    found = {}
    for name, stem in zip(names, TEST_STEMS, strict=False):
        features = read_features(folder, stem, task)
        scored = score(
            state.params,
            features.X,
            features.labels,
            options.length,
            feature_manner(options),
            batch_size=options.rn_batch_size,
            fill_batch=protocols.fills_batch(options),
            compiled=compiled_recogniser(options.precision),
        )
        best, last = choice.single.get(name, choice.joint), {**summary(scored.evaluation), 'epoch': state.epoch}
        found[name] = {
            'selected': {'epoch': best.epoch, 'select': options.select},
            'last': last,
            'epochs': {**choice.scores.found[name], 'last': last},
        }
    return found
