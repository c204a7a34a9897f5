"""A trained run in one file: weights under the checkpoints' names, and in words what they are for.

Names begin with the axis of a gait encoder (`x/rnn/...`; of rev_rec_plus with its task, `sorting/x/rnn/...`) or with
`recognition/`. The texts beside them are JSON: what any reader needs (`description`), and what this program needs to
give the same answers as the run (`options`, `inputs`, `trained_on`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sge_la import checkpoints
from sge_la.data.layout import AXES
from sge_la.data.skeletons import to_json
from sge_la.errors import UserError
from sge_la.features.inputs import Inputs
from sge_la.features.sources import FeatureSource, ModernSource
from sge_la.files.safetensors import ENDING, parsed, read_metadata, read_safetensors
from sge_la.runs.plan import EncoderJob, Plan
from sge_la.runs.trained_on import TrainedOn, known_from_json

FORMAT = 'SGE-LA run 1'
_NETWORK = 'recognition/'
_MAX_JOINTS = 1000


def is_run_file(run: str | Path) -> bool:
    """Whether a run is named by a file, not by a folder."""
    return Path(run).suffix == ENDING and not Path(run).is_dir()


def description(plan: Plan, joints: int, known: TrainedOn, *, people: bool) -> dict[str, str]:
    """What a reader must know of a run's weights, each value as JSON.

    `joints`: J; `known`: whom and what it was trained on; `people`: name them.
    """
    recipe = plan.recipe and {**asdict(plan.recipe), 'without': sorted(plan.recipe.without)}
    found = {
        'dataset': plan.dataset,
        'task': plan.task,
        'encoding': plan.encoding,
        'features': plan.features,
        'manner': plan.manner,
        'recipe': 'modern' if plan.recipe else 'original',
        'settings': recipe,
        'precision': plan.precision,
        'length': plan.length,
        'joints': joints,
        'units': 'metres',
        'skeleton': known.skeleton and to_json(known.skeleton),
        'classes': len(known.people),
        **({'people': list(known.people)} if people else {}),
    }
    return {name: json.dumps(value) for name, value in found.items() if value is not None}


def content_of(
    plan: Plan,
    sources: list[FeatureSource],
    network: Mapping[str, np.ndarray],
    known: TrainedOn,
    options: Mapping[str, Any],
    *,
    people: bool,
    strangers: Mapping[str, Any] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A run's arrays by name and its texts.

    `network`: parameters of the recognition network; `options`: of the run; `strangers`: JSON that says where strangers
    begin for the network, None where nobody knows; the others as of `description`.
    """
    arrays = {_NETWORK + name: value for name, value in network.items()}
    inputs = {}
    for job, source in zip(plan.encoders, sources, strict=True):
        for place, axis in enumerate(AXES):
            arrays |= {_prefix(job, axis, plan.task) + name: value[place] for name, value in source.params.items()}
        if isinstance(source, ModernSource):
            inputs[job.task] = source.made.to_json()
    known_to_all = known if people else replace(known, people=tuple(range(len(known.people))))
    texts = {'options': dict(options), 'inputs': inputs, 'trained_on': known_to_all.to_json()}
    texts |= {} if strangers is None else {'strangers': strangers}
    return arrays, {
        'format': FORMAT,
        **description(plan, sources[0].joints, known, people=people),
        **{name: json.dumps(value) for name, value in texts.items()},
    }


@dataclass(frozen=True)
class RunFile:
    """A run in a file, as `features.sources.Stored`."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    metadata: Mapping[str, str]

    @classmethod
    def read(cls, path: str | Path) -> RunFile:
        """Reads a file.

        Raises UserError: it is missing, damaged, or no run of ours.
        """
        arrays, metadata = read_safetensors(path)
        _refuse_others(metadata, path)
        return cls(Path(path), arrays, metadata)

    def joints(self, job: EncoderJob) -> int:
        joints = parsed(self.metadata, 'joints', self.path)
        if type(joints) is not int or not 1 <= joints <= _MAX_JOINTS:
            raise UserError(
                f'{self.path} should say joints, 1 to {_MAX_JOINTS}, and says {joints!a:.60}; get the file again'
            )
        return joints

    def tensors(self, job: EncoderJob, axis: str) -> tuple[dict[str, np.ndarray], object]:
        prefix = _prefix(job, axis, parsed(self.metadata, 'task', self.path))
        return self._under(prefix), f'{self.path} ({prefix.rstrip("/")})'

    def inputs(self, job: EncoderJob) -> Inputs:
        inputs = parsed(self.metadata, 'inputs', self.path)
        return Inputs.from_json(inputs.get(job.task) if isinstance(inputs, dict) else None, self.path)

    def network(self, width: int) -> dict[str, np.ndarray]:
        """The recognition network on feature rows of so many values.

        Raises UserError: it is missing or does not fit.
        """
        return checkpoints.recognition_of(self._under(_NETWORK), f'{self.path} (recognition)', width).params

    def trained_on(self, classes: int, joints: int) -> TrainedOn:
        """Whom and what the run was trained on; people are class numbers where the file does not name them.

        Raises UserError: that is damaged, or does not fit the network.
        """
        return known_from_json(parsed(self.metadata, 'trained_on', self.path), classes, joints, self.path)

    def strangers(self) -> Any:
        """The JSON that `content_of` was given, None without any."""
        return parsed(self.metadata, 'strangers', self.path)

    def refuse_contradictions(self, plan: Plan, joints: int, known: TrainedOn) -> None:
        """Refuses a file with other arrays than the run has, or that describes another run than it holds.

        Raises UserError: it does.
        """
        task = parsed(self.metadata, 'task', self.path)
        prefixes = (_NETWORK, *(_prefix(job, axis, task) for job in plan.encoders for axis in AXES))
        if odd := [name for name in self.arrays if not name.startswith(prefixes)]:
            raise UserError(f'{self.path} holds {odd[0]!a:.100}, which no part of this run is called; get it again')
        for name, text in description(plan, joints, known, people=True).items():
            if name in self.metadata and json.loads(text) != parsed(self.metadata, name, self.path):
                raise UserError(
                    f'{self.path} says {name} {self.metadata[name]!a:.60}, and holds a run with {text!a:.60}; '
                    'get the file again'
                )

    def _under(self, prefix: str) -> dict[str, np.ndarray]:
        return {name[len(prefix) :]: value for name, value in self.arrays.items() if name.startswith(prefix)}


def options_of_file(path: str | Path, wanted: Iterable[str]) -> dict[str, Any]:
    """The options of the run in a file, those that are wanted.

    Raises UserError: as `RunFile.read`.
    """
    metadata = read_metadata(path)
    _refuse_others(metadata, path)
    options = parsed(metadata, 'options', path)
    if not isinstance(options, dict):
        raise UserError(f'{path} should hold the options of a run, and does not; get the file again')
    return {name: value for name, value in options.items() if name in wanted}


def _refuse_others(metadata: Mapping[str, str], path: str | Path) -> None:
    if metadata.get('format') != FORMAT:
        raise UserError(
            f'{path} should be a run as `sge-la export --format safetensors` writes it ({FORMAT}), and says '
            f'{metadata.get("format", "nothing")!a:.60}; export the run again'
        )


def _prefix(job: EncoderJob, axis: str, task: str) -> str:
    return f'{axis}/' if job.task == task else f'{job.task}/{axis}/'
