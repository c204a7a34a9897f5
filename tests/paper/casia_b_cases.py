"""A small CASIA-B of simulated walks, cut and written as `prepare` does it, but of a few walks and views."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sge_la.data.prepare import splits
from sge_la.data.prepare.sequences import Cutting, cut
from sge_la.data.prepare.settings import Settings
from sge_la.data.simulated import casia_b
from sge_la.data.write import NewSplit, write_dataset

WALKS = {'nm': 2, 'bg': 2, 'cl': 1}
VIEWS = (0, 5)


def write_simulated(
    data_dir: Path,
    protocol: str,
    length: int,
    *,
    people: int = 4,
    walks: Mapping[str, int] = WALKS,
    recordings: bool = True,
) -> Path:
    """Writes the views `VIEWS` (CVE) or the conditions (CME) and returns `data_dir`.

    Persons are 1 to `people`; CME trains on the first half of them. The views of a walk share its recording.
    """
    found = casia_b.walks(people, seed=3)
    plan = [raw for raw in found.recordings if raw.view in VIEWS and int(raw.name.split('-')[2]) <= walks[raw.part]]
    frames = [found.read(raw).frames for raw in plan]
    number_of = {walk: number for number, walk in enumerate(dict.fromkeys(raw.walk for raw in plan))}

    def split(chosen: list[int]) -> NewSplit:
        sequences = cut([frames[index] for index in chosen], Cutting.whole(length))
        origin = [plan[chosen[place]] for place in sequences.recordings]
        labels = np.array([raw.identity for raw in origin])
        ids = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
        numbers = np.array([number_of[raw.walk] for raw in origin])
        return NewSplit(sequences.skeletons, ids, numbers if recordings else None)

    settings = Settings('CASIA_B', views=VIEWS)
    name = 'CASIA_B' if protocol == 'CVE' else 'CASIA_B_match'
    trees = (splits.casia_b_views if protocol == 'CVE' else splits.casia_b_conditions)(plan, settings)
    for tree in trees:
        tests = {test: split(chosen) for test, chosen in tree.tests.items()}
        write_dataset(data_dir, name, split(tree.train), tests, view=tree.view, skeleton=found.skeleton)
    return data_dir
