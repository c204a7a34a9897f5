"""The one runner of a stage: claim its folders, begin or go on, follow the epochs, save, finish."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sge_la.checkpoints import has_checkpoint
from sge_la.errors import say
from sge_la.files import locks
from sge_la.runs import states
from sge_la.runs.plan import Plan
from sge_la.runs.state_files import has_state
from sge_la.runs.states import FINISHED, RunState, TrainingState
from sge_la.runs.tensorboard import epoch_logs, log_finished
from sge_la.training.together import next_stage


@dataclass(frozen=True)
class Stage:
    """What a stage of training hands to its runner.

    `home`: the folder of the state that an unfinished run goes on from; `folders`: all that the stage trains into; the
    one with `home` is finished last; `logs`: the folders of event files, by axis or ''; `record`: everything that the
    result depends on; `epochs`: in all; `flag`: the words that ask for fewer; `trained_already`: what is said if
    the folders hold the finished result.
    """

    home: Path
    folders: Sequence[Path]
    logs: Mapping[str, Path]
    record: Mapping[str, Any]
    epochs: int
    flag: str
    trained_already: str

    def run(self, plan: Plan, environment: Mapping[str, Any], train: Callable[[], None]) -> None:
        """Calls `train` unless the folders, claimed by the caller, hold the finished result.

        Raises UserError: a folder holds another run.
        """
        next_stage()
        more = {'options': plan.options, 'environment': environment}
        begun = has_state(self.home) or any(map(has_checkpoint, self.folders))
        settings = {'overwrite': plan.overwrite, 'begun': begun}
        found = [states.begin(folder, self.record, more, **settings) for folder in self.folders]
        if all(status == FINISHED for status in found):
            say(self.trained_already)
            log_finished(plan.tensorboard, self.logs)
            return
        train()
        for folder in sorted(self.folders, key=lambda folder: folder == self.home):
            states.finish(folder)
        say('Model Trained and Saved')

    def start(self, state: TrainingState, restore: Callable[[RunState], None] = lambda kept: None) -> TrainingState:
        """The given state, or that of an unfinished run, whose further parts `restore` takes back."""
        kept = states.resume(self.home, state, self.epochs, restore)
        if kept is None:
            return state
        if kept[1].warning:
            say(f'warning: {kept[1].warning}')
        say(f'Found an unfinished run: going on after epoch {kept[0].epoch} of {self.epochs}')
        return kept[0]

    def follow(
        self,
        plan: Plan,
        state: TrainingState,
        epochs: Iterator[TrainingState],
        look: Callable[[TrainingState], tuple[str, Sequence[Mapping]]],
    ) -> TrainingState:
        """Trains to the end and keeps every state; an epoch is said when its state is on the disk.

        `state`: the one that the training begins with; `epochs`: the training; `look`: state → the epoch's line, and
        what else is kept with the state: `()`, or arrays by part and a meta.
        """
        logs, first, began = epoch_logs(plan.tensorboard, self.logs, state.history), state.epoch, time.monotonic()
        with states.naming_last_state(self.home, self.flag), states.saving(self.home) as save, logs as log:
            for state in epochs:
                line, kept = look(state)
                left = (time.monotonic() - began) / (state.epoch - first) * (self.epochs - state.epoch)
                line += f'  - {state.history[-1]["seconds"]:.1f} s, {tqdm.format_interval(left)} left'
                log(state.history[-1])
                if state.epoch < self.epochs:
                    save(state, *kept, then=lambda line=line: say(line))
                else:
                    save.wait()
                    say(line)
        return state


@contextlib.contextmanager
def claimed(folders: Sequence[Path]) -> Iterator[None]:
    """Takes folders for this run and says so if a dead run's lock was in the way."""
    with contextlib.ExitStack() as stack:
        for folder in folders:
            lock = stack.enter_context(locks.claim(folder))
            if lock.note:
                say(lock.note)
        yield
