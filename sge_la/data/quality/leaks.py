"""Training recordings in a test set: themselves, or copies that are rounded, cut, or disturbed a little.

Of each test sequence the frame in the middle is compared with every frame of the training set, so that it does not
matter where a copy was cut. In KGBD the nearest of 15,277 is as near as 0.25 of the typical nearest distance; a copy
that was rounded to centimetres would be at 0.06.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from sge_la.data.dataset import LEAKS, shared_recordings, spread
from sge_la.data.quality.findings import BOTH_SIDES, NEAR_COPIES, Part, Report
from sge_la.data.quality.lost import lost_joints, some

# A frame is that of a copy if it is nearer than this share of the typical distance between a test frame and the nearest
# training frame, or, because copies may be typical themselves, between frames of a person's training recordings.
_NEAR = 0.2
# Frames that tell the typical distance.
_SAMPLE = 128
# Bytes of training frames that are compared at a time.
_BLOCK = 32 * 2**20
# Frames that they are compared with at a time.
_AT_ONCE = 32


def check_near_copies(report: Report, train: Part, test: Part, what: str, names: dict[int, str]) -> None:
    """Finds test recordings that are nearly training recordings.

    `what`: the test set; `names`: number of a recording → its name. Distances are root mean squares over coordinates,
    in metres. What is equal bit for bit is told elsewhere, and not here.
    """
    joints = test.skeletons.shape[2:]
    frames, middle = train.skeletons.reshape(-1, *joints), test.skeletons[:, report.length // 2]
    usable = np.flatnonzero(~lost_joints(frames).any(axis=1))
    lost = lost_joints(test.skeletons.reshape(-1, *joints)).reshape(*test.skeletons.shape[:2], -1)
    queries = np.flatnonzero(~lost.any(axis=(1, 2)))
    if not len(usable) or not len(queries):
        return
    typical = float(np.median(_distances(middle[queries[spread(len(queries), _SAMPLE)]], frames, usable)))
    others = _between_recordings(train, frames, usable, report.length)
    typical = typical if others is None else max(typical, others)
    near = _NEAR * typical
    distances, nearest = _nearest_within(middle[queries], frames, usable, near)
    found = np.isfinite(distances) & (distances > 0)
    tested, trained = _names_of(test, what, names), _names_of(train, 'training set', names)
    copies = Counter(
        (tested[row], trained[origin // report.length])
        for row, origin in zip(queries[found], nearest[found], strict=True)
    )
    totals = Counter(tested)
    told = [(pair, count) for pair, count in copies.most_common() if count >= min(2, totals[pair[0]])]
    for (name, origin), count in told[:12]:
        report.found_bad(
            test.files.source('x'),
            f'{what}: {name} is nearly {origin}, which is trained on: {count} of its {totals[name]} sequences have a '
            f'frame less than {near:.2g} m from one there, where {typical:.2g} m are usual; take one of the two out',
            NEAR_COPIES,
        )
    if len(told) > 12:
        text = f'{what}: {len(told) - 12} more recordings are nearly trained on'
        report.found_bad(test.files.source('x'), text, NEAR_COPIES)


def check_recordings_apart(report: Report, train: Part, test: Part, what: str, names: dict[int, str]) -> None:
    """Finds recordings of which sequences are in both the training set and a test set; arguments as above."""
    both = shared_recordings(train.recordings, test.recordings).tolist()
    if both:
        shown = [names.get(number, str(number)) for number in both]
        report.found_bad(
            test.files.recording,
            f'{what}: {LEAKS} (of {len(both)} recordings: {some(shown)}); hold out whole recordings',
            BOTH_SIDES,
        )


def _between_recordings(train: Part, frames: np.ndarray, usable: np.ndarray, length: int) -> float | None:
    """The typical distance from a training frame to the nearest one of another recording.

    Only people with two recordings or more are asked. None where there are none, or recordings are not known.
    """
    if train.recordings is None or train.labels is None:
        return None
    twice = [label for label, rows in train.ids.items() if len(np.unique(train.recordings[rows])) > 1]
    asked = usable[np.isin(train.labels, twice)[usable // length]]
    if not len(asked):
        return None
    numbers, asked = np.repeat(train.recordings, length), asked[spread(len(asked), _SAMPLE)]
    return float(np.median(_distances(frames[asked], frames, usable, numbers[asked], numbers)))


def _names_of(part: Part, what: str, names: dict[int, str]) -> list[str]:
    """What to call each sequence: by its recording, else its person, else `what`, the set."""
    if part.recordings is not None:
        return [names.get(number, f'recording {number}') for number in part.recordings.tolist()]
    return [what] * len(part.skeletons) if part.labels is None else [f'identity {label}' for label in part.labels]


def _blocks(frames: np.ndarray, usable: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames that can be compared, float64 `[n, J * 3]`, and their indices."""
    most = max(1, _BLOCK // (8 * int(np.prod(frames.shape[1:]))))
    for start in range(0, len(usable), most):
        rows = usable[start : start + most]
        yield frames[rows].reshape(len(rows), -1).astype(np.float64), rows


def _distances(
    queries: np.ndarray,
    frames: np.ndarray,
    usable: np.ndarray,
    own: np.ndarray | None = None,
    numbers: np.ndarray | None = None,
) -> np.ndarray:
    """The distance of each query `[Q, J, 3]` to the nearest of all usable frames.

    `own`, `numbers`: the recording of each query and of each frame; a query's own one is not asked.
    """
    flat = queries.reshape(len(queries), -1).astype(np.float64)
    middle = flat.mean(axis=0)
    flat = flat - middle
    nearest = np.full(len(flat), np.inf)
    for block, rows in _blocks(frames, usable):
        block -= middle
        lengths = (block**2).sum(axis=1)
        for start in range(0, len(flat), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            squares = flat[part] @ (-2 * block.T)
            squares += lengths
            if own is not None:
                squares[own[part, None] == numbers[rows]] = np.inf
            nearest[part] = np.minimum(nearest[part], squares.min(axis=1) + (flat[part] ** 2).sum(axis=1))
    return np.sqrt(np.maximum(nearest, 0) / flat.shape[1])


def _nearest_within(
    queries: np.ndarray, frames: np.ndarray, usable: np.ndarray, most: float
) -> tuple[np.ndarray, np.ndarray]:
    """The distance of each query to the nearest frame, and which it is; infinity where none is as near as `most`."""
    from scipy.spatial import cKDTree  # comes with scikit-learn

    flat = queries.reshape(len(queries), -1).astype(np.float64)
    scale = np.sqrt(flat.shape[1])
    nearest, places = np.full(len(flat), np.inf), np.full(len(flat), -1)
    for block, rows in _blocks(frames, usable):
        tree = cKDTree(block, leafsize=32, balanced_tree=False, compact_nodes=False)
        found, index = tree.query(flat, distance_upper_bound=most * scale)
        nearer = found < nearest
        nearest[nearer], places[nearer] = found[nearer], rows[index[nearer]]
    return nearest / scale, places
