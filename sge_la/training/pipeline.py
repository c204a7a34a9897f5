"""A whole run of train.py, and runs with several seeds: data → encoders → features → recognition network → scores."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from sge_la.backends import runtime
from sge_la.data import Dataset
from sge_la.data.training_set import TrainingData, training_data
from sge_la.evaluation.epoch_choice import EpochChoice
from sge_la.evaluation.intervals import summarise_runs
from sge_la.evaluation.score_run import score_test
from sge_la.evaluation.scores import compiled_recogniser, score, summary
from sge_la.evaluation.test_sets import AtHand, ProbeSet, are_trained, probe_features
from sge_la.features.files import (
    TEST_STEMS,
    feature_manner,
    feature_record,
    feature_sources,
    own_tasks,
    prepare_features,
    read_features,
)
from sge_la.files.atomic import make_folder
from sge_la.files.text import write_json
from sge_la.runs import records, states, trained_on
from sge_la.runs.banner import banner, selection_line
from sge_la.runs.plan import EncoderJob, encoder_jobs, recognition_folder
from sge_la.runs.states import FINISHED, TrainingState
from sge_la.runs.tensorboard import log_finished
from sge_la.settings import papers
from sge_la.settings.options import TrainOptions
from sge_la.settings.papers import CME
from sge_la.settings.recipe import MODERN
from sge_la.training.encoders import claimed, train_encoder
from sge_la.training.joint_stage import train_modern
from sge_la.training.recognition import train_recognition

say = tqdm.write
# Options that say where and how, not what: a result does not depend on them.
_NOT_RECORDED = (
    *('gpu', 'data_dir', 'models_dir', 'config', 'overwrite', 'resume', 'train_flag', 'epochs', 'runs', 'by_seed'),
    *('figures', 'tensorboard', 'recipe', 'without', 'precision'),
)
# Keys of a test set's scores, and what they are called in print.
VARIANTS = {
    'selected': 'As printed',
    'all_sequences': 'All sequences',
    'recording_vote': 'Recording vote',
    'last': 'Last epoch',
}
METRICS = {'rank1': 'Rank-1 Accuracy', 'nauc': 'nAUC'}


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
    if options.train_flag != 2:
        trained_on.keep(folder, dataset)
    say(f'Dataset: {options.dataset}')
    if papers.protocol_of(options):
        say(f'View: view_{options.view}')
    say(selection_line(options.select))
    results = records.read_results(folder) or {}
    known = results.get('test_sets', {})
    at_hand = AtHand(dataset, (lambda: feature_sources(options, jobs)) if are_trained(jobs) else None)
    states.refuse_unfinished(folder)
    for name, stem in zip(dataset.tests, TEST_STEMS, strict=False):
        test = ProbeSet.of(name, probe_features(folder, stem, name, options, at_hand), dataset)
        known[name] = score_test(folder, options, test, at_hand.sources, known.get(name, {}))
    records.write_results(folder, {**results, 'test_sets': known})
    return known


def train_encoders(options: TrainOptions, dataset: Dataset) -> tuple[dict, TrainingData, list[EncoderJob]]:
    """Starts a run of train.py: says what it does, and trains the encoders if it is to.

    Returns:
        The environment for config.json, the training sequences, and the encoders, trained now or before.
    """
    environment = runtime.environment(runtime.start(options.gpu, options.seed), options.precision)
    say(banner(options, environment))
    say(f' ## Training Gait Encoding Model: {options.train_flag == 1}')
    matches = papers.protocol_of(options) == CME
    say(f' ## Training Recognition Network: {options.train_flag in (0, 1) and not matches}\n')
    data = training_data(dataset, options)
    jobs = encoder_jobs(options, dataset.joints)
    if options.resume:
        states.refuse_new_run(jobs[0].folders['x'] if options.train_flag == 1 else recognition_folder(options))
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
        if states.begin(home, {**record, 'task': task}, more, overwrite=options.overwrite) == FINISHED:
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
        records.write_results(home, {'test_sets': found, 'seconds': seconds})
        states.finish(home)
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
            fill_batch=papers.fills_batch(options),
            compiled=compiled_recogniser(options.precision),
        )
        best, last = choice.single.get(name, choice.joint), {**summary(scored.evaluation), 'epoch': state.epoch}
        found[name] = {
            'selected': {'epoch': best.epoch, 'select': options.select},
            'last': last,
            'epochs': {**choice.scores.found[name], 'last': last},
        }
    return found


def run_repeats(options: TrainOptions, dataset: Dataset) -> Path:
    """Trains with the seeds `seed` to `seed + runs - 1`, each in folders of its own, and prints mean ± deviation.

    Returns:
        The file that keeps the summary, beside the run folders.
    """
    seeds = range(options.seed, options.seed + options.runs)
    found = {}
    for number, seed in enumerate(seeds, 1):
        say(f'\n## Run {number} of {options.runs}, seed {seed}')
        found[seed] = run_training(
            replace(options, seed=seed, by_seed=True, resume=options.resume and number == 1), dataset
        )
    summaries = {name: _summaries([run[name] for run in found.values()]) for name in next(iter(found.values()))}
    say(f'\n### {options.runs} runs, seeds {seeds[0]} to {seeds[-1]}: mean ± standard deviation')
    for name, variants in summaries.items():
        for variant, found_metrics in variants.items():
            shown = ', '.join(f'{title} {found_metrics[key]}' for key, title in METRICS.items() if key in found_metrics)
            say(f'{name}, {VARIANTS[variant]}: {shown}')
    folder = recognition_folder(options)
    path = folder.with_name(f'{folder.name}_runs.json')
    kept = {
        name: {variant: {metric: vars(value) for metric, value in one.items()} for variant, one in variants.items()}
        for name, variants in summaries.items()
    }
    write_json(path, {'seeds': list(seeds), 'test_sets': kept})
    say(f'Written to {path}')
    return path


def _summaries(runs: list[dict]) -> dict:
    """For each variant that all runs have: `RunSummary` of Rank-1 and, where it is defined, nAUC."""
    shared = [variant for variant in VARIANTS if all(variant in run for run in runs)]
    return {variant: summarise_runs([_numbers(run[variant]) for run in runs]) for variant in shared}


def _numbers(scores: dict) -> dict[str, float]:
    return {name: scores[name] for name in METRICS if scores.get(name) is not None}
