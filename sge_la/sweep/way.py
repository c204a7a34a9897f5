"""How the runs of a sweep may be carried out: the flags that say it, and what each way obeys."""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from sge_la.errors import UserError
from sge_la.settings.options import number

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
