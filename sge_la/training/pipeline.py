"""A whole run of train.py, and runs with several seeds: data → encoders → features → recognition network → scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from sge_la.backends import room, runtime
from sge_la.data import Dataset
from sge_la.data.training_set import TrainingData, training_data
from sge_la.errors import say
from sge_la.evaluation.epoch_choice import EpochChoice
from sge_la.evaluation.intervals import summarise_runs
from sge_la.evaluation.openset_network import keep_thresholds
from sge_la.evaluation.score_run import score_test
from sge_la.evaluation.scores import compiled_recogniser, score, summary
from sge_la.evaluation.test_sets import AtHand, ProbeSet, probe_features
from sge_la.evaluation.threshold import FAR
from sge_la.features.files import TEST_STEMS, feature_record, feature_sources, prepare_features, read_features
from sge_la.files.atomic import make_folder
from sge_la.files.text import write_json
from sge_la.runs import records, states, trained_on
from sge_la.runs.banner import banner, selection_line, where_it_lies
from sge_la.runs.plan import Plan
from sge_la.runs.states import TrainingState
from sge_la.training.encoders import train_encoder
from sge_la.training.joint_stage import train_modern
from sge_la.training.recognition import train_recognition
from sge_la.training.stage import Stage, claimed
from sge_la.training.together import train_together

# Keys of a test set's scores, and what they are called in print.
VARIANTS = {
    'selected': 'As printed',
    'all_sequences': 'All sequences',
    'recording_vote': 'Recording vote',
    'last': 'Last epoch',
}
METRICS = {'rank1': 'Rank-1 Accuracy', 'nauc': 'nAUC'}


def run_training(plan: Plan, dataset: Dataset) -> dict:
    """Trains what the plan asks for and prints the scores.

    Returns the scores by test set, as results.json has them.
    """
    environment, data = train_encoders(plan, dataset)
    folder = plan.network
    if plan.trains_network and plan.recipe:
        train_modern(plan, dataset, data, environment)
    elif plan.trains_network:
        with claimed([folder]):
            _train_recognition(plan, dataset, data, environment)
    if plan.trains_network:
        trained_on.keep(folder, dataset)
    say(f'Dataset: {plan.dataset}')
    if plan.protocol:
        say(f'View: view_{plan.view}')
    if plan.verbose:
        say(selection_line(plan.select))
    results = records.read_results(folder) or {}
    known, at_hand = results.get('test_sets', {}), AtHand.of(plan, dataset)
    states.refuse_unfinished(folder)
    for name, stem in zip(dataset.tests, TEST_STEMS, strict=False):
        test = ProbeSet.of(name, probe_features(folder, stem, name, plan, at_hand), dataset)
        known[name] = score_test(folder, plan, test, at_hand.sources, known.get(name, {}))
    if plan.trains_network and dataset.train.left_out:
        keep_thresholds(plan, dataset, at_hand.sources(), FAR)
    leaks = {'leaks': dataset.leaks} if dataset.leaks else {}
    records.write_results(folder, {**results, **leaks, 'test_sets': known})
    say(where_it_lies(folder, plan.options))
    return known


def train_encoders(plan: Plan, dataset: Dataset) -> tuple[dict, TrainingData]:
    """Starts a run of train.py: says what it does, and trains the encoders if it is to.

    Returns the environment for config.json, and the training sequences.
    """
    environment = runtime.environment(runtime.start(plan.gpu, plan.seed), plan.precision)
    skeletons = dataset.train.skeletons
    place = room.where(skeletons.nbytes, mapped=not isinstance(skeletons, np.ndarray))
    say(banner({**plan.heading, **({'Data': place} if place else {})}, environment))
    say(f' ## Training Gait Encoding Model: {plan.trains_encoders}')
    say(f' ## Training Recognition Network: {plan.trains_network}\n')
    data = training_data(dataset, plan.select)
    if plan.resume:
        states.refuse_new_run(plan.encoders[0].folders['x'] if plan.trains_encoders else plan.network)
    if plan.trains_encoders and not plan.recipe:  # which trains them with the network
        for job in {str(job.folders['x']): job for job in plan.encoders}.values():
            train_encoder(plan, job, data, environment)
    return environment, data


def _train_recognition(plan: Plan, dataset: Dataset, data: TrainingData, environment: dict) -> None:
    sources, folder = feature_sources(plan), plan.network
    record = {**plan.network_record, **feature_record(plan, data, sources, dataset)}
    for task in ('', *plan.own_tasks):  # the network on all columns first
        home = make_folder(folder / task)
        stage = Stage(
            home=home,
            folders=[home],
            logs={'': home},
            record={**record, 'task': task},
            epochs=plan.rn_epochs,
            flag='--rn_epochs',
            trained_already=f'The recognition network is trained already: {home.relative_to(folder.parent)}',
        )

        def train(stage: Stage = stage, task: str = task) -> None:
            began = time.perf_counter()
            prepare_features(plan, dataset, data, sources)
            encoded = time.perf_counter()
            say(f'Train a recognition network on {plan.encoding}s' + (f' of {task} alone' if task else ''))
            tests, num_held = list(dataset.tests), sum(map(len, data.held.values()))
            found = train_recognition(plan, stage, tests, len(dataset.identities), num_held=num_held, task=task)
            seconds = {'encoding': round(encoded - began, 2), 'recognition': round(time.perf_counter() - encoded, 2)}
            first = {'test_sets': _first_results(plan, tests, *found, task), 'seconds': seconds}
            records.write_results(stage.home, first)

        stage.run(plan, environment, train)


def _first_results(plan: Plan, names: list[str], state: TrainingState, choice: EpochChoice, task: str) -> dict:
    """Which epoch was chosen, and scores of others, which no later evaluation could find out."""
    found = {}
    settings = {'batch_size': plan.rn_batch_size, 'fill_batch': plan.fills_batch}
    settings['compiled'] = compiled_recogniser(plan.precision)
    for name, stem in zip(names, TEST_STEMS, strict=False):
        features = read_features(plan.network, stem, plan.columns_of(task))
        scored = score(state.params, features.X, features.labels, plan.length, plan.manner, **settings)
        best, last = choice.single.get(name, choice.joint), {**summary(scored.evaluation), 'epoch': state.epoch}
        found[name] = {
            'selected': {'epoch': best.epoch, 'select': plan.select},
            'last': last,
            'epochs': {**choice.scores.found[name], 'last': last},
        }
    return found


def run_repeats(
    plans: Mapping[int, Plan], path: Path, dataset_of: Callable[[int], Dataset], *, together: bool = False
) -> None:
    """Trains with several seeds, each in folders of its own, and prints mean ± deviation.

    `plans`: by seed; `path`: the file that keeps the summary, beside the run folders; `dataset_of`: seed → data set;
    `together`: all seeds at once, which have the same data.
    """
    seeds, found = list(plans), {}
    if together:
        say(f'\n## {len(plans)} runs together, seeds {seeds[0]} to {seeds[-1]}')
        dataset = dataset_of(seeds[0])
        trainings = {f'seed {seed}': partial(run_training, plan, dataset) for seed, plan in plans.items()}
        found = dict(zip(seeds, train_together(trainings).values(), strict=True))
    for number, (seed, plan) in enumerate(plans.items() if not together else (), 1):
        say(f'\n## Run {number} of {len(plans)}, seed {seed}')
        found[seed] = run_training(plan, dataset_of(seed))
    shared = [name for name in next(iter(found.values())) if all(name in run for run in found.values())]
    summaries = {name: _summaries([run[name] for run in found.values()]) for name in shared}
    say(f'\n### {len(plans)} runs, seeds {seeds[0]} to {seeds[-1]}: mean ± standard deviation')
    for name, variants in summaries.items():
        for variant, found_metrics in variants.items():
            shown = ', '.join(f'{title} {found_metrics[key]}' for key, title in METRICS.items() if key in found_metrics)
            say(f'{name}, {VARIANTS[variant]}: {shown}')
    kept = {
        name: {variant: {metric: vars(value) for metric, value in one.items()} for variant, one in variants.items()}
        for name, variants in summaries.items()
    }
    write_json(path, {'seeds': seeds, 'test_sets': kept})
    say(f'Written to {path}')


def _summaries(runs: list[dict]) -> dict:
    """For each variant that all runs have: `RunSummary` of Rank-1 and, where it is defined, nAUC."""
    shared = [variant for variant in VARIANTS if all(variant in run for run in runs)]
    return {variant: summarise_runs([_numbers(run[variant]) for run in runs]) for variant in shared}


def _numbers(scores: dict) -> dict[str, float]:
    return {name: scores[name] for name in METRICS if scores.get(name) is not None}
