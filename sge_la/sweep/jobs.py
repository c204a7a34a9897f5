"""The runs of a sweep as jobs of submitit: processes on this machine, or Slurm's."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sge_la.errors import UserError, plain, say
from sge_la.files.atomic import make_folder
from sge_la.files.text import read_json, write_json
from sge_la.runs.find import recognition_folder
from sge_la.settings.options import TrainOptions
from sge_la.sweep.single import is_finished, train_run
from sge_la.sweep.way import Way

# Where nothing is said: Slurm always wants to know how long a job may take; on this machine nothing ends it.
_SLURM_MINUTES, _LOCAL_MINUTES = 240, 10 * 366 * 24 * 60
_REQUEUE = 10
_SUBMITTED = 'submitted.json'
_ALIVE = ('PENDING', 'RUNNING', 'REQUEUED', 'CONFIGURING', 'SUSPENDED', 'RESIZING', 'COMPLETING', 'STOPPED')
# Seconds between two looks at the jobs, and for which stopped ones are waited for.
_PAUSE, _PATIENCE = 0.25, 60.0


@dataclass(frozen=True)
class Chain:
    """Runs that share encoders, one after the other: what a job does. submitit pickles it, and calls it there.

    `local`: on this machine, where submitit hides all GPUs; `devices`: what CUDA_VISIBLE_DEVICES is to be there.
    """

    runs: tuple[TrainOptions, ...]
    local: bool = False
    devices: str | None = None

    def __call__(self) -> dict[str, str]:
        """Carries the runs out; returns why some failed, by the folder of their network."""
        if self.local:
            os.environ.pop('CUDA_VISIBLE_DEVICES', None)
            if self.devices is not None:
                os.environ['CUDA_VISIBLE_DEVICES'] = self.devices
        found = {}
        for options in self.runs:
            folder = recognition_folder(options)
            say(f'\n## {folder.name}')
            if reason := train_run(options):
                found[str(folder)] = reason
                say(f'error: {reason}', error=True)
        return found

    def checkpoint(self) -> Any:
        """What is done when the job is taken up again: the same, since every run goes on after its last epoch."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    @property
    def folders(self) -> list[str]:
        return [str(recognition_folder(options)) for options in self.runs]


@dataclass
class _Jobs:
    """The jobs of a sweep: `waiting` to be handed over, each with how often it was, and those that are `running`.

    `others`: folders by number of jobs that another sweep with this folder has submitted.
    """

    way: Way
    home: Path
    executor: Any
    waiting: list[tuple[Chain, int]]
    running: dict[Any, tuple[Chain, int]] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)
    others: dict[str, list[str]] = field(default_factory=dict)

    def room(self) -> int:
        """How many more may be handed over; Slurm counts for itself."""
        if self.way.cluster == 'slurm':
            return len(self.waiting)
        return min(len(self.waiting), (self.way.at_once or 1) - len(self.running))

    def submit(self, count: int) -> None:
        chosen, self.waiting = self.waiting[:count], self.waiting[count:]
        with _submitting(self.home / 'controllers.err'), self.executor.batch():
            jobs = [self.executor.submit(chain) for chain, _ in chosen]
        self.running |= dict(zip(jobs, chosen, strict=True))
        if self.way.cluster == 'slurm':
            ours = {job.job_id: chain.folders for job, (chain, _) in self.running.items()}
            write_json(self.home / _SUBMITTED, self.others | ours)
        for job, (chain, _) in zip(jobs, chosen, strict=True):
            say(f'Job {job.job_id}: {", ".join(Path(folder).name for folder in chain.folders)}')

    def end(self, job: Any) -> None:
        """Takes the result of a job that has ended, or takes it up again."""
        chain, tries = self.running.pop(job)
        found, reason = _outcome(job, self.way)
        self.failed |= {Path(folder): why for folder, why in found.items()}
        left = [options for options in chain.runs if str(recognition_folder(options)) not in found]
        left = [options for options in left if reason and not is_finished(options)]
        if not left:
            say(f'Job {job.job_id} has ended' + ''.join(f'; {Path(name).name}: {why}' for name, why in found.items()))
        elif reason is _LOST and tries < (_REQUEUE if self.way.requeue is None else self.way.requeue):
            say(f'Job {job.job_id} was killed: it is taken up again')
            self.waiting.append((chain, tries + 1))
        else:
            for options in left:
                self.failed[recognition_folder(options)] = f'{reason} (its log is {job.paths.stderr})'
                say(f'error: {recognition_folder(options).name}: {reason}', error=True)


_LOST = 'its job ended without a result, as after a kill or without memory'
# What Slurm says of jobs that would end in the same way again, or that somebody wants no more.
_FINAL = {
    'CANCELLED': 'its job was cancelled',
    'OUT_OF_MEMORY': 'its job ran out of memory: give more --memory',
    'FAILED': 'its job failed before it could say why',
}
_TIMED_OUT = 'its job came to its time limit too often: give more --minutes or --requeue'


