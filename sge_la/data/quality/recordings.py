"""What `check` says of recordings, put together again from sequences: lost joints, and what cannot be meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.dataset import groups
from sge_la.data.quality.findings import Finding, Part, Report
from sge_la.data.quality.lost import lost_finding, lost_joints, origin_joints
from sge_la.data.quality.plausible import few_of_each, look_through

# Told by `arrays` already, by file and axis.
_TOLD = ('flat', 'origin')


def check_plausible(report: Report, parts: Mapping[str, Part], record: Path, content: dict[str, Any]) -> None:
    """Compares the recordings of all parts with each other.

    `parts`: by what they are called, those whose skeletons could be read; `record`, `content`: the `prepare.json` that
    names the recordings, and what it holds. Where recordings are not known, all sequences of a person count as one.
    """
    joints = {part.skeletons.shape[2] for part in parts.values()}
    if len(joints) != 1:
        return
    skeleton = report.skeleton
    origin = origin_joints(part.skeletons.reshape(-1, *part.skeletons.shape[2:]) for part in parts.values())
    recordings, files, found, names = {}, {}, {}, recording_names(content)
    for what, part in parts.items():
        for name, rows in _recordings(what, part, names):
            if name in recordings:  # a part of another part, as one condition of CASIA-B
                continue
            frames = part.skeletons[rows]
            count, length = frames.shape[:2]
            frames = frames.reshape(-1, *frames.shape[2:])
            # What follows a sequence is no frame later.
            numbers = (np.arange(count)[:, None] * (length + 1) + np.arange(length)).reshape(-1)
            recordings[name], files[Path(name)] = (frames, numbers), part.files.source('x')
            lost = lost_finding(name, frames, lost_joints(frames, origin), skeleton, numbers, _place(length))
            if lost is not None:
                found[name] = lost
    for name, text in before_prepare(content).items():
        files.setdefault(Path(name), record)
        found.setdefault(name, Finding(Path(name), f'{name} as prepare met it: {text}', 'lost'))
    told = [*found.values(), *look_through(recordings, skeleton, _place(report.length))]
    for one in few_of_each(told):
        if one.kind not in _TOLD:
            (report.found_bad if one.grave else report.found_odd)(files[one.path], one.text)


def _place(length: int) -> Callable[[int], str]:
    return lambda number: f'sequence {number // (length + 1)} frame {number % (length + 1)}'


def _recordings(what: str, part: Part, names: Mapping[int, str]) -> Iterator[tuple[str, slice | np.ndarray]]:
    """Name and sequences of each recording of a part."""
    keys = part.labels if part.recordings is None else part.recordings
    if keys is None:
        yield what, slice(None)
        return
    kind = 'identity' if part.recordings is None else 'recording'
    for key, rows in groups(keys):
        name = names.get(key) if part.recordings is not None else None
        yield name or f'{what}, {kind} {key}', rows


def before_prepare(content: dict[str, Any]) -> dict[str, str]:
    """Name → what `prepare` has found of lost tracking and done about it, of those recordings where it has."""
    return {
        item['name']: item['lost']
        for item in _listed(content)
        if all(isinstance(item.get(key), str) and item[key].isprintable() for key in ('name', 'lost'))
    }


def recording_names(content: dict[str, Any]) -> dict[int, str]:
    """Number → name of the recordings that a `prepare.json` lists; whatever does not fit is left out."""
    found: dict[int, str] = {}
    for item in _listed(content):
        number, name = item.get('number'), item.get('name')
        if type(number) is int and isinstance(name, str) and name.isprintable():
            found.setdefault(number, name)
    return found


def _listed(content: dict[str, Any]) -> list[dict[str, Any]]:
    listed = content.get('recordings')
    return [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
