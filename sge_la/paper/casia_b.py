"""CASIA-B: skeletons estimated from videos of 124 people, 11 views and three conditions, and its two protocols.

CVE, cross-view evaluation: train on all views but one, test on that one; everybody is in both. CME, condition-based
matching: encoders are trained on some people; of the others, each sequence (the probe) is matched with a gallery.

Here are the runs behind the paper's two tables, and the tables, with chance and raw coordinates beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sge_la import checkpoints
from sge_la.backends import runtime
from sge_la.data import Dataset
from sge_la.data.casia_b import load_for, load_raw
from sge_la.data.normalise import normalised
from sge_la.errors import UserError, say
from sge_la.evaluation.matching import match
from sge_la.evaluation.pipeline import run_evaluation
from sge_la.features.files import feature_sources
from sge_la.files.atomic import make_folder
from sge_la.paper import casia_b_matching
from sge_la.paper.casia_b_matching import CHANCE, INPUTS, RAW, Encoded
from sge_la.paper.published import table
from sge_la.runs import records
from sge_la.runs.banner import banner
from sge_la.runs.find import folder_of, recognition_folder
from sge_la.runs.plan import Plan, plan_at_hand, plan_of, plans_by_seed
from sge_la.settings.papers import CME, CVE, cases, is_table
from sge_la.sweep.carry_out import carry_out, refuse_failures
from sge_la.sweep.single import scores_of
from sge_la.sweep.way import Way
from sge_la.training.pipeline import run_repeats, run_training, train_encoders

SELECTED = {
    'test': 'CAGEs, best epoch on the test set',
    'val': 'CAGEs, best epoch on held-out data',
    'last': 'CAGEs, last epoch',
}
ALL_SEQUENCES = 'CAGEs, the same with nothing dropped'


def train_views(single: Sequence) -> dict:
    """CVE: trains and scores a view, or all that are not finished, and prints the table.

    Returns view → row of the table → Rank-1. Raises UserError: views failed; the others are in the table.
    """
    first, failed = single[0], {}
    if len(single) > 1:
        failed = carry_out(single, Way(), Path(first.models_dir))
        scored = [(case, scores_of(case)) for case in single]
    elif first.runs > 1:
        dataset = load_for(first)
        run_repeats(*plans_by_seed(first, dataset), lambda seed: dataset, together=first.together)
        return {}
    else:
        dataset = load_for(first)
        scored = [(first, run_training(plan_of(first, dataset), dataset))]
    found = {case.view: _beside_coordinates(case, network_scores(scores, case)) for case, scores in scored if scores}
    _say_table(CVE, found, first)
    refuse_failures(failed, len(single))
    return found


def evaluate_views(single: Sequence) -> dict:
    """CVE: scores the trained networks; a table has a column for each view that has one."""
    trained = [case for case in single if checkpoints.has_checkpoint(folder_of(case))]
    found = {}
    for case in trained or single[:1]:
        found[case.view] = _beside_coordinates(case, network_scores(run_evaluation(*plan_at_hand(case)), case))
    return _say_table(CVE, found, single[0])


def _beside_coordinates(options, scores: dict[str, float]) -> dict[str, float]:
    """A network's scores below those without learning, where the data are there."""
    try:
        raw = load_raw(options, warn=lambda text: None)
        return {**coordinate_scores(raw, normalised(raw, options)), **scores}
    except UserError:  # it was scored from the features beside it, and that was said
        return scores


def coordinate_scores(raw: Dataset, dataset: Dataset) -> dict[str, float]:
    """CVE without learning: chance, and the nearest training sequence by coordinates alone."""
    scores = {CHANCE: 1 / len(dataset.identities)}
    for title, data in ((RAW, raw), (INPUTS, dataset)):
        test, train = (
            casia_b_matching.coordinates_side(name, s)
            for name, s in (('test', data.tests['test']), ('train', data.train))
        )
        found = match(test.features, train.features, test.labels, train.labels, num_ranks=1, show_progress=True)
        scores[title] = float(found.rank_n[0])
    return scores


def network_scores(scored: dict, options) -> dict[str, float]:
    """CVE: Rank-1 of the recognition network, as `run_training` and `run_evaluation` give them."""
    (found,) = scored.values()
    scores = {SELECTED[found['selected'].get('select', options.select)]: found['selected']['rank1']}
    scores[ALL_SEQUENCES] = found['all_sequences']['rank1']
    if 'last' in found:
        scores[SELECTED['last']] = found['last']['rank1']
    return scores


def train_conditions(options, raw: Dataset) -> dict:
    """CME: trains the encoders, then matches; returns probe type → row of the table → Rank-1."""
    dataset = normalised(raw, options)
    plan = plan_of(options, dataset)
    train_encoders(plan, dataset)
    return _match(options, plan, raw, dataset)


def match_conditions(options, raw: Dataset) -> dict:
    """CME: matches with encoders that were trained before; as `train_conditions`."""
    dataset = normalised(raw, options)
    plan = plan_of(options, dataset)
    say(banner(plan.heading, runtime.environment(runtime.start(options.gpu, options.seed), options.precision)))
    return _match(options, plan, raw, dataset)


def _match(options, plan: Plan, raw: Dataset, dataset: Dataset) -> dict:
    sources = feature_sources(plan)
    say('Generate CAGEs')
    say('### Normalized Data')
    encoded = Encoded(dataset, sources, options.seed)
    say('Using CAGEs to match pedestrians')
    found, rank1 = {}, {}
    for case in cases(options):
        try:
            found[case.probe_type] = casia_b_matching.run_pair(case, raw, dataset, encoded)
        except UserError as error:  # of a table, the other pairs are still wanted
            if not is_table(options):
                raise
            say(f'warning: {case.probe_type} has no numbers: {error}\n')
        rank1[case.probe_type] = found.get(case.probe_type, {}).get('rank1', {})
    _keep(options, found)
    return _say_table(CME, rank1, options)


def _keep(options, found: dict) -> None:
    """Adds the scores to the results.json of a folder that is named like a recognition network's."""
    folder = recognition_folder(replace(options, probe_type=None))
    way = 'faithful' if options.faithful else 'ours'
    try:
        results = records.read_results(make_folder(folder)) or {}
        records.write_results(folder, {**results, way: {**results.get(way, {}), **found}})
    except UserError as error:
        say(f'warning: the scores were not kept: {error}')


def _say_table(protocol: str, found: dict, options) -> dict:
    if found:
        say('\n' + table(protocol, found, options.length))
    return found