def _outcome(job: Any, way: Way) -> tuple[Mapping[str, str], str]:
    """What a job that has ended gives back, and what ended it besides, or ''."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    if way.cluster != 'debug' and not job.paths.result_pickle.exists():
        if way.cluster == 'local':
            return {}, _LOST  # submitit would wait for a file system that is late
        if final := _FINAL.get(job.state.split()[0]):
            return {}, final
    error = job.exception()
    if error is None:
        return job.result(), ''
    if isinstance(error, UncompletedJobError) and not isinstance(error, FailedJobError):
        return {}, _LOST
    lines = [line for line in str(error).splitlines() if line.strip(' -')]
    told = next((line for line in reversed(lines) if re.match(r'[\w.]+(Error|Exception|Interrupt|Exit)\b', line)), '')
    return {}, _TIMED_OUT if 'timed-out too many times' in str(error) else plain(told) or 'it failed'


def run_jobs(parts: Sequence[Sequence[TrainOptions]], way: Way, home: Path) -> dict[Path, str]:
    """Hands runs to submitit and waits for them.

    `parts`: runs that must not run at the same time, in their order; `way`: which cluster, with which resources;
    `home`: the folder of the jobs' logs. Returns why runs failed, by the folder of their network. Raises UserError:
    Slurm refuses them.
    """
    device = way.cluster == 'local', os.environ.get('CUDA_VISIBLE_DEVICES')
    chains = [Chain(tuple(part), *device) for part in parts]
    jobs = _Jobs(way, make_folder(home), _executor(way, home), [(chain, 0) for chain in chains])
    if way.cluster == 'slurm':
        _find_again(jobs)
    try:
        while jobs.waiting or jobs.running:
            if (count := jobs.room()) > 0:
                jobs.submit(count)
            ended = [job for job in jobs.running if job.done()]
            for job in ended:
                jobs.end(job)
            if not ended:
                time.sleep(_PAUSE)
    except BaseException as stop:
        _stop(jobs, stop)
        raise
    return jobs.failed


def _executor(way: Way, home: Path) -> Any:
    # Else its import sets up the logging of the whole process anew, and closes what others log to.
    os.environ.setdefault('SUBMITIT_LOG_LEVEL', 'NOCONFIG')
    import submitit

    requeue = _REQUEUE if way.requeue is None else way.requeue
    most = {} if way.cluster == 'debug' else {f'{way.cluster}_max_num_timeout': requeue}
    executor = submitit.AutoExecutor(home, cluster=way.cluster, **most)
    minutes = way.minutes or (_SLURM_MINUTES if way.cluster == 'slurm' else _LOCAL_MINUTES)
    settings: dict[str, Any] = {'name': 'sge-la', 'timeout_min': minutes}
    if way.cluster == 'slurm':
        settings |= {'cpus_per_task': way.cpus, 'gpus_per_node': way.gpus, 'mem_gb': way.memory}
        settings['slurm_additional_parameters'] = dict(option.split('=', 1) for option in way.sbatch or ())
        settings['slurm_array_parallelism'] = way.at_once
    executor.update_parameters(**settings)
    return executor


@contextlib.contextmanager
def _submitting(log: Path) -> Iterator[None]:
    """What is said on stderr goes into a file: by Slurm's programs, and by submitit's local processes ever after.

    Raises UserError: Slurm refuses.
    """
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(log, 'a', encoding='utf-8') as file, contextlib.redirect_stderr(file):
            os.dup2(file.fileno(), 2)
            yield
    except (FailedJobError, FailedSubmissionError) as error:
        raise UserError(f'Slurm refused the jobs: {plain(error)}') from error
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _find_again(jobs: _Jobs) -> None:
    """Takes up the jobs of Slurm that an earlier command has submitted, and that are still waiting or running."""
    from submitit import SlurmJob

    path = jobs.home / _SUBMITTED
    before = read_json(path) if path.exists() else {}
    sound = isinstance(before, dict) and all(re.fullmatch(r'\d{1,12}(_\d{1,6})?', number) for number in before)
    if not sound or not all(isinstance(folders, list) for folders in before.values()):
        raise UserError(f'{path} should hold the numbers of the jobs of a sweep, and does not; delete it')
    for number, folders in before.items():
        if SlurmJob.watcher.get_state(number, mode='force').split()[0].upper() not in _ALIVE:
            continue
        # Of what the job does, some may be finished already.
        known = [chain for chain, _ in jobs.waiting if set(chain.folders) <= set(folders)]
        if not known:
            jobs.others[number] = folders
            continue
        jobs.waiting = [entry for entry in jobs.waiting if entry[0] not in known]
        rest = replace(known[0], runs=tuple(options for chain in known for options in chain.runs))
        jobs.running[SlurmJob(jobs.home, number)] = rest, 0
        say(f'Job {number} of an earlier command goes on: {", ".join(Path(folder).name for folder in folders)}')


def _stop(jobs: _Jobs, stop: BaseException) -> None:
    """Ends the jobs on this machine; those of Slurm go on, since whoever waits for them may lose the connection."""
    if jobs.way.cluster == 'slurm' and isinstance(stop, KeyboardInterrupt) and jobs.running:
        numbers = ' '.join(job.job_id for job in jobs.running)
        say(f'note: the jobs go on; `scancel {numbers}` ends them, and the same command waits for them again')
    if jobs.way.cluster != 'local':
        return
    end = time.monotonic() + _PATIENCE
    for job in jobs.running:
        job.cancel()
    while time.monotonic() < end and not all(job.done() for job in jobs.running):
        time.sleep(_PAUSE)
