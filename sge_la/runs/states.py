"""What training goes on from, and how a stage of it begins, goes on and ends in its run folder."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.backends import ops
from sge_la.checkpoints import has_checkpoint
from sge_la.errors import UserError, program
from sge_la.runs import records, state_files
from sge_la.runs.state_files import RunState

FRESH, UNFINISHED, FINISHED = 'fresh', 'unfinished', 'finished'
# An unfinished run may be given another number of epochs: none of those that it has depends on it.
EPOCHS = ('epochs', 'rn_epochs')
_PARTS = {'params', 'first', 'second'}


@dataclass
class TrainingState:
    """Everything that training goes on from.

    `params`, `first`, `second`: parameters and Adam's moments, by variable name; `step`: updates so far; `epoch`:
    finished epochs; `history`: one dict an epoch.
    """

    params: dict
    first: dict
    second: dict
    step: int = 0
    epoch: int = 0
    history: list[dict] = field(default_factory=list)

    def arrays(self) -> dict[str, dict[str, np.ndarray]]:
        """The parameters and moments as NumPy arrays."""
        parts = {'params': self.params, 'first': self.first, 'second': self.second}
        return {
            part: {name: ops.convert_to_numpy(value) for name, value in values.items()}
            for part, values in parts.items()
        }


def fresh_state(params: dict[str, np.ndarray]) -> TrainingState:
    """The state before the first step."""
    # `zeros_like` would write them, and so take memory for as long as the first epoch takes.
    first, second = ({name: np.zeros(value.shape, value.dtype) for name, value in params.items()} for _ in range(2))
    return TrainingState(dict(params), first, second)


class NotFinite(UserError):
    """A loss or a weight became NaN or infinite.

    `epoch`, `step`: where, counted from 1; `axis`: 'x', 'y' or 'z', or '' for the recognition network.
    """

    def __init__(self, epoch: int, step: int, axis: str, what: str):
        self.epoch, self.step, self.axis = epoch, step, axis
        where = f' of axis {axis}' if axis else ''
        super().__init__(
            f'the {what}{where} became NaN or infinite in epoch {epoch}, step {step}: expected a finite number; '
            f'look for absurd coordinates with `{program("check")}`, or take a temperature nearer to 0.1 (--t)'
        )


def begin(
    folder: Path, record: Mapping[str, Any], more: Mapping[str, Any], *, overwrite: bool, begun: bool = True
) -> str:
    """Looks at what a folder holds and writes this run's config.json into it.

    `folder`: the run folder, claimed by the caller; `record`: everything that the result depends on; compared with what
    is there; `more`: what else config.json is to say (versions, device, all options); `overwrite`: replace a run that
    was made with other options, and start anew; `begun`: False where a stage has not come to its first epoch, so that
    nothing is lost by other options. Returns FRESH; UNFINISHED: the same run, stopped before its end;
    FINISHED: the same run, complete. Raises UserError: the folder holds a run that was made with other options, or by
    another program.
    """
    config = (None if overwrite else records.read_config(folder)) or {}
    found = config.get('record') if begun else None
    if found is None:
        if not overwrite and has_checkpoint(folder):
            raise UserError(
                f'{folder} holds a checkpoint that says nothing of its options; use --overwrite to replace it, '
                '--train_flag 0 to train only the recognition network on it, or another --models_dir'
            )
        state_files.clear_state(folder)
        records.write_config(folder, {**more, 'record': dict(record), 'finished': False})
        return FRESH
    finished = bool(config.get('finished')) and has_checkpoint(folder)
    names = {*found, *record} - set(() if finished else EPOCHS)
    different = records.differences(found, record, sorted(names))
    if different:
        raise UserError(
            f'{folder} holds a run with other options ({"; ".join(different)}); '
            'use --overwrite to replace it, or another --models_dir'
        )
    if finished:
        state_files.clear_state(folder)  # a kill between the two steps of `finish` leaves it
        return FINISHED
    records.write_config(folder, {**more, 'record': dict(record), 'finished': False})
    return UNFINISHED


def refuse_new_run(folder: Path) -> None:
    """Raises a `UserError` if no run has begun in a folder: what `--resume` adds to the same command without it."""
    if 'record' not in (records.read_config(folder) or {}):
        raise UserError(
            f'--resume goes on with a run, and {folder} holds none; leave out --resume to start one, or check '
            '--models_dir and the other flags'
        )


def refuse_unfinished(folder: Path) -> None:
    """Refuses a folder whose run has not come to its end: its files may be of two runs.

    Raises UserError: its config.json says so.
    """
    if (records.read_config(folder) or {}).get('finished') is False:
        raise UserError(
            f'{folder} holds a run that has not come to its end; run train.py again with the same flags, and it goes on'
        )


def finish(folder: Path) -> None:
    """Marks a run as complete and removes the state that it would have gone on from."""
    config = records.read_config(folder) or {}
    records.write_config(folder, {**config, 'finished': True})
    state_files.clear_state(folder)


def save(
    folder: Path, state: TrainingState, parts: Mapping[str, Mapping] | None = None, meta: Mapping | None = None
) -> None:
    """Keeps the state after an epoch, with whatever else a stage needs to go on."""
    parts = {**state.arrays(), **(parts or {})}
    own = {'step': state.step, 'epoch': state.epoch, 'history': state.history, 'parts': sorted(parts)}
    state_files.save_state(folder, parts, {**own, 'run': _digest(folder), **(meta or {})})


def _digest(folder: Path) -> str | None:
    """Words that change with what a run's result depends on, but for the number of epochs; None without a record."""
    record = (records.read_config(folder) or {}).get('record')
    if record is None:
        return None
    kept = {name: value for name, value in record.items() if name not in EPOCHS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


class StateWriter:
    """Writes states while the next epoch is computed: on a GPU, writing takes longer than an epoch.

    At most one state is being written; the next one waits for it.
    """

    def __init__(self, folder: Path, pool: ThreadPoolExecutor):
        self._folder, self._pool = folder, pool
        self._writing: Future | None = None

    def __call__(
        self,
        state: TrainingState,
        parts: Mapping[str, Mapping] | None = None,
        meta: Mapping | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Begins to write a state, as `save` does, and calls `then` when it is on the disk.

        What is given may be changed afterwards; what went wrong with the state before, this raises.
        """
        self.wait()
        still = replace(state, **state.arrays(), history=copy.deepcopy(state.history))
        self._writing = self._pool.submit(copy_context().run, self._write, then, still, parts, copy.deepcopy(meta))

    def _write(self, then: Callable[[], None], *what: Any) -> None:
        save(self._folder, *what)
        then()

    def wait(self) -> None:
        """Waits for what is being written, through any number of Ctrl-C, since the folder is given up afterwards."""
        stopped = None
        while self._writing and not self._writing.done():
            try:
                wait([self._writing])
            except KeyboardInterrupt as stop:
                stopped = stop
        if self._writing:
            self._writing.result()
        if stopped:
            raise stopped


@contextlib.contextmanager
def saving(folder: Path) -> Iterator[StateWriter]:
    """A writer of states into a run folder; all are written when the block is left, however it is left."""
    with ThreadPoolExecutor(1) as pool:
        writer = StateWriter(folder, pool)
        try:
            yield writer
        finally:
            writer.wait()


def resume(
    folder: Path,
    like: TrainingState | None = None,
    epochs: int | None = None,
    restore: Callable[[RunState], None] = lambda kept: None,
) -> tuple[TrainingState, RunState] | None:
    """The state to go on from, and all that was kept with it; None if there is none.

    `folder`: the run folder; `like`: a fresh state of this run; one whose arrays have other names or shapes counts as
    damaged; `epochs`: of the run in all; `restore`: takes back what else was kept. Raises UserError: states are there,
    but none is sound; or they have more epochs than asked.
    """
    digest = _digest(folder)

    def unsound(state: RunState) -> str:
        if digest and state.meta.get('run', digest) != digest:
            return 'is of a run with other options'
        return _unsound(state, like) or _unrestorable(state, restore)

    kept = state_files.load_state(folder, unsound)
    if kept is None:
        return None
    if epochs is not None and kept.meta['epoch'] > epochs:
        raise UserError(
            f'{folder} holds a run that has {kept.meta["epoch"]} epochs already, and {epochs} were asked for; ask for '
            'more, or use --overwrite to start anew'
        )
    parts = (kept.parts[part] for part in ('params', 'first', 'second'))
    return TrainingState(*parts, kept.meta['step'], kept.meta['epoch'], kept.meta['history']), kept


def _unsound(state: RunState, like: TrainingState | None) -> str:
    """What is wrong with a state whose checksums were right: they do not tell of an array that is not there."""
    step, epoch, history = (state.meta.get(name) for name in ('step', 'epoch', 'history'))
    counted = type(step) is int and type(epoch) is int and isinstance(history, list) and len(history) == epoch > 0
    if not counted or not all(isinstance(line, dict) for line in history) or _PARTS - {*state.parts}:
        return 'is no state of a training'
    if state.meta.get('parts') != sorted(state.parts):
        return 'lacks arrays'
    if like is None:
        return ''
    expected = {name: (np.shape(value), np.float32) for name, value in like.params.items()}
    for part, arrays in state.parts.items():
        if {name: (array.shape, array.dtype) for name, array in arrays.items()} != expected:
            return f'does not fit the model: arrays of {part} are missing, too many or of other shapes'
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return f'holds numbers among {part} that are NaN or infinite'
    return ''


def _unrestorable(state: RunState, restore: Callable[[RunState], None]) -> str:
    """What a stage cannot take back of what it has kept besides."""
    try:
        restore(state)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return 'lacks what this training keeps, or holds it in another form'
    return ''


@contextlib.contextmanager
def naming_last_state(folder: Path, flag: str) -> Iterator[None]:
    """Adds to `NotFinite` what was kept before: the last epoch whose losses and weights were finite.

    `folder`: the run folder; `flag`: the words before a number of epochs, by which a run can be ended there.
    """
    try:
        yield
    except NotFinite as error:
        kept = resume(folder)
        if kept is None:
            rest = 'no epoch had been finished before'
        else:
            epoch = kept[0].epoch
            rest = f'{folder} keeps the state after epoch {epoch}, and the same command with {flag} {epoch} ends there'
        error.args = (f'{error}; {rest}',)
        raise


@contextlib.contextmanager
def saying_how_to_go_on(overwrite: bool) -> Iterator[None]:
    """Adds to Ctrl-C and SIGTERM that the run can be gone on with.

    `overwrite`: the command had --overwrite, which would start anew.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        same = 'the same command without --overwrite' if overwrite else 'the same command'
        stop.args = (f'{same} goes on after the last finished epoch',)
        raise
