"""Unknown people: some of a data set's people, whom a run is trained without, to be tested as strangers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from sge_la.data.dataset import Dataset, Split
from sge_la.errors import UserError


def unknown_people(identities: Sequence[int], share: float, seed: int) -> tuple[int, ...]:
    """The people who are left out, drawn at random, in rising order; the same for equal arguments.

    `identities`: labels of the training set; `share` of them is left out, rounded, at least one. Raises UserError:
    fewer than two people would stay.
    """
    count = max(1, round(share * len(identities)))
    if len(identities) - count < 2:
        raise UserError(
            f'--unknown {share:g} leaves {len(identities) - count} of {len(identities)} people, and at least two known '
            'ones were expected: use a smaller share, or more people'
        )
    drawn = np.random.default_rng([seed, len(identities)]).permutation(len(identities))[:count]
    return tuple(sorted(identities[place] for place in drawn))


def without_people(dataset: Dataset, people: Collection[int]) -> Dataset:
    """The data set as if the sequences of these people belonged to nobody; `Split.left_out` says whose they are."""
    tests = {name: _without(split, people) for name, split in dataset.tests.items()}
    identities = tuple(label for label in dataset.identities if label not in people)
    return replace(dataset, train=_without(dataset.train, people), tests=tests, identities=identities)


def _without(split: Split, people: Collection[int]) -> Split:
    kept = {label: rows for label, rows in split.ids.items() if label not in people}
    return replace(split, ids=kept, left_out={label: rows for label, rows in split.ids.items() if label in people})
