"""A whole run of train.py: data → encoders → features → recognition network → scores."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from sge_la import runs, runtime, stages
from sge_la.data import Dataset
from sge_la.encoder_stage import EncoderJob, TrainingData, claimed, encoder_jobs, train_encoder, training_data
from sge_la.evaluation import score, summary
from sge_la.options import TrainOptions
from sge_la.recognition_stage import (
    TEST_STEMS,
    EpochChoice,
    feature_manner,
    feature_record,
    feature_sources,
    prepare_features,
    read_features,
    recognition_folder,
    train_recognition,
)
from sge_la.scoring import TestSet, score_test
from sge_la.training import TrainingState

say = tqdm.write
# Options that say where and how, not what: a result does not depend on them.
_NOT_RECORDED = ('gpu', 'data_dir', 'models_dir', 'config', 'overwrite', 'train_flag', 'epochs')


def banner(options, environment: dict) -> str:
    """What the original prints first, in its spelling, then what it does not say."""
    task = options.model
    lines = {
        'Dataset': options.dataset,
        'Attention': 'LA, BA, BA' if task == 'rev_rec_plus' and not options.faithful else options.attention,
        'Re-ID Manner': options.manner,
        'Sequence Length': options.length,
        'Tempearture': options.t,
        'Pretext Task': task,
        'GPU': options.gpu,
        'Encoding': options.encoding,
        'Backend': f'{environment["backend"]} {environment[environment["backend"]]}, Keras {environment["keras"]}',
        'Device': f'{environment["device"]}, {environment["threads"]} threads',
    }
    return '\n'.join(f' ## {name}: {value}' for name, value in lines.items()) + '\n'


def run_training(options: TrainOptions, dataset: Dataset) -> None:
    """Trains what the options ask for and prints the scores.

    Args:
        options: resolved.
        dataset: loaded with the options' length, view and test sets.
    """
    environment = runtime.environment(runtime.start(options.gpu, options.seed))
    say(banner(options, environment))
    say(f' ## Training Gait Encoding Model: {options.train_flag == 1}')
    say(f' ## Training Recognition Network: {options.train_flag in (0, 1)}\n')
    data = training_data(dataset, options)
    jobs = encoder_jobs(options, dataset.joints)
    if options.train_flag == 1:
        for job in {str(job.folders['x']): job for job in jobs}.values():
            train_encoder(options, job, data, environment)
    folder = recognition_folder(options)
    if options.train_flag != 2:
        with claimed(folder):
            _train_recognition(options, dataset, data, jobs, folder, environment)
    say(f'Dataset: {options.dataset}')
    say(selection_line(options.select))
    results = runs.read_results(folder) or {}
    known = results.get('test_sets', {})
    for test in test_sets(folder, dataset):
        known[test.name] = score_test(
            folder, options, test, lambda: feature_sources(options, jobs), known.get(test.name, {})
        )
    runs.write_results(folder, {**results, 'test_sets': known})


def selection_line(select: str) -> str:
    """How the epoch was chosen, in words that belong beside every score."""
    return {
        'test': 'Epoch chosen: best on the test set, as in the original (--select last or val choose without it)',
        'last': 'Epoch chosen: the last one',
        'val': 'Epoch chosen: best on held-out training sequences',
    }[select]


def test_sets(folder: Path, dataset: Dataset) -> list[TestSet]:
    """The test sets of a run folder, with the data set beside them."""
    return [
        TestSet(name, read_features(folder, stem), split, dataset.classes(split))
        for stem, (name, split) in zip(TEST_STEMS, dataset.tests.items(), strict=False)
    ]


def _train_recognition(
    options: TrainOptions, dataset: Dataset, data: TrainingData, jobs: list[EncoderJob], folder: Path, environment: dict
) -> None:
    sources = feature_sources(options, jobs)
    record = {name: value for name, value in asdict(options).items() if name not in _NOT_RECORDED}
    began = time.perf_counter()
    record['features'] = feature_record(options, data, sources, dataset)
    more = {'options': asdict(options), 'environment': environment}
    if stages.begin(folder, record, more, overwrite=options.overwrite) == stages.FINISHED:
        say(f'The recognition network is trained already: {folder.name}')
        return
    prepare_features(options, dataset, data, sources, folder)
    encoded = time.perf_counter()
    say('Train a recognition network on CAGEs' if options.encoding == 'CAGE' else 'Train a recognition network on AGEs')
    names = list(dataset.tests)
    num_held = sum(map(len, data.held.values()))
    state, choice = train_recognition(options, folder, names, len(dataset.identities), num_held=num_held)
    seconds = {'encoding': round(encoded - began, 2), 'recognition': round(time.perf_counter() - encoded, 2)}
    runs.write_results(folder, {'test_sets': _first_results(options, folder, names, state, choice), 'seconds': seconds})
    stages.finish(folder)
    say('Model Trained and Saved')


def _first_results(options, folder: Path, names: list[str], state: TrainingState, choice: EpochChoice) -> dict:
    """The last epoch's scores and which epoch was chosen, which no later evaluation could find out."""
    found = {}
    for name, stem in zip(names, TEST_STEMS, strict=False):
        features = read_features(folder, stem)
        scored = score(
            state.params,
            features.X,
            features.labels,
            options.length,
            feature_manner(options),
            batch_size=options.batch_size,
        )
        best = choice.single.get(name, choice.joint)
        found[name] = {
            'selected': {'epoch': best.epoch, 'select': options.select},
            'last': {**summary(scored.evaluation), 'epoch': state.epoch},
        }
    return found
