"""Scoring a run folder, and keeping what is found."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from sge_la import checkpoints
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.errors import UserError, say
from sge_la.evaluation import metrics
from sge_la.evaluation.intervals import bootstrap_evaluation, bootstrap_nauc
from sge_la.evaluation.matching import pool_recordings
from sge_la.evaluation.score_lines import PROBABILITIES, all_lines, few_lines, one_line
from sge_la.evaluation.scores import (
    Groups,
    Scored,
    collapse_warning,
    compiled_recogniser,
    logits,
    score,
    score_answers,
    score_everything,
    summary,
)
from sge_la.evaluation.test_sets import ProbeSet, Sources
from sge_la.features.files import Features, of_task
from sge_la.files.text import write_text
from sge_la.runs import records, trained_on
from sge_la.runs.plan import Plan


def checkpoint_stem(folder: Path, name: str) -> str:
    """IAS keeps a checkpoint for each test set; the joint one serves where it is missing, and everybody else."""
    own = f'{name}_{CHECKPOINT_STEM}'
    return own if checkpoints.has_checkpoint(folder, own) else CHECKPOINT_STEM


def network_of(folder: Path, name: str, features: Features) -> dict[str, np.ndarray]:
    """The parameters of the recognition network that belongs to a test set, for its features.

    Raises UserError: it is missing or damaged, or does not fit them.
    """
    shape, stem = (features.X.shape[1], features.num_classes), checkpoint_stem(folder, name)
    return checkpoints.load_recognition(folder, *shape, slots=False, stem=stem).params


def score_test(folder: Path, plan: Plan, test: ProbeSet, sources: Sources, known: dict) -> dict:
    """Scores one test set with the checkpoint that belongs to it, and prints the lines.

    The confusion matrix is written into the folder, `confusion_<test set>.csv`; with `--verbose` it is printed, as the
    original does, beside all else that is known.

    `folder`: of the recognition network; `plan`: of the run; `test`: the test set; `sources`: gives the encoders, for
    sequences that are not among the features; None where there are none; `known`: what results.json says of this test
    set: the last epoch's scores, the chosen epoch; {} without one. Returns `selected`, `all_sequences` (with 95 %
    intervals) and, where known, `recording_vote`, `last` and `epochs` (by the rule that would choose them, see
    `sge_la.evaluation.epoch_choice`): Rank-1, nAUC, Rank-n, sequences.
    """
    compiled = compiled_recogniser(plan.precision)
    params = network_of(folder, test.name, test.features)
    settings: dict[str, Any] = {'batch_size': plan.rn_batch_size, 'fill_batch': plan.fills_batch}
    settings['faithful'] = plan.divides_by_batch
    answers = logits(params, test.features.X, compiled)
    scored = score_answers(answers, test.features.labels, plan.length, plan.manner, **settings)
    everything, groups, note = score_everything(plan, test, params, sources, compiled, answers)
    found = {
        'selected': {**known.get('selected', {}), **summary(scored.evaluation)},
        'all_sequences': summary(everything.evaluation) | _how_sure(everything, groups),
    }
    if groups.recordings is not None:
        found['recording_vote'] = _recording_vote(everything, groups.recordings)
    found |= {name: known[name] for name in ('last', 'epochs') if name in known}
    if tasks := _own_scores(folder, plan, test, {**settings, 'compiled': compiled}):
        found['tasks'] = tasks
    if known:  # nothing is written beside a published network
        _keep_confusion(folder, test.name, scored.evaluation)
    if plan.dataset == 'IAS':
        say(f'### Validation Results on IAS-{test.name}: ')
    if plan.verbose:
        say(f'{test.features.X.shape} {(len(test.features.labels), params["Variable"].shape[0])}')
    for line in (all_lines if plan.verbose else few_lines)(plan, scored.evaluation, found, note):
        say(line)
    for task, scores in tasks.items():
        say(one_line(task, scores, 'its own features and network'))
    if warning := collapse_warning(scored.evaluation):
        say(warning)
    return found


def keep_results(folder: Path, results: dict) -> None:
    """Writes results.json, or says why not: what was printed is no less true."""
    try:
        records.write_results(folder, results)
    except UserError as error:
        say(f'warning: the scores were not kept: {error}')


def _keep_confusion(folder: Path, name: str, evaluation: metrics.Evaluation) -> None:
    """Writes the confusion matrix: a row for each true person, a column for each one that was named."""
    known = trained_on.people_of(folder, evaluation.num_classes)
    people = [str(known[label] if known else label) for label in evaluation.classes.tolist()]
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['true', *people])
    table.writerows([person, *row] for person, row in zip(people, evaluation.confusion.tolist(), strict=True))
    try:
        write_text(folder / f'confusion_{name}.csv', text.getvalue())
    except UserError as error:
        say(f'warning: the confusion matrix was not kept: {error}')


def _own_scores(folder: Path, plan: Plan, test: ProbeSet, settings: dict) -> dict:
    """Scores rev_rec_plus' networks on the columns of a single task, under the same rules as the joined one."""
    found = {}
    for task in plan.own_tasks:
        if not checkpoints.has_checkpoint(folder / task):
            continue
        features = of_task(test.features, plan.columns_of(task))
        params = network_of(folder / task, test.name, features)
        scored = score(params, features.X, features.labels, plan.length, plan.manner, **settings)
        found[task] = summary(scored.evaluation)
    return found


def _how_sure(scored: Scored, groups: Groups) -> dict:
    """nAUC of probabilities, and bootstrap intervals of it, Rank-1, Rank-5 and nAUC, as results.json has them."""
    known = groups.recordings is not None
    ranks = [n for n in (1, 5) if n <= scored.evaluation.num_classes]
    units = groups.recordings if known else groups.people
    scores, labels = scored.sequences.scores, scored.sequences.labels
    found = bootstrap_evaluation(scores, labels, units, ranks=ranks)
    found[PROBABILITIES] = bootstrap_nauc(metrics.probabilities(scores), labels, units)
    value = found[PROBABILITIES].value
    intervals = {name: [interval.low, interval.high] for name, interval in found.items()}
    unit = 'recordings' if known else 'people'
    sure = {'intervals': intervals, 'resampled': unit, 'groups': found['rank1'].num_groups}
    return {PROBABILITIES: value if np.isfinite(value) else None, **sure}


def _recording_vote(scored: Scored, recordings: np.ndarray) -> dict:
    """How often whole recordings are told right, by the mean of their sequences' scores, as those are of frames'."""
    votes, labels, _ = pool_recordings(scored.sequences.scores, scored.sequences.labels, recordings)
    return {**summary(metrics.evaluate_scores(votes, labels)), 'recordings': len(labels)}
