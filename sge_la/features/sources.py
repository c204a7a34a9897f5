"""From trained encoders and data sets to the feature files of a recognition network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from sge_la import checkpoints
from sge_la.data.layout import AXES
from sge_la.errors import UserError
from sge_la.features import cages
from sge_la.features.inputs import Inputs, InputView
from sge_la.files.arrays import release_pages
from sge_la.files.write_arrays import new_npy
from sge_la.model import labelled_lstm
from sge_la.model.config import EncoderConfig
from sge_la.model.pretext import Pretext, pretext
from sge_la.runs import states
from sge_la.runs.plan import EncoderJob

# Rows of labels that are written or read at once.
ROWS_AT_ONCE = 65536


@dataclass(frozen=True)
class FeatureSource:
    """One encoder that gives 3U columns of the features (`rev_rec_plus` joins three).

    `config`: the encoder's; `params`: its parameters, arrays `[3, ...]`; `task`: 'sorting' permutes the inputs, all
    others leave them; `kind`: 'context', 'contrast' or 'states', see `cages.encoder_function`; `permute_test`: whether
    test inputs are permuted too; `shared_order`: permute x, y and z alike.
    """

    config: EncoderConfig
    params: Mapping[str, np.ndarray]
    task: str = 'rev_rec'
    kind: str = 'context'
    permute_test: bool = True
    shared_order: bool = True

    @property
    def joints(self) -> int:
        """J of the skeletons that it takes."""
        return self.config.joints

    def inputs(self, skeletons: np.ndarray) -> np.ndarray:
        """What the encoder is given for sequences `[B, T, J, 3]`, frames in their order."""
        return skeletons

    def inputs_of_tensor(self, skeletons):
        """`inputs` in Keras operations."""
        return skeletons

    def skeletons(self, inputs: np.ndarray) -> np.ndarray:
        """The skeletons in inputs, or in what the decoder made of them."""
        return inputs

    def view(self, skeletons: np.ndarray, seed: int, *, test: bool) -> Pretext:
        """The sequences as this encoder is to see them. Orders are drawn anew, not those of training."""
        task = self.task if self.permute_test or not test else 'rev_rec'
        return pretext(task, skeletons, seed=seed + 1 + test, shared_order=self.shared_order)


def feature_shape(sources: list[FeatureSource], manner: str) -> tuple[int, int]:
    """(rows a sequence, values a row) of the joined features."""
    shapes = [cages.feature_shape(source.config, manner, source.kind) for source in sources]
    return shapes[0][0], sum(values for _, values in shapes)


def write_feature_file(
    path: Path,
    sources: list[FeatureSource],
    skeletons: np.ndarray,
    rows: np.ndarray,
    manner: str,
    *,
    seed: int,
    test: bool,
    order: np.ndarray | None = None,
) -> None:
    """Encodes sequences into a float32 `.npy` file `[len(rows) · rows a sequence, values]`, through a memory map.

    Args:
        path: the file, made beside and renamed when complete.
        sources: the encoders, side by side in the columns, see `by_source`.
        skeletons: float32 `[N, T, J, 3]`.
        rows: the sequences, in order, with repeats where padded.
        manner: 'ap' or 'sc'.
        seed: of the frame orders of 'sorting'.
        test: test features: see `FeatureSource.permute_test`.
        order: the feature row that stands at each place of the file (the one permutation of training rows).
    """
    each, width = feature_shape(sources, manner)
    positions = None if order is None else np.argsort(order)
    with new_npy(path, (len(rows) * each, width), np.float32) as out:
        fill_features(out, sources, skeletons, rows, manner, seed=seed, test=test, positions=positions)


def fill_features(out, sources, skeletons, rows, manner, *, seed: int, test: bool, positions=None) -> None:
    """As `write_feature_file`, into an array that is there already, contiguous in memory."""
    blocks = by_source(out, len(sources))
    for number, source in enumerate(sources, 1):
        cages.write_features(
            cages.encoder_function(source.config, manner, source.kind),
            source.params,
            source.view(skeletons, seed, test=test),
            rows,
            blocks[:, :, number - 1],
            positions=positions,
            progress=f'encoding {number}/{len(sources)}',
        )


def by_source(features: np.ndarray, sources: int) -> np.ndarray:
    """A view `[R, 3, sources, values]` of joined features `[R, D]`.

    As in the original: first the x of every encoder, then the y, then the z.
    """
    return features.reshape(len(features), len(AXES), sources, -1)


def row_labels(labels: np.ndarray, sources: list[FeatureSource], manner: str) -> np.ndarray:
    """The class of each feature row, from the class of each sequence."""
    return np.repeat(labels, feature_shape(sources, manner)[0])


def write_one_hot(path: Path, labels: np.ndarray, classes: int) -> None:
    """Writes uint8 `[R, C]`: the original writes the same as int64, eight times the size."""
    with new_npy(path, (len(labels), classes), np.uint8) as out:
        for start in range(0, len(labels), ROWS_AT_ONCE):
            chosen = labels[start : start + ROWS_AT_ONCE]
            out[np.arange(start, start + len(chosen)), chosen] = 1
            release_pages(out)


@dataclass(frozen=True)
class ModernSource(FeatureSource):
    """Encoders with the inputs that they were trained on.

    `made`: from skeletons to inputs.
    """

    made: Inputs | None = None

    @property
    def joints(self) -> int:
        """J of the skeletons, without the bones beside them."""
        return self.made.joints

    def inputs(self, skeletons: np.ndarray) -> np.ndarray:
        return self.made.of(skeletons)

    def inputs_of_tensor(self, skeletons):
        return self.made.of_tensor(skeletons)

    def skeletons(self, inputs: np.ndarray) -> np.ndarray:
        return self.made.skeletons(inputs)

    def view(self, skeletons: np.ndarray, seed: int, *, test: bool) -> InputView:
        return InputView(self.made, skeletons)


class Stored(Protocol):
    """Where the trained encoders of a run are kept."""

    def joints(self, job: EncoderJob) -> int:
        """J of an encoder, whatever the job says.

        Raises UserError: as `tensors`.
        """

    def tensors(self, job: EncoderJob, axis: str) -> tuple[dict[str, np.ndarray], object]:
        """The variables of the encoder of 'x', 'y' or 'z', and their place for messages.

        Raises UserError: they are missing, damaged or unfinished.
        """

    def inputs(self, job: EncoderJob) -> Inputs:
        """What an encoder of the modern recipe is given.

        Raises UserError: that is missing or damaged.
        """


class Folders:
    """Encoders in the folders that training wrote."""

    def joints(self, job: EncoderJob) -> int:
        return checkpoints.describe(*self.tensors(job, 'x')).joints

    def tensors(self, job: EncoderJob, axis: str) -> tuple[dict[str, np.ndarray], object]:
        for folder in job.folders.values():
            states.refuse_unfinished(folder)
        place = job.folders[axis]
        return checkpoints.read_checkpoint(place, slots=False), place / checkpoints.CHECKPOINT_STEM

    def inputs(self, job: EncoderJob) -> Inputs:
        return Inputs.load(job.folders['x'])


def load_source(job: EncoderJob, stored: Stored) -> ModernSource:
    """The trained encoders of a run.

    Raises UserError: a file is missing or damaged, or they do not fit each other.
    """
    made = stored.inputs(job)
    config = replace(job.config, joints=made.width)
    return ModernSource(config, load_job(replace(job, config=config), stored), made=made)


def load_job(job: EncoderJob, stored: Stored) -> dict[str, np.ndarray]:
    """The trained parameters of an encoder.

    Raises UserError: a checkpoint is missing, unfinished, or does not fit joints, length or kind.
    """
    config, read = job.config, (stored.tensors(job, axis) for axis in AXES)
    if job.labelled:
        return _labelled(read, config.joints, config.units)
    kind = {'contrastive': config.contrastive, 'attends': config.attends}
    return checkpoints.stack_encoder(read, config.joints, config.length, config.units, **kind).params


def _labelled(read: Iterable[tuple[Mapping, object]], joints: int, units: int) -> dict[str, np.ndarray]:
    """The trained encoder without its softmax, arrays `[3, ...]`.

    Raises UserError: a checkpoint does not fit.
    """
    parts = []
    expected = labelled_lstm.shapes(joints, units, 1)
    del expected[labelled_lstm.KERNEL], expected[labelled_lstm.BIAS]
    for tensors, where in read:
        wrong = [name for name, shape in expected.items() if np.shape(tensors.get(name, 0)) != shape]
        if wrong:
            raise UserError(
                f'{where} should hold an LSTM that was trained with labels, with {wrong[0]} '
                f'{list(expected[wrong[0]])}, and holds {list(np.shape(tensors.get(wrong[0], 0)))}; '
                'is it of another data set or kind?'
            )
        parts.append(tensors)
    return {name: np.stack([part[name] for part in parts]) for name in expected}
