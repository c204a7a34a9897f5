"""What a run was trained on: `trained_on.json` in its folder. Whom, so that nobody is named from data that changed
since; and what their recordings were like, so that new ones are treated alike and compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data import Dataset
from sge_la.data.axes import UPRIGHT
from sge_la.data.dataset import groups
from sge_la.data.layout import AXES
from sge_la.data.quality.plausible import Typical, bodies_of, direction
from sge_la.data.skeletons import Skeleton, from_json, to_json
from sge_la.data.way import Way
from sge_la.errors import UserError
from sge_la.files.text import read_json, write_json

FILE = 'trained_on.json'
# Recordings that bodies are measured in.
_MOST = 200


@dataclass(frozen=True)
class TrainedOn:
    """What a run was trained on.

    `people`: by class, names where `prepare` knew them and labels elsewhere; `skeleton`: the joints, None where
    unknown; `way`: what was done to the raw recordings; `body`: what bodies had in common, None where unknown.
    """

    people: tuple[str | int, ...]
    skeleton: Skeleton | None
    way: Way = field(default_factory=Way)
    body: Typical | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> TrainedOn:
        """What a run on this data set is trained on."""
        people = tuple(dataset.names.get(label, label) for label in dataset.identities)
        return cls(people, dataset.skeleton, dataset.way, _body_of(dataset))

    def to_json(self) -> dict[str, Any]:
        """The form in which files keep it."""
        return {
            'people': list(self.people),
            'skeleton': self.skeleton and to_json(self.skeleton),
            'way': self.way.to_json(),
            'body': self.body and _body_to_json(self.body),
        }


def _body_of(dataset: Dataset) -> Typical | None:
    """What bodies have in common in the training recordings, or, where those are not known, in what each person has."""
    train = dataset.train
    rows = [rows for _, rows in groups(train.labels if train.recordings is None else train.recordings)]
    chosen = np.unique(np.linspace(0, max(len(rows) - 1, 0), _MOST).round().astype(int)) if rows else []
    joints = train.skeletons.shape[2:]
    recordings = {str(index): (train.skeletons[rows[index]].reshape(-1, *joints), None) for index in chosen}
    return bodies_of(recordings, dataset.skeleton)[1]


def keep(folder: Path, dataset: Dataset) -> None:
    """Writes the file of a network's folder, unless it is there: the data may have been renamed after the training."""
    if not (folder / FILE).exists():
        write_json(folder / FILE, TrainedOn.of(dataset).to_json())


def people_of(folder: Path, classes: int) -> tuple[str | int, ...] | None:
    """The people by class, as `read` gives them."""
    path = folder / FILE
    return tuple(_people(read_json(path), classes, path)) if path.exists() else None


def _people(content: Any, classes: int, where: object) -> list[str | int]:
    people = content.get('people') if isinstance(content, dict) else None
    if not isinstance(people, list) or len(people) != classes or not _are_people(people):
        raise UserError(f'{where} should name the {classes} people of the network, and does not; delete the file')
    return people


def read(folder: Path, classes: int, joints: int) -> TrainedOn | None:
    """Reads the file of a network's folder; None if there is none.

    `classes`, `joints`: of the network. Raises UserError: it is damaged, or does not fit the network.
    """
    path = folder / FILE
    return known_from_json(read_json(path), classes, joints, path) if path.exists() else None


def known_from_json(content: Any, classes: int, joints: int, where: object) -> TrainedOn:
    """Of what `TrainedOn.to_json` gave; arguments and errors as of `read`; `where` names the file."""
    people = _people(content, classes, where)
    skeleton = content.get('skeleton')
    skeleton = None if skeleton is None else from_json(skeleton, str(where))
    body = content.get('body')
    body = None if body is None else _body_from_json(body, joints, skeleton, where)
    return TrainedOn(tuple(people), skeleton, Way.from_json(content.get('way'), str(where)), body)


def _body_to_json(body: Typical) -> dict[str, Any]:
    rounded = {
        name: None if (values := getattr(body, name)) is None else np.round(values, 6).tolist()
        for name in ('size', 'height', 'bones', 'profile', 'forward')
    }
    return {**rounded, 'up': body.up and direction(body.up), 'origin': list(body.origin)}


def _body_from_json(value: Any, joints: int, skeleton: Skeleton | None, path: object) -> Typical:
    try:
        size, height = (float(value[name]) for name in ('size', 'height'))
        bones, profile, forward = (
            None if value[name] is None else np.array(value[name], np.float64)
            for name in ('bones', 'profile', 'forward')
        )
        up = None if value['up'] is None else (AXES.index(value['up'][-1]), -1 if value['up'][0] == '-' else 1)
        fits = value['up'] is None or (value['up'] in UPRIGHT and profile is not None)
        fits &= bones.shape == (0 if skeleton is None else joints - 1,)
        fits &= all(values is None or values.shape == (joints,) for values in (profile, forward))
        fits &= bool(
            np.isfinite(
                np.concatenate([[size, height], *(v for v in (bones, profile, forward) if v is not None)])
            ).all()
        )
        origin = tuple(value['origin'])
        fits &= all(type(joint) is int and 0 <= joint < joints for joint in origin)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise UserError(f'{path} should say what the bodies were like, and does not; delete the file') from error
    if not fits:
        raise UserError(f'{path} should say what bodies of {joints} joints were like, and does not; delete the file')
    return Typical(size, bones, up, profile, height, forward, origin)


def _are_people(people: Sequence[object]) -> bool:
    return all(type(person) is int or (isinstance(person, str) and person.isprintable()) for person in people)
