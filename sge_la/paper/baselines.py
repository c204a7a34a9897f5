"""Simple methods to compare with: body measures and nearest neighbours, without any training of ours.

A descriptor turns sequences `[N, T, J, 3]` into vectors `[N, D]`; a classifier turns the vectors into scores `[S, C]`,
which `metrics.evaluate_scores` takes like the recognition network's. Sources of the body measures:

- D13: Munaro, Fossati, Basso, Menegatti and Van Gool, "One-shot person re-identification with a consumer depth
  camera", in Person Re-Identification, Springer 2014: eleven lengths and two ratios.
- D16: sixteen measures with AdaBoost, which the comparison tables of the field take from Pala, Seidenari, Berretti and
  Del Bimbo, "Enhanced skeleton and face 3D data for person re-identification from depth cameras", Computers & Graphics
  2019. Its list of measures was not at hand: here they are D13's and three more bones, so that numbers of this D16 are
  no repetition of theirs.

Munaro et al. measure heights from the floor plane. Skeleton files have none, so that heights are taken from the middle
of the ankles; all measures then depend on the body alone, not on where the camera stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError
from sge_la.evaluation.matching import BLOCK_BYTES, distance_blocks

D13_MEASURES = (
    'head height',
    'neck height',
    'neck to left shoulder',
    'neck to right shoulder',
    'torso to right shoulder',
    'right arm',
    'left arm',
    'right upper leg',
    'left upper leg',
    'torso',
    'right hip to left hip',
    'torso / right upper leg',
    'torso / left upper leg',
)
D16_MEASURES = (*D13_MEASURES, 'right lower leg', 'left lower leg', 'head to neck')
# Ratios of a bone of no length (a joint that the sensor lost) are bounded by this length, in metres.
_SHORTEST_BONE = 1e-3
_ENDS = ('Left', 'Right')


def raw_coordinates(skeletons: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """All coordinates of all frames as they are: float32 [N, T·J·3], metres."""
    _check(skeletons, skeleton)
    return skeletons.reshape(len(skeletons), -1)


def centred_coordinates(skeletons: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """All coordinates relative to the hip centre (the skeleton's root) of their frame: float32 [N, T·J·3], metres."""
    _check(skeletons, skeleton)
    root = skeletons[:, :, [skeleton.centre]]
    return (skeletons - root).reshape(len(skeletons), -1)


def bone_lengths(skeletons: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Lengths of the bones, mean over the frames: float32 [N, J - 1], metres."""
    _check(skeletons, skeleton)
    outer, inner = skeleton.bones
    return np.linalg.norm(skeletons[:, :, outer] - skeletons[:, :, inner], axis=-1).mean(axis=1)


def d13(skeletons: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The measures of `D13_MEASURES`, mean over the frames: float32 [N, 13], metres and ratios."""
    return _measures(skeletons, skeleton, D13_MEASURES)


def d16(skeletons: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The measures of `D16_MEASURES`, mean over the frames: float32 [N, 16], metres and ratios."""
    return _measures(skeletons, skeleton, D16_MEASURES)


DESCRIPTORS: dict[str, Callable[[np.ndarray, Skeleton], np.ndarray]] = {
    'raw': raw_coordinates,
    'centred': centred_coordinates,
    'bones': bone_lengths,
    'D13': d13,
    'D16': d16,
}


def descriptor(skeletons: np.ndarray, skeleton: Skeleton, name: str) -> np.ndarray:
    """Describes each sequence [N, T, J, 3] (metres) by a vector: float32 [N, D]; `name` is a key of `DESCRIPTORS`.

    Raises UserError: unknown name, or a joint that the skeleton lacks.
    """
    if name not in DESCRIPTORS:
        raise UserError(f"there is no descriptor '{name}'; choose one of {', '.join(DESCRIPTORS)}")
    return DESCRIPTORS[name](skeletons, skeleton)


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brings each value to mean 0 and deviation 1 over the training vectors, so that metres and ratios compare.

    Both float32; a value that is constant in training is only shifted.
    """
    mean, deviation = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    deviation[deviation == 0] = 1
    return tuple(((vectors - mean) / deviation).astype(np.float32) for vectors in (train, test))


def nearest_neighbour_scores(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    num_classes: int,
    *,
    block_bytes: int = BLOCK_BYTES,
    show_progress: bool = False,
) -> np.ndarray:
    """Scores each class by its nearest training vector: float32 [S, C], minus the Euclidean distance.

    The best score is the answer of the nearest neighbour. Each label of 0 to C − 1 must occur in training.
    """
    order = np.argsort(train_labels, kind='stable')
    classes, starts = np.unique(np.asarray(train_labels)[order], return_index=True)
    if not np.array_equal(classes, np.arange(num_classes)):
        raise ValueError(f'each of the {num_classes} classes must have a training vector, received {len(classes)}')
    scores = np.empty((len(test), num_classes), np.float32)
    blocks = distance_blocks(test, train[order], block_bytes=block_bytes, show_progress=show_progress)
    for start, distances in blocks:
        scores[start : start + len(distances)] = -np.minimum.reduceat(distances, starts, axis=1)
    return scores


def adaboost_scores(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    num_classes: int,
    *,
    rounds: int = 100,
    depth: int | None = None,
    learning_rate: float = 0.3,
    seed: int = 0,
) -> np.ndarray:
    """Scores [S, C] of AdaBoost over decision trees (scikit-learn's multi-class SAMME): its decision function.

    Boosting needs trees that beat chance among C classes and still err: trees are deep enough to tell all classes apart
    (`depth` None: ⌈log2 C⌉ + 10), choose each split among a random √D of the values, and keep 5 vectors in a leaf.
    Every node holds C values, so that memory grows with N·C·rounds: about 2 GB for KGBD's 63,515 sequences of 164
    people.
    """
    import inspect

    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    if not np.array_equal(np.unique(train_labels), np.arange(num_classes)):
        raise ValueError(f'each of the {num_classes} classes must have a training vector')
    depth = int(np.ceil(np.log2(num_classes))) + 10 if depth is None else depth
    tree = DecisionTreeClassifier(max_depth=depth, max_features='sqrt', min_samples_leaf=5)
    # scikit-learn before 1.6 has another variant by default and wants to be told; later ones know no other.
    variant = inspect.signature(AdaBoostClassifier).parameters.get('algorithm')
    options = {'algorithm': 'SAMME'} if variant is not None and variant.default == 'SAMME.R' else {}
    model = AdaBoostClassifier(tree, n_estimators=rounds, learning_rate=learning_rate, random_state=seed, **options)
    decision = model.fit(train, train_labels).decision_function(test)
    if num_classes == 2:
        decision = np.stack([-decision, decision], axis=1)
    return decision.astype(np.float32)


def _measures(skeletons: np.ndarray, skeleton: Skeleton, names: tuple[str, ...]) -> np.ndarray:
    """Body measures by name, each the mean over the frames: float32 [N, len(names)]."""
    _check(skeletons, skeleton)
    point = _points(skeletons, skeleton)

    def path(*joints: str) -> np.ndarray:
        """Length of the way over these joints, mean over the frames: [N]."""
        pairs = itertools.pairwise(joints)
        return sum(np.linalg.norm(point[a] - point[b], axis=-1) for a, b in pairs).mean(axis=1)

    values = {
        'head height': path('Head', 'Floor'),
        'neck height': path('ShoulderCenter', 'Floor'),
        'torso': path('ShoulderCenter', 'Spine', 'HipCenter'),
        'torso to right shoulder': path('Spine', 'ShoulderRight'),
        'right hip to left hip': path('HipRight', 'HipLeft'),
        'head to neck': path('Head', 'ShoulderCenter'),
    }
    for end in _ENDS:
        side = end.lower()
        values[f'neck to {side} shoulder'] = path('ShoulderCenter', f'Shoulder{end}')
        values[f'{side} arm'] = path(f'Shoulder{end}', f'Elbow{end}', f'Wrist{end}')
        values[f'{side} upper leg'] = path(f'Hip{end}', f'Knee{end}')
        values[f'{side} lower leg'] = path(f'Knee{end}', f'Ankle{end}')
        upper_leg = np.maximum(values[f'{side} upper leg'], _SHORTEST_BONE)
        values[f'torso / {side} upper leg'] = values['torso'] / upper_leg
    return np.stack([values[name] for name in names], axis=1).astype(np.float32)


def _points(skeletons: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """The joints by the names that the measures use, [N, T, 3] each, and the middle of the ankles as 'Floor'.

    A skeleton without pelvis and spine joints (CASIA-B) gets them: the neck is the shoulders' centre, the hip centre
    lies between the hips, the spine between the two.
    """
    limbs = [f'{joint}{end}' for joint in ('Shoulder', 'Elbow', 'Wrist', 'Hip', 'Knee', 'Ankle') for end in _ENDS]
    point = {joint: skeletons[:, :, skeleton.index(joint)] for joint in ('Head', *limbs)}
    if skeleton.find('Neck') is not None and skeleton.find('Spine') is None:
        point['ShoulderCenter'] = skeletons[:, :, skeleton.index('Neck')]
        point['HipCenter'] = (point['HipLeft'] + point['HipRight']) / 2
        point['Spine'] = (point['ShoulderCenter'] + point['HipCenter']) / 2
    else:
        point |= {joint: skeletons[:, :, skeleton.index(joint)] for joint in ('ShoulderCenter', 'Spine', 'HipCenter')}
    point['Floor'] = (point['AnkleLeft'] + point['AnkleRight']) / 2
    return point


def _check(skeletons: np.ndarray, skeleton: Skeleton) -> None:
    if skeletons.ndim != 4 or skeletons.shape[2:] != (len(skeleton.joints), 3):
        raise ValueError(f'skeletons must be [N, T, {len(skeleton.joints)}, 3], received {skeletons.shape}')
