"""Scoring a run folder: the original's four lines, then what they leave out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sge_la import checkpoints
from sge_la.checkpoints.folders import CHECKPOINT_STEM
from sge_la.errors import say
from sge_la.evaluation import epoch_choice, metrics
from sge_la.evaluation.intervals import bootstrap_evaluation, recording_votes
from sge_la.evaluation.scores import (
    Groups,
    Scored,
    collapse_warning,
    compiled_recogniser,
    logits,
    one_line,
    score,
    score_answers,
    score_everything,
    summary,
)
from sge_la.evaluation.test_sets import ProbeSet, Sources
from sge_la.features.files import of_task
from sge_la.runs.plan import Plan


def checkpoint_stem(folder: Path, name: str) -> str:
    """IAS keeps a checkpoint for each test set; the joint one serves where it is missing, and everybody else."""
    own = f'{name}_{CHECKPOINT_STEM}'
    return own if checkpoints.has_checkpoint(folder, own) else CHECKPOINT_STEM


def score_test(folder: Path, plan: Plan, test: ProbeSet, sources: Sources, known: dict) -> dict:
    """Scores one test set with the checkpoint that belongs to it, and prints the lines.

    `folder`: of the recognition network; `plan`: of the run; `test`: the test set; `sources`: gives the encoders, for
    sequences that are not among the features; None where there are none; `known`: what results.json says of this test
    set: the last epoch's scores, the chosen epoch; {} without one. Returns `selected`, `all_sequences` (with 95 %
    intervals) and, where known, `recording_vote`, `last` and `epochs` (by the rule that would choose them, see
    `sge_la.evaluation.epoch_choice`): Rank-1, nAUC, Rank-n, sequences.
    """
    compiled = compiled_recogniser(plan.precision)
    shape, stem = (test.features.X.shape[1], test.features.num_classes), checkpoint_stem(folder, test.name)
    params = checkpoints.load_recognition(folder, *shape, slots=False, stem=stem).params
    say(f'{test.features.X.shape} {(len(test.features.labels), params["Variable"].shape[0])}')
    if plan.dataset == 'IAS':
        say(f'### Validation Results on IAS-{test.name}: ')
    settings = {'batch_size': plan.rn_batch_size, 'faithful': plan.divides_by_batch, 'fill_batch': plan.fills_batch}
    answers = logits(params, test.features.X, compiled)
    scored = score_answers(answers, test.features.labels, plan.length, plan.manner, **settings)
    say('\n' + _lines(scored.evaluation, plan))
    if warning := collapse_warning(scored.evaluation):
        say(warning)
    found = {'selected': {**known.get('selected', {}), **summary(scored.evaluation)}}
    everything, groups, note = score_everything(plan, test, params, sources, compiled, answers)
    found['all_sequences'] = summary(everything.evaluation)
    say(one_line('All sequences', found['all_sequences'], note))
    found['all_sequences'] |= _how_sure(everything, groups)
    if groups.recordings is not None:
        found['recording_vote'] = _recording_vote(everything, groups.recordings)
    if 'last' in known:
        found['last'] = known['last']
        say(one_line('Last epoch', known['last'], f'epoch {known["last"]["epoch"]}'))
    found |= {'epochs': known['epochs']} if 'epochs' in known else {}
    for line in epoch_choice.lines(found):
        say(line)
    if tasks := _own_scores(folder, plan, test, {**settings, 'compiled': compiled}):
        found['tasks'] = tasks
    classes = scored.evaluation.num_classes
    say(f'Chance: Rank-1 Accuracy: {1 / classes:.6f}, nAUC: 0.500000, {classes} identities')
    return found


def _own_scores(folder: Path, plan: Plan, test: ProbeSet, settings: dict) -> dict:
    """Scores rev_rec_plus' networks on the columns of a single task, under the same rules as the joined one."""
    found = {}
    for task in plan.own_tasks:
        if not checkpoints.has_checkpoint(folder / task):
            continue
        features = of_task(test.features, plan.columns_of(task))
        stem = checkpoint_stem(folder / task, test.name)
        shape = features.X.shape[1], features.num_classes
        params = checkpoints.load_recognition(folder / task, *shape, slots=False, stem=stem).params
        scored = score(params, features.X, features.labels, plan.length, plan.manner, **settings)
        found[task] = summary(scored.evaluation)
        say(one_line(task, found[task], 'its own features and network'))
    return found


def _lines(evaluation: metrics.Evaluation, plan: Plan) -> str:
    """What the original prints: the T-PAMI code four results, the IJCAI code two."""
    if plan.encoding == 'AGE':
        return f'Rank-1 Accuracy: {evaluation.rank1}\nnAUC: {evaluation.nauc}'
    return metrics.original_lines(evaluation, rows_apart=plan.protocol is not None)


def _how_sure(scored: Scored, groups: Groups) -> dict:
    """Prints bootstrap intervals of Rank-1, Rank-5 and nAUC, and gives them for results.json."""
    known = groups.recordings is not None
    ranks = [n for n in (1, 5) if n <= scored.evaluation.num_classes]
    units = groups.recordings if known else groups.people
    found = bootstrap_evaluation(scored.sequences.scores, scored.sequences.labels, units, ranks=ranks)
    unit = 'recordings' if known else 'people, since recordings are unknown'
    names = {**{f'rank{n}': f'Rank-{n} Accuracy' for n in ranks}, 'nauc': 'nAUC'}
    if found['rank1'].num_groups < 2:
        say(f'95 % intervals: none, because there is nothing to resample among one of the {unit}')
    else:
        spans = (f'{title} {found[name].low:.4f} to {found[name].high:.4f}' for name, title in names.items())
        say(f'95 % intervals: {", ".join(spans)} (resampling {found["rank1"].num_groups} {unit})')
    intervals = {name: [interval.low, interval.high] for name, interval in found.items()}
    return {'intervals': intervals, 'resampled': 'recordings' if known else 'people'}


def _recording_vote(scored: Scored, recordings: np.ndarray) -> dict:
    """Prints how often whole recordings are told right, by the mean of their sequences' scores."""
    votes, labels, _ = recording_votes(scored.sequences.scores, scored.sequences.labels, recordings)
    found = metrics.evaluate_scores(votes, labels)
    say(
        f'Recording vote: Rank-1 Accuracy: {found.rank1:.6f}, nAUC: {found.nauc:.6f}, {len(labels)} recordings '
        "(each by the mean of its sequences' scores)"
    )
    return {**summary(found), 'recordings': len(labels)}
