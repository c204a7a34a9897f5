"""How the runs of a sweep are carried out: one after the other in this process, or as jobs of a cluster.

What is finished and what is not, the run folders alone say. So a sweep that was stopped goes on with the same command,
and a job that is started again, by the cluster or by us, goes on after the last epoch that its run has finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sge_la.data.casia_b import check_files
from sge_la.data.loading import find
from sge_la.errors import UserError, say
from sge_la.reporting.style import require_matplotlib
from sge_la.runs.find import recognition_folder
from sge_la.runs.states import saying_how_to_go_on
from sge_la.settings.options import TrainOptions
from sge_la.settings.papers import protocol_of
from sge_la.sweep.jobs import run_jobs
from sge_la.sweep.single import chains, has_nothing_left, train_run
from sge_la.sweep.way import NONE, Way


def carry_out(every: Sequence[TrainOptions], way: Way, home: Path) -> dict[Path, str]:
    """Trains and scores runs, but for those that are finished; what fails does not stop the others.

    `every`: one for each run, in folders of their own; `way`: how; `home`: the folder of the jobs' logs. Returns why
    runs failed, by the folder of their network. Raises UserError: the data of a run are missing.
    """
    left = [options for options in every if not has_nothing_left(options)]
    if len(every) > 1 and len(left) < len(every):
        say(f'{len(every) - len(left)} of {len(every)} runs are finished')
    for options in left:
        _refuse_missing_data(options)
    if any(options.overwrite for options in left) and way.cluster != NONE:
        raise UserError(
            '--overwrite starts anew whenever a job is taken up again: leave it out and delete the folders, or use '
            '--cluster none'
        )
    if any(options.figures for options in left):
        require_matplotlib()  # before hours of training
    with saying_how_to_go_on(any(options.overwrite for options in left)):
        if way.cluster == NONE:
            return _one_after_the_other(left, len(every))
        return run_jobs(chains(left), way, home)


def _refuse_missing_data(options: TrainOptions) -> None:
    if protocol_of(options):
        check_files(options)
    else:
        tests = (options.probe,) if options.probe else None
        find(options.dataset, options.length, options.data_dir, view=options.view, tests=tests)


def _one_after_the_other(left: Sequence[TrainOptions], total: int) -> dict[Path, str]:
    failed = {}
    for place, options in enumerate(left, 1 + total - len(left)):
        folder = recognition_folder(options)
        say(f'\n## Run {place} of {total}: {folder.name}')
        if reason := train_run(options):
            failed[folder] = reason
            if total > 1:
                say(f'error: {reason}', error=True)
    return failed


def refuse_failures(failed: dict[Path, str], total: int) -> None:
    """Raises UserError if runs failed, with the reasons, each once."""
    if not failed:
        return
    reasons = list(dict.fromkeys(failed.values()))
    first = next(folder.name for folder, reason in failed.items() if reason == reasons[0])
    if total == 1:
        raise UserError(reasons[0])
    more = f' (and {len(reasons) - 1} other reasons, said above)' if len(reasons) > 1 else ''
    raise UserError(
        f'{len(failed)} of {total} runs failed, {first} because {reasons[0]}{more}; the same command tries them again'
    )
