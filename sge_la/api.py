"""Trained models for use from Python: skeletons in, encodings or people out.

In a few lines, where `python -m sge_la.data.prepare DEMO --data_dir demo/Datasets` and train.py have been:

    import numpy as np
    import sge_la

    model = sge_la.load('demo/Models/CAGEs_RN_models/DEMO_LA_RN_ap_6_0.1_0pre_rev_rec', data_dir='demo/Datasets')
    walk = np.load('walk.npy')  # one recording: float [frames, joints, 3], metres
    cages = model.encode(walk[:6][None])  # [sequences, 6, joints, 3] to [1, 6, 768]
    print(sge_la.identify(walk, model)[0])  # Answer(person=..., score=..., votes=...)
"""

from __future__ import annotations

import contextlib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sge_la import backends
from sge_la.backends.runtime import for_inference
from sge_la.data.casia_b import load_for
from sge_la.data.layout import AXES
from sge_la.data.skeletons import Skeleton, for_dataset
from sge_la.data.training_set import training_data
from sge_la.errors import UserError
from sge_la.evaluation.openset_network import Doubt, NetworkThresholds, read_thresholds
from sge_la.evaluation.scores import compiled_recogniser, logits
from sge_la.evaluation.sides import load_network, network_for
from sge_la.features.files import feature_sources
from sge_la.features.run_file import RunFile, is_run_file, options_of_file
from sge_la.features.sources import FeatureSource, Folders, feature_shape, fill_features
from sge_la.files.arrays import as_float32
from sge_la.files.atomic import replacing
from sge_la.files.write_arrays import npy_header
from sge_la.model.gait_encoder import axis_major, encode
from sge_la.runs import records, trained_on
from sge_la.runs.find import as_trained, options_of_folder
from sge_la.runs.plan import Plan, plan_of
from sge_la.runs.trained_on import TrainedOn
from sge_la.settings.command_line import OF_A_RUN, parse_evaluate

_BLOCK = 2048


def load_options(run: str | Path, models_dir: str | Path | None = None, data_dir: str | Path = 'Datasets'):
    """The options of a trained run.

    `run`: the folder of its recognition network, or its name in `models_dir` (by default where the folder lies, else
    `Models`), or the `.safetensors` file that it was exported to.

    Raises UserError: there is no such folder or file, or it does not say what it holds.
    """
    # As if typed: every value of a config.json is checked as one of a command line is, and none of them is a path.
    places = [f'--RN_dir={run}', f'--data_dir={data_dir}'] + ([f'--models_dir={models_dir}'] if models_dir else [])
    if is_run_file(run):
        options = parse_evaluate(places, lambda name, _: options_of_file(name, OF_A_RUN))
        return replace(options, RN_dir=None, seed=options.seed or 0)
    return as_trained(parse_evaluate(places, options_of_folder))


@dataclass(frozen=True)
class GaitEncoder:
    """The trained gait encoders of a run, x, y and z (three sources for rev_rec_plus).

    `backend`: what computes, 'numpy', 'tensorflow' or 'jax'; None: what is in use when it is called.
    """

    plan: Plan
    sources: list[FeatureSource]
    backend: str | None = None

    def __repr__(self) -> str:
        run = self.plan.network.name
        return f'<GaitEncoder of {run}: sequences of {self.length} frames and {self.joints} joints>'

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        models_dir: str | Path | None = None,
        data_dir: str | Path = 'Datasets',
        backend: str | None = None,
    ) -> GaitEncoder:
        """Loads the encoders that a recognition network (folder, name or file, see `load_options`) was trained on.

        `backend`: as above; None: KERAS_BACKEND, else NumPy, or TensorFlow where there seems to be a GPU or products
        are not float32.

        Raises UserError: a folder or checkpoint is missing or damaged, or the run's precision is not NumPy's.
        """
        stored = RunFile.read(run) if is_run_file(run) else Folders()
        return cls._of(load_options(run, models_dir, data_dir), stored, backend)

    @classmethod
    def _of(cls, options, stored: Folders | RunFile, backend: str | None) -> GaitEncoder:
        plan = plan_of(options, joints=stored.joints(plan_of(options, joints=1).encoders[0]))
        return cls(plan, feature_sources(plan, stored), for_inference(backend, plan.gpu, plan.precision))

    @property
    def length(self) -> int:
        """T, frames in a sequence."""
        return self.sources[0].config.length

    @property
    def joints(self) -> int:
        """J."""
        return self.sources[0].joints

    def encode(self, skeletons: np.ndarray) -> np.ndarray:
        """CAGEs (or AGEs) of sequences [N, T, J, 3], metres, joints in the order of the training data.

        Returns float32 [N, T, 768], x, y and z side by side; [N, 1, 768] of a run with `--frozen 1` or `--c_reid 1`.

        Raises UserError: the shape does not fit, or a coordinate is not finite.
        """
        skeletons = self._fitting(skeletons)
        each, width = feature_shape(self.sources, 'ap')
        with backends.using(self.backend):
            count, filled = len(skeletons), _filled_up(skeletons)
            out = np.empty((len(filled) * each, width), np.float32)
            if count:
                rows = np.arange(len(filled))
                fill_features(out, self.sources, filled, rows, 'ap', seed=self.plan.seed, test=True)
        return out.reshape(len(filled), each, width)[:count]

    def attention(self, skeletons: np.ndarray) -> np.ndarray:
        """Attention weights of sequences [N, T, J, 3]: float32 [N, 3, T decoded, T input], x, y and z.

        Raises UserError: as `encode`, or the run has several encoders, one that shuffles frames, or no attention.
        """
        source, skeletons = self.sources[0], self._fitting(skeletons)
        if len(self.sources) > 1 or source.task == 'sorting' or not source.config.attends or source.kind == 'states':
            raise UserError(
                'one encoder with attention that sees frames in their order was expected, and this run has '
                f'{len(self.sources)} of the task {self.plan.task}: choose a run of rev_rec or prediction'
            )
        with backends.using(self.backend):
            encoded = encode(source.config, source.params, axis_major(source.inputs(skeletons)))
            return np.moveaxis(np.asarray(encoded.alignments, np.float32), -1, 0)

    def _fitting(self, skeletons: np.ndarray) -> np.ndarray:
        """Sequences as float32; refuses those that do not fit."""
        skeletons = as_float32(skeletons, 'sequences')
        if skeletons.ndim != 4 or skeletons.shape[1:] != (self.length, self.joints, 3):
            raise UserError(
                f'sequences [N, {self.length}, {self.joints}, 3] were expected, found {list(skeletons.shape)}: cut '
                'recordings with sge_la.data.prepare.sequences.cut, and check the joints'
            )
        if not np.isfinite(skeletons).all():
            raise UserError('finite coordinates were expected, found NaN or infinity: leave those frames out')
        return skeletons


