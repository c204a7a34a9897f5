"""A whole run of evaluate.py: finds the network, its test features, data set and encoders, and scores it."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from sge_la import checkpoints
from sge_la.backends import runtime
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.data import Dataset, layout
from sge_la.data.casia_b import load_for
from sge_la.errors import UserError
from sge_la.evaluation.score_run import score_test
from sge_la.evaluation.test_sets import AtHand, ProbeSet, are_trained, probe_features
from sge_la.features.files import TEST_STEMS, feature_sources
from sge_la.runs import records, states
from sge_la.runs.banner import banner, selection_line
from sge_la.runs.plan import encoder_jobs, folder_of
from sge_la.settings import names
from sge_la.settings.options import EvaluateOptions

say = tqdm.write


def run_evaluation(options: EvaluateOptions) -> dict:
    """Scores a trained recognition network and prints the lines.

    Test features are looked for in this order: `val_X.npy` beside the network, else the data set through the encoders.

    Args:
        options: resolved, with the run's seed and batch size (`sge_la.runs.plan.as_trained`).

    Returns:
        What was printed, by test set.
    """
    folder = folder_of(options)
    at_hand = what_is_at_hand(options)
    places = find_networks(options, folder, at_hand.dataset)
    environment = runtime.environment(runtime.start(options.gpu, options.seed), options.precision)
    say(banner(options, environment))
    found = {}
    for name, stem, folder in places:
        results = records.read_results(folder) or {}
        known = results.get('test_sets', {}).get(name, {})
        features = probe_features(folder, stem, name, options, at_hand)
        test = ProbeSet.of(name, features, at_hand.dataset)
        if select := known.get('selected', {}).get('select'):
            say(selection_line(select))
        found[name] = score_test(folder, options, test, at_hand.sources, known)
        if results:
            _keep(folder, {**results, 'test_sets': {**results.get('test_sets', {}), name: found[name]}})
    return found


def what_is_at_hand(options) -> AtHand:
    """The data set and the trained encoders, where they are there."""
    try:
        dataset = load_for(options)
    except UserError as error:
        return AtHand(None, absence=str(error))
    jobs = encoder_jobs(options, dataset.joints)
    return AtHand(dataset, (lambda: feature_sources(options, jobs)) if are_trained(jobs) else None)


def _keep(folder: Path, results: dict) -> None:
    try:
        records.write_results(folder, results)
    except UserError as error:
        say(f'warning: the scores were not kept: {error}')


def find_networks(options, folder: Path, dataset: Dataset | None) -> list[tuple[str, str, Path]]:
    """The networks to score: (test set, stem of its feature files, folder).

    IAS is scored on both test sets, from the authors' `IAS-A_...` and `IAS-B_...` folders where they exist and no other
    was named.

    Raises:
        UserError: none is there, or its run is unfinished.
    """
    if options.dataset != 'IAS':
        name = (
            next(iter(dataset.tests)) if dataset else options.probe or layout.DEFAULT_TEST.get(options.dataset, 'test')
        )
        return [(name, TEST_STEMS[0], _with_checkpoint(folder, ''))]
    alone = names.parse_run_name(folder.name).test_set
    places = []
    for name, stem in zip(layout.TEST_FOLDERS['IAS'], TEST_STEMS, strict=True):
        published = folder.with_name(folder.name.replace('IAS_', f'IAS-{name}_', 1))
        chosen = published if published.is_dir() and not options.RN_dir else folder
        if alone in (None, name):
            places.append((name, stem, _with_checkpoint(chosen, f'{name}_')))
    return places


def _with_checkpoint(folder: Path, prefix: str) -> Path:
    stems = [prefix + CHECKPOINT_STEM, CHECKPOINT_STEM]
    states.refuse_unfinished(folder)
    if any(checkpoints.has_checkpoint(folder, stem) for stem in stems):
        return folder
    raise UserError(
        f'{folder} should hold a trained recognition network ({" or ".join(dict.fromkeys(stems))}), and there is none; '
        'train it with train.py and the same flags, or name another with --RN_dir'
    )
