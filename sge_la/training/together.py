"""Runs that train together: each works as if alone, and what they compute of an epoch is one call for all of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sge_la import backends
from sge_la.errors import bar, heard_by, say
from sge_la.runs.states import NotFinite

_RUN: ContextVar[_Run | None] = ContextVar('run', default=None)


class _Epoch(NamedTuple):
    """What a run waits for; see a backend's `epochs_runner`."""

    step: Callable
    pair: Callable
    steps_a_dispatch: int
    values: tuple
    batches: np.ndarray
    tick: Callable[[int], None]


class _Run:
    """One of the runs: the stage of training that it has come to, and the epoch that it waits for."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.stage, self.ended = 0, False
        self.wanted: _Epoch | None = None
        self.answer: Any = None

    def wait_for(self, *epoch: Any) -> Any:
        """Lets the other runs work until this epoch is computed."""
        self.wanted = _Epoch(*epoch)
        self.meeting.turn.notify_all()
        self.meeting.turn.wait_for(lambda: self.wanted is None or self.meeting.stopped)
        if self.meeting.stopped:
            raise KeyboardInterrupt
        answer, self.answer = self.answer, None
        return answer


class Meeting:
    """Where runs wait for each other. Each is a thread that works only while it holds `turn`, so one at a time.

    The main thread computes whenever all runs wait: Ctrl-C reaches it there as it would reach a run alone.
    """

    def __init__(self) -> None:
        self.turn = threading.Condition()
        self.runs: list[_Run] = []
        self.stopped = False
        self._made: tuple[list, Callable] | None = None

    def carry_out(self, run: _Run, name: str, train: Callable[[], Any]) -> Any:
        """Trains one of the runs, in a thread and a context of its own; every line that it says begins with `name`."""
        outside = copy_context()
        _RUN.set(run)
        try:
            with self.turn, heard_by(lambda line: outside.copy().run(say, f'{name}: {line}' if line else '')):
                try:
                    if self.stopped:
                        raise KeyboardInterrupt
                    return train()
                except NotFinite as error:
                    say(f'warning: {error}; the other runs go on')
                    raise
                except BaseException:
                    self.stopped = True
                    raise
                finally:
                    run.ended = True
                    self.turn.notify_all()
        finally:
            _RUN.set(None)

    def stop(self) -> None:
        """Wakes all runs, which then end, after whatever ended the main thread's part."""
        with self.turn:
            self.stopped = True
            self.turn.notify_all()
        # Ctrl-C between taking the turn and what gives it back would leave it taken.
        with contextlib.suppress(RuntimeError):
            while True:
                self.turn.release()

    def compute(self) -> None:
        """Computes epochs until all runs have ended; those that are a stage behind come first."""
        with self.turn:
            while True:
                self.turn.wait_for(lambda: self.stopped or all(run.wanted or run.ended for run in self.runs))
                waiting = [run for run in self.runs if run.wanted]
                if self.stopped or not waiting:
                    return
                stage = min(run.stage for run in waiting)
                self._compute([run for run in waiting if run.stage == stage])
                self.turn.notify_all()

    def _compute(self, runs: list[_Run]) -> None:
        wanted = [run.wanted for run in runs if run.wanted]
        computed = self._runner(wanted)
        with bar(total=sum(len(epoch.batches) for epoch in wanted), desc=f'{len(runs)} runs', unit='step') as shown:

            def tick(steps: int) -> None:
                for told in (shown.update, *(epoch.tick for epoch in wanted)):
                    told(steps)

            answers = computed([epoch.values for epoch in wanted], [epoch.batches for epoch in wanted], tick)
        for run, answer in zip(runs, answers, strict=True):
            run.wanted, run.answer = None, answer

    def _runner(self, wanted: list[_Epoch]) -> Callable:
        """What computes these epochs; kept for the next ones, since it may hold the data on the device."""
        step, size = wanted[0].step, wanted[0].steps_a_dispatch
        key = [step, *(epoch.pair for epoch in wanted)]
        if self._made is None or self._made[0] != key:
            self._made = None  # the data that it holds go first
            self._made = key, backends.current().epochs_runner(step, key[1:], size)
        return self._made[1]


def epoch_runner(step: Callable, pair: Callable, steps_a_dispatch: int = 1) -> Callable:
    """A backend's `epoch_runner`; inside of `train_together`, what computes the epochs of all runs at once."""
    if run := _RUN.get():
        return partial(run.wait_for, step, pair, steps_a_dispatch)
    return backends.current().epoch_runner(step, pair, steps_a_dispatch)


def next_stage() -> None:
    """Says that a run comes to its next stage of training, which it may have behind it already."""
    if run := _RUN.get():
        run.stage += 1


def train_together(trainings: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Carries out trainings that have the same stages and shapes, and differ in their seed.

    `trainings`: by the name that their lines begin with. Returns what they return. Raises what one of them raised; of
    numbers that are not finite (`NotFinite`) when the others have come to their end.
    """
    meeting = Meeting()
    meeting.runs = [_Run(meeting) for _ in trainings]
    with ThreadPoolExecutor(len(trainings), 'run') as pool:
        try:
            work = [
                pool.submit(copy_context().run, meeting.carry_out, run, name, train)
                for run, (name, train) in zip(meeting.runs, trainings.items(), strict=True)
            ]
            meeting.compute()
        except BaseException:
            meeting.stop()
            raise
    errors = [error for future in work if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
        raise error
    return {name: future.result() for name, future in zip(trainings, work, strict=True)}