@dataclass(frozen=True)
class Answer:
    """A person that a recording may show.

    `person` is a name, else a label, else a class number; `score` the network's mean logit over the recording (higher
    is likelier; no probability); `votes` the share of the recording's sequences whose best answer this is.
    """

    person: str | int
    score: float
    votes: float


@dataclass(frozen=True)
class Recogniser:
    """A trained run: gait encoders, and the recognition network on them; `people` by class.

    `trained_on`: what the recordings were like, None where nobody has said; `strangers`: where strangers begin, None
    where it was trained on everybody.
    """

    encoder: GaitEncoder
    params: dict[str, np.ndarray]
    people: list[str | int]
    skeleton: Skeleton | None
    trained_on: TrainedOn | None = None
    strangers: NetworkThresholds | None = None

    def __repr__(self) -> str:
        return f'<Recogniser of {len(self.people)} people: {self.encoder!r}>'

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        models_dir: str | Path | None = None,
        data_dir: str | Path = 'Datasets',
        backend: str | None = None,
    ) -> Recogniser:
        """Loads a run; arguments and errors as of `GaitEncoder.load`."""
        options = load_options(run, models_dir, data_dir)
        stored = RunFile.read(run) if is_run_file(run) else Folders()
        encoder = GaitEncoder._of(options, stored, backend)
        plan, joints = encoder.plan, encoder.joints
        if isinstance(stored, RunFile):
            params = stored.network(feature_shape(encoder.sources, plan.manner)[1])
            known = stored.trained_on(params['Variable'].shape[0], joints)
            stored.refuse_contradictions(plan, joints, known)
            told = stored.strangers()
            strangers = None if told is None else NetworkThresholds.from_json(told, params, stored.path)
        else:
            params = load_network(network_for(plan), encoder.sources, plan.manner)
            known = _trained_on(plan, options, params['Variable'].shape[0], joints)
            strangers = read_thresholds(plan.network, params)
        return cls(encoder, params, list(known.people), known.skeleton, known, strangers)

    def encode(self, skeletons: np.ndarray) -> np.ndarray:
        """CAGEs of sequences, as `GaitEncoder.encode` gives them."""
        return self.encoder.encode(skeletons)

    def scores(self, skeletons: np.ndarray) -> np.ndarray:
        """Scores of sequences, float32 [N, C]: the mean of their frames' logits ('ap') or one answer each ('sc')."""
        with backends.using(self.encoder.backend):
            return self._scores(self.encoder._fitting(skeletons))

    def _scores(self, skeletons: np.ndarray) -> np.ndarray:
        wanted, cages = len(skeletons), self.encoder.encode(_filled_up(skeletons))
        count, each, width = cages.shape
        compiled = compiled_recogniser(self.encoder.plan.precision)
        if self.encoder.plan.manner == 'sc' and each > 1:  # joined: all frames of x, then of y, then of z
            units = width // (len(AXES) * len(self.encoder.sources))
            split = cages.reshape(count, each, width // units, units)
            return logits(self.params, split.swapaxes(1, 2).reshape(count, each * width), compiled)[:wanted]
        answers = logits(self.params, cages.reshape(count * each, width), compiled)
        return answers.reshape(count, each, answers.shape[1]).mean(axis=1)[:wanted]

    def identify(self, skeletons: np.ndarray, top: int = 5) -> list[Answer]:
        """The `top` likeliest people of a recording, likeliest first, from its sequences [N, T, J, 3], N at least 1.

        Somebody is the likeliest of a stranger too: see `doubt`. Raises UserError: as `encode`, or there is none.
        """
        return self.answers(self._scores_of_some(skeletons), top)

    def doubt(self, skeletons: np.ndarray) -> Doubt | None:
        """Whether a recording may show nobody of these people, from its sequences; None where that cannot be told."""
        return self.strangers.doubt(self._scores_of_some(skeletons)) if self.strangers else None

    def _scores_of_some(self, skeletons: np.ndarray) -> np.ndarray:
        scores = self.scores(skeletons)
        if not len(scores):
            raise UserError('a recording of one sequence or more was expected, found none: give a longer one')
        return scores

    def answers(self, scores: np.ndarray, top: int = 5) -> list[Answer]:
        """As `identify`, from the `scores` of sequences."""
        mean = scores.mean(axis=0)
        votes = np.bincount(scores.argmax(axis=1), minlength=len(mean)) / len(scores)
        order = np.argsort(-mean, kind='stable')[:top]
        return [Answer(self.people[k], float(mean[k]), float(votes[k])) for k in order]


def load(
    run: str | Path,
    *,
    models_dir: str | Path | None = None,
    data_dir: str | Path = 'Datasets',
    backend: str | None = None,
) -> Recogniser:
    """Loads a trained run from its folder or from the file that it was exported to; as `Recogniser.load`."""
    return Recogniser.load(run, models_dir=models_dir, data_dir=data_dir, backend=backend)


def _filled_up(skeletons: np.ndarray) -> np.ndarray:
    """With copies of the first sequence up to a size that is compiled once, whatever recordings come."""
    sizes = backends.current().COMPILED_SIZES
    size = next((size for size in sizes if len(skeletons) <= size), len(skeletons))
    copies = size - len(skeletons) if len(skeletons) else 0
    return np.concatenate([skeletons, np.repeat(skeletons[:1], copies, axis=0)])


def _trained_on(plan: Plan, options, classes: int, joints: int) -> TrainedOn:
    """Whom a run was trained on, as its folder says.

    A run of an older version does not say: the data set at hand tells, if it is the one of the training. Without both,
    people are class numbers.

    Raises UserError: the data set at hand is another one.
    """
    folder = plan.network
    if known := trained_on.read(folder, classes, joints):
        return known
    nobody = TrainedOn(tuple(range(classes)), for_dataset(options.dataset))
    checksum = (records.read_config(folder) or {}).get('record', {}).get('data')
    try:
        dataset = load_for(options, warn=lambda text: None)
    except UserError:
        return nobody
    if checksum is None:
        return replace(nobody, skeleton=dataset.skeleton)
    if training_data(dataset, plan.select).fingerprint != checksum:
        raise UserError(
            f'{folder} does not say whom it was trained on, and the data set {options.dataset} in {options.data_dir} '
            'is not the one that it was trained on: give that one with --data_dir, or train again'
        )
    return TrainedOn.of(dataset)


def holds_features(path: Path) -> bool:
    """Whether a file is one that `save_features` has written."""
    with contextlib.suppress(zipfile.BadZipFile, OSError, ValueError), zipfile.ZipFile(path) as archive:
        return any(name.endswith('_cages.npy') for name in archive.namelist())
    return False


def save_features(path: str | Path, encoder: GaitEncoder, splits: dict) -> None:
    """Writes the CAGEs of whole sets into one `.npz`, block by block, whole or not at all.

    For each set: `<set>_cages` float32 [N, T, 768], `<set>_labels` int64 [N] (−1 for nobody) and, where they are known,
    `<set>_recordings` int64 [N]; sequences in file order.
    """
    with replacing(path) as file, zipfile.ZipFile(file, 'w', allowZip64=True) as archive:
        for name, split in splits.items():
            skeletons = split.skeletons
            shape = (len(skeletons), *encoder.encode(skeletons[:1]).shape[1:])
            with archive.open(f'{name}_cages.npy', 'w', force_zip64=True) as entry:
                entry.write(npy_header(shape, np.dtype(np.float32)))
                for start in range(0, len(skeletons), _BLOCK):
                    entry.write(encoder.encode(skeletons[start : start + _BLOCK]).tobytes())
            arrays = {'labels': split.labels, 'recordings': split.recordings}
            for key, values in arrays.items():
                if values is not None:
                    with archive.open(f'{name}_{key}.npy', 'w') as entry:
                        np.lib.format.write_array(entry, np.ascontiguousarray(values), allow_pickle=False)
