"""A gallery: people who are enrolled with recordings, and the answer to who a further recording shows.

Nothing is trained. A trained run encodes sequences; the mean of a sequence's CAGEs over its frames, divided by its
length, stands for it. A recording is as far from a person as its sequences are on average from the nearest sequence of
that person. Beyond a threshold nobody is named. See `enrol.file` for what is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from sge_la.api import GaitEncoder
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError, counted
from sge_la.evaluation.enrolled import RECORDING, Enrolled, leave_one_out, unit_length
from sge_la.evaluation.threshold import UNKNOWN, Threshold
from sge_la.features.sources import feature_shape


@dataclass(frozen=True)
class EnrolledRecording:
    """A recording in a gallery: whom it shows, how its file was called, a digest of its frames, its sequences."""

    person: str
    name: str
    digest: str
    sequences: int


@dataclass(frozen=True)
class Near:
    """A person and the distance to them, 0 to 2."""

    person: str
    distance: float


@dataclass(frozen=True)
class Identified:
    """Who a recording shows.

    `person`: a name, or None for nobody of the gallery; `nearest`: the nearest people, nearest first; `probability`
    that the first of them is the right one if strangers come as often as people of the gallery, None where that cannot
    be told; `threshold`: the distance up to which somebody is named; `sequences`: how many the answer rests on.
    """

    person: str | None
    nearest: tuple[Near, ...]
    probability: float | None
    threshold: float
    sequences: int

    def __str__(self) -> str:
        return f'{self.person or UNKNOWN} ({self.further}; {counted(self.sequences, "sequence")})'

    @property
    def further(self) -> str:
        """All but the name, in words."""
        sure = '' if self.probability is None else f'; {self.nearest[0].person} with probability {self.probability:.1%}'
        near = ', '.join(f'{one.person} {one.distance:.3f}' for one in self.nearest)
        return f'nearest: {near}; threshold {self.threshold:.3f}{sure}'


@dataclass(frozen=True, eq=False)
class Gallery:
    """Enrolled people.

    `digest`: of the encoder, see `encoder_digest`; `run`: the name of its run's folder; `length`, `joints`: T and J;
    `skeleton`: the joints, None where nobody knows; `far`: the false accept rate that thresholds are chosen for;
    `recordings`: one after the other, and `vectors` float32 [N, D], of unit length, of their sequences in this order;
    `thresholds`: by 'sequence' and 'recording', none with fewer than two people; `encoder`: None until one is given.
    """

    digest: str
    run: str
    length: int
    joints: int
    skeleton: Skeleton | None
    far: float
    recordings: tuple[EnrolledRecording, ...] = ()
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    encoder: GaitEncoder | None = None

    @classmethod
    def new(cls, encoder: GaitEncoder, skeleton: Skeleton | None, far: float) -> Gallery:
        """An empty gallery of a run."""
        run = encoder.plan.network.name
        return cls(encoder_digest(encoder), run, encoder.length, encoder.joints, skeleton, far, encoder=encoder)

    @classmethod
    def open(
        cls,
        path: str | Path,
        run: str | Path | None = None,
        *,
        models_dir: str | Path | None = None,
        data_dir: str | Path = 'Datasets',
    ) -> Gallery:
        """Reads a gallery and loads its encoder, from `run` or from the run of this name in `models_dir`.

        Raises UserError: the file or the run is missing or damaged, or the run's encoder is another one.
        """
        from sge_la.enrol.file import read

        gallery = read(path)
        return gallery.using(GaitEncoder.load(run or gallery.run, models_dir=models_dir, data_dir=data_dir), path)

    def using(self, encoder: GaitEncoder, where: str | Path = 'the gallery') -> Gallery:
        """The gallery with an encoder.

        Raises UserError: it is not the one that made the gallery.
        """
        if encoder_digest(encoder) != self.digest:
            raise UserError(
                f'{where} was made with the encoder of {self.run} as it was then, and {encoder.plan.network} has '
                'another, whose distances mean nothing here: name the right run, or make a new gallery'
            )
        width = feature_shape(encoder.sources, 'ap')[1]
        if len(self.vectors) and self.vectors.shape[1] != width:
            raise UserError(
                f'{where} should hold vectors of {width} values, as its encoder gives, found {self.vectors.shape[1]}: '
                'get it again, or make a new one'
            )
        return replace(self, encoder=encoder)

    @cached_property
    def people(self) -> list[str]:
        """Names, in the order in which people were enrolled first."""
        return list(dict.fromkeys(recording.person for recording in self.recordings))

    def with_recordings(self, person: str, found: Sequence[tuple[str, np.ndarray]]) -> Gallery:
        """The gallery with further recordings of a person: (name, sequences [N, T, J, 3]) of each.

        Raises UserError: one is enrolled already, whatever it was called, or has no sequence.
        """
        there = {recording.digest: recording for recording in self.recordings}
        added, vectors = [], [self.vectors] if len(self.vectors) else []
        for name, sequences in found:
            if not len(sequences):
                raise UserError(f'{name} should have one sequence or more, found none: give a longer recording')
            digest = hashlib.sha256(np.ascontiguousarray(sequences, np.float32).tobytes()).hexdigest()[:32]
            if known := there.get(digest):
                raise UserError(
                    f'{name} is enrolled already, as {known.name} of {known.person}: a recording should be there once; '
                    'leave it out, or remove that person first'
                )
            there[digest] = EnrolledRecording(person, name, digest, len(sequences))
            added.append(there[digest])
            vectors.append(self.encode(sequences))
        gallery = replace(self, recordings=(*self.recordings, *added), vectors=np.concatenate(vectors))
        return gallery._with_thresholds()

    def without(self, person: str) -> Gallery:
        """The gallery without a person and all that is kept of them; thresholds are found anew.

        Raises UserError: there is nobody of that name.
        """
        if person not in self.people:
            raise UserError(f'nobody in the gallery is called {person}: it has {", ".join(self.people) or "nobody"}')
        kept = np.repeat([one.person != person for one in self.recordings], [one.sequences for one in self.recordings])
        left = tuple(recording for recording in self.recordings if recording.person != person)
        return replace(self, recordings=left, vectors=self.vectors[kept])._with_thresholds()

    def _with_thresholds(self) -> Gallery:
        found = leave_one_out(self.enrolled) if len(self.people) > 1 else {}
        return replace(self, thresholds={level: Threshold.of(asked, self.far) for level, asked in found.items()})

    def agrees(self) -> bool:
        """Whether the thresholds are those of the recordings, within rounding."""
        found = self._with_thresholds().thresholds
        return all(abs(found[level].distance - kept.distance) < 1e-4 for level, kept in self.thresholds.items())

    @cached_property
    def enrolled(self) -> Enrolled:
        """The sequences by recording and person, people numbered as in `people`."""
        place = {person: number for number, person in enumerate(self.people)}
        counts = [recording.sequences for recording in self.recordings]
        people = np.array([place[recording.person] for recording in self.recordings])
        return Enrolled(self.vectors, np.repeat(np.arange(len(counts)), counts), people)

    def encode(self, sequences: np.ndarray) -> np.ndarray:
        """The vectors of sequences [N, T, J, 3], metres: float32 [N, D], of unit length. `using` gives the encoder."""
        return unit_length(self.encoder.encode(sequences).mean(axis=1))

    def distances(self, sequences: np.ndarray) -> np.ndarray:
        """Distances of sequences [N, T, J, 3] to each of `people`, float64 [N, P].

        Raises UserError: fewer than two people are enrolled, so that nobody knows where strangers begin.
        """
        self._refuse_few()
        return self.enrolled.distances(self.encode(sequences))

    def _refuse_few(self) -> None:
        if not self.thresholds:
            raise UserError(
                f'a gallery of at least two people was expected, since they tell how far strangers are, found '
                f'{len(self.people)}: add people with `gallery add`'
            )

    def identify(self, sequences: np.ndarray, top: int = 5, level: str = RECORDING) -> Identified:
        """Who walks in one recording, from its sequences [N, T, J, 3], N at least 1, metres.

        `top`: people who are told, the nearest first; `level`: whose threshold counts, that of a 'recording' or of a
        'sequence', which is answered through an index if the gallery is very large (see `evaluation.search`). Raises
        UserError: as `distances`.
        """
        self._refuse_few()
        people, distances = self.enrolled.near(self.encode(sequences), max(top, 2), indexed=level != RECORDING)
        mean, threshold = distances.mean(axis=0), self.thresholds[level]
        order = np.argsort(mean, kind='stable')
        first, second = mean[order[:2]]
        nearest = tuple(Near(self.people[people[place]], float(mean[place])) for place in order[:top])
        named = nearest[0].person if first <= threshold.distance and first < second else None
        return Identified(named, nearest, threshold.probability(first), threshold.distance, len(sequences))


def encoder_digest(encoder: GaitEncoder) -> str:
    """SHA-256 of all that an encoding depends on, in hexadecimal: settings and weights, not the backend."""
    found = hashlib.sha256()
    for source in encoder.sources:
        made = getattr(source, 'made', None)
        settings = {
            'config': asdict(source.config),
            'kind': source.kind,
            'task': source.task,
            'orders': [source.permute_test, source.shared_order],
            'inputs': None if made is None else [made.joints, made.centred, made.bones],
        }
        found.update(json.dumps(settings, sort_keys=True).encode())
        inputs = {} if made is None else {'inputs mean': made.mean, 'inputs deviation': made.deviation}
        for name, values in sorted({**source.params, **inputs}.items()):
            array = np.ascontiguousarray(values, '<f4')
            found.update(f'{name} {array.shape}'.encode() + array.tobytes())
    return found.hexdigest()
