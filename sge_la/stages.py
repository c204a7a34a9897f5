"""How a stage of training begins, goes on and ends in its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sge_la import runs
from sge_la.checkpoints import has_checkpoint
from sge_la.errors import UserError
from sge_la.training import TrainingState

FRESH, UNFINISHED, FINISHED = 'fresh', 'unfinished', 'finished'


def begin(folder: Path, record: Mapping[str, Any], more: Mapping[str, Any], *, overwrite: bool) -> str:
    """Looks at what a folder holds and writes this run's config.json into it.

    Args:
        folder: the run folder, claimed by the caller.
        record: everything that the result depends on; compared with what is there.
        more: what else config.json is to say (versions, device, all options).
        overwrite: replace a run that was made with other options, and start anew.

    Returns:
        FRESH; UNFINISHED: the same run, stopped before its end; FINISHED: the same run, complete.

    Raises:
        UserError: the folder holds a run that was made with other options, or by another program.
    """
    config = None if overwrite else runs.read_config(folder)
    found = config.get('record') if config else None
    if not overwrite and found is None and has_checkpoint(folder):
        raise UserError(
            f'{folder} holds a checkpoint that says nothing of its options; use --overwrite to replace it, '
            '--train_flag 0 to train only the recognition network on it, or another --models_dir'
        )
    if found is not None:
        different = runs.differences(found, record, sorted({*found, *record}))
        if different:
            raise UserError(
                f'{folder} holds a run with other options ({"; ".join(different)}); '
                'use --overwrite to replace it, or another --models_dir'
            )
        if config.get('finished') and has_checkpoint(folder):
            return FINISHED
        return UNFINISHED
    runs.clear_state(folder)
    runs.write_config(folder, {**more, 'record': dict(record), 'finished': False})
    return FRESH


def finish(folder: Path) -> None:
    """Marks a run as complete and removes the state that it would have gone on from."""
    config = runs.read_config(folder) or {}
    runs.write_config(folder, {**config, 'finished': True})
    runs.clear_state(folder)


def save(
    folder: Path, state: TrainingState, parts: Mapping[str, Mapping] | None = None, meta: Mapping | None = None
) -> None:
    """Keeps the state after an epoch, with whatever else a stage needs to go on."""
    own = {'step': state.step, 'epoch': state.epoch, 'history': state.history}
    runs.save_state(folder, {**state.arrays(), **(parts or {})}, {**own, **(meta or {})})


def resume(folder: Path) -> tuple[TrainingState, runs.RunState] | None:
    """The state to go on from, and all that was kept with it; None if there is none.

    Raises:
        UserError: states are there, but none can be read.
    """
    kept = runs.load_state(folder)
    if kept is None:
        return None
    state = TrainingState(
        kept.parts['params'],
        kept.parts['first'],
        kept.parts['second'],
        kept.meta['step'],
        kept.meta['epoch'],
        kept.meta['history'],
    )
    return state, kept
