"""How the runs of a sweep are carried out: one after the other in this process, or as jobs of a cluster.

What is finished and what is not, the run folders alone say. So a sweep that was stopped goes on with the same command,
and a job that is started again, by the cluster or by us, goes on after the last epoch that its run has finished.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sge_la.data.casia_b import check_files
from sge_la.data.loading import find
from sge_la.errors import UserError, say
from sge_la.reporting.style import require_matplotlib
from sge_la.runs.find import recognition_folder
from sge_la.runs.states import saying_how_to_go_on
from sge_la.settings.options import TrainOptions, number
from sge_la.settings.papers import protocol_of
from sge_la.sweep.single import chains, has_nothing_left, train_run

NONE, LOCAL, SLURM, DEBUG = 'none', 'local', 'slurm', 'debug'
# Which flags each way of carrying runs out obeys.
_OBEYED = {
    'at_once': (LOCAL, SLURM),
    'minutes': (LOCAL, SLURM),
    'requeue': (LOCAL, SLURM),
    'cpus': (SLURM,),
    'gpus': (SLURM,),
    'memory': (SLURM,),
    'sbatch': (SLURM,),
}


@dataclass(frozen=True)
class Way:
    """How runs are carried out.

    `cluster`: 'none', 'local', 'slurm' or 'debug'; `at_once`: jobs at the same time; `minutes`: after which a job is
    stopped and taken up again; `requeue`: how often that may be; `cpus`, `gpus`, `memory` (GB): of each job; `sbatch`:
    further options of Slurm, 'name=value'. None: what is usual there.
    """

    cluster: str = NONE
    at_once: int | None = None
    minutes: int | None = None
    requeue: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    memory: int | None = None
    sbatch: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuses what this way does not obey, and a cluster that cannot be had here."""
        for name, ways in _OBEYED.items():
            if getattr(self, name) is not None and self.cluster not in ways:
                raise UserError(
                    f'--{name} is for --cluster {" and ".join(ways)} alone, and --cluster {self.cluster} would not '
                    'obey it: leave it out'
                )
        if self.cluster != NONE and find_spec('submitit') is None:
            raise UserError(
                f'--cluster {self.cluster} needs the package submitit, which is not installed: pip install submitit, '
                'or leave the flag out'
            )
        if self.cluster == SLURM and (missing := [name for name in ('sbatch', 'srun') if not shutil.which(name)]):
            raise UserError(
                f"--cluster slurm needs Slurm's {' and '.join(missing)}, and there is none on this machine: use a "
                'machine from which jobs are submitted, or --cluster local'
            )


def _assignment(text: str) -> str:
    if not re.fullmatch(r'[a-z][a-z-]{0,40}=[^\s\x00-\x1f]{1,200}', text):
        raise argparse.ArgumentTypeError(f'expected an option of sbatch, such as partition=gpu, found {text!r}')
    return text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how runs are carried out."""
    group = parser.add_argument_group('how the runs are carried out')
    count = number(int, 1, 10**6, 'a whole number of at least 1')
    flags = {
        'at_once': (count, 'N', 'jobs at the same time (default: local 1, slurm as many as Slurm allows)'),
        'minutes': (
            count,
            'N',
            'stop a job after so many minutes and take it up again (default: local never, slurm 240)',
        ),
        'requeue': (
            number(int, 0, 1000, 'a whole number from 0 to 1000'),
            'N',
            'how often a job that was stopped, for its time or by a kill, is taken up again (default 10)',
        ),
        'cpus': (count, 'N', 'slurm: cores of a job'),
        'gpus': (count, 'N', 'slurm: GPUs of a job'),
        'memory': (count, 'GB', 'slurm: memory of a job'),
    }
    group.add_argument(
        '--cluster',
        choices=(NONE, LOCAL, SLURM, DEBUG),
        default=NONE,
        help='none: one run after the other in this process; local: in processes of their own on this machine; slurm: '
        'as jobs of Slurm; debug: as jobs in this process',
    )
    for name, (kind, metavar, text) in flags.items():
        group.add_argument(f'--{name}', type=kind, metavar=metavar, help=text)
    group.add_argument(
        '--sbatch', type=_assignment, nargs='+', metavar='OPTION=VALUE', help='slurm: such as partition=gpu account=me'
    )


def way_of(given: argparse.Namespace) -> Way:
    """What the flags of `add_flags` ask for.

    Raises UserError: a combination that means nothing, or a cluster that cannot be had here.
    """
    return Way(**{name: getattr(given, name) for name in ('cluster', *_OBEYED)})


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
        from sge_la.sweep.jobs import run_jobs

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
