"""Whom a run was trained on: `trained_on.json` in its folder, so that nobody is named from data that changed since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sge_la.data import Dataset
from sge_la.data.skeletons import Skeleton, from_json, to_json
from sge_la.errors import UserError
from sge_la.files.text import read_json, write_json

FILE = 'trained_on.json'


@dataclass(frozen=True)
class TrainedOn:
    """People by class, names where `prepare` knew them and labels elsewhere; and the joints, None where unknown."""

    people: tuple[str | int, ...]
    skeleton: Skeleton | None

    @classmethod
    def of(cls, dataset: Dataset) -> TrainedOn:
        """What a run on this data set is trained on."""
        return cls(tuple(dataset.names.get(label, label) for label in dataset.identities), dataset.skeleton)


def keep(folder: Path, dataset: Dataset) -> None:
    """Writes the file of a network's folder, unless it is there: the data may have been renamed after the training."""
    if not (folder / FILE).exists():
        found = TrainedOn.of(dataset)
        skeleton = None if found.skeleton is None else to_json(found.skeleton)
        write_json(folder / FILE, {'people': found.people, 'skeleton': skeleton})


def read(folder: Path, classes: int) -> TrainedOn | None:
    """Reads the file of a network's folder; None if there is none.

    Raises UserError: it is damaged, or names another number of people than the network has classes.
    """
    path = folder / FILE
    if not path.exists():
        return None
    content = read_json(path)
    people = content.get('people') if isinstance(content, dict) else None
    if not isinstance(people, list) or len(people) != classes or not _are_people(people):
        raise UserError(f'{path} should name the {classes} people of the network, and does not; delete the file')
    skeleton = content.get('skeleton')
    return TrainedOn(tuple(people), None if skeleton is None else from_json(skeleton, str(path)))


def _are_people(people: Sequence[object]) -> bool:
    return all(type(person) is int or (isinstance(person, str) and person.isprintable()) for person in people)
