"""A whole run of evaluate.py: finds the network, its test features, data set and encoders, and scores it."""

from __future__ import annotations

from pathlib import Path

from sge_la import checkpoints
from sge_la.backends import runtime
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.data import Dataset
from sge_la.errors import UserError, say
from sge_la.evaluation.score_run import keep_results, score_test
from sge_la.evaluation.test_sets import AtHand, ProbeSet, probe_features, recheck
from sge_la.features.files import TEST_STEMS, recorded_tests
from sge_la.runs import records, states
from sge_la.runs.banner import banner, selection_line, where_it_lies
from sge_la.runs.plan import Plan


def run_evaluation(plan: Plan, dataset: Dataset | None, absence: str = '') -> dict:
    """Scores a trained recognition network and prints the lines.

    Test features are looked for in this order: `val_X.npy` beside the network, else the data set through the encoders.

    `plan`: of the run, with its seed and batch size (`sge_la.runs.find.as_trained`); `dataset`: of the run, or None;
    `absence`: why there is no data set, else ''. Returns what was printed, by test set.
    """
    at_hand = AtHand.of(plan, dataset, absence)
    places = find_networks(plan, at_hand)
    environment = runtime.environment(runtime.start(plan.gpu, plan.seed), plan.precision)
    say(banner(plan.heading, environment))
    found = {}
    for name, stem, folder in places:
        results = records.read_results(folder) or {}
        known = results.get('test_sets', {}).get(name, {})
        test = ProbeSet.of(name, probe_features(folder, stem, name, plan, at_hand), at_hand.dataset)
        if plan.recheck:
            recheck(plan, test, at_hand)
        if plan.verbose and (select := known.get('selected', {}).get('select')):
            say(selection_line(select))
        found[name] = score_test(folder, plan, test, at_hand.sources, known)
        if results:
            leaks = {'leaks': dataset.leaks} if dataset and dataset.leaks else {}
            keep_results(folder, {**results, **leaks, 'test_sets': {**results.get('test_sets', {}), name: found[name]}})
        say(where_it_lies(folder, plan.options))
    return found


def find_networks(plan: Plan, at_hand: AtHand) -> list[tuple[str, str, Path]]:
    """The networks to score: (test set, stem of its feature files, folder).

    Without the data set the test set is called as the run has recorded it. Raises UserError: none is there, or its run
    is unfinished.
    """
    joint = plan.dataset != 'IAS'
    stems = dict(zip(('A', 'B'), TEST_STEMS, strict=True))
    networks = plan.networks
    if joint and at_hand.dataset is None and not plan.options.get('probe'):
        recorded = recorded_tests(plan.network)
        if recorded and not recorded.keys() & networks.keys():  # the plan had to guess
            networks = {next(iter(recorded)): plan.network}
    return [
        (name, TEST_STEMS[0] if joint else stems[name], _with_checkpoint(folder, '' if joint else f'{name}_'))
        for name, folder in networks.items()
    ]


def _with_checkpoint(folder: Path, prefix: str) -> Path:
    stems = [prefix + CHECKPOINT_STEM, CHECKPOINT_STEM]
    states.refuse_unfinished(folder)
    if any(checkpoints.has_checkpoint(folder, stem) for stem in stems):
        return folder
    raise UserError(
        f'{folder} should hold a trained recognition network ({" or ".join(dict.fromkeys(stems))}), and there is none; '
        'train it with train.py and the same flags, or name another with --RN_dir'
    )
