"""A run's folder and the gait encoders that it needs, by options or by the folder's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sge_la.data.layout import AXES
from sge_la.errors import UserError
from sge_la.model.config import EncoderConfig
from sge_la.runs import records
from sge_la.settings import names as folder_names
from sge_la.settings.names import (
    RECOGNITION_ROOTS,
    encoder_folder,
    encoder_suffix,
    of_casia_b_suffix,
    options_of_suffix,
    parse_run_name,
    recognition_suffix,
)
from sge_la.settings.options import EvaluateOptions
from sge_la.settings.papers import DATASET, DOUBLE_PRETEXT, PLUS, ablation_row, facts


def recognition_folder(options) -> Path:
    """The run folder of the recognition network."""
    return folder_names.recognition_folder(
        options.models_dir,
        options.dataset,
        options.attention,
        options.manner,
        options.length,
        options.t,
        frozen=options.frozen,
        view=options.view,
        task=options.model,
        encoding=options.encoding,
        suffix=recognition_suffix(options),
    )


def named_folder(name: str, models_dir: Path | str) -> Path:
    """The folder that `--RN_dir` names: a path, or a name in one of the two folders of networks.

    Raises:
        UserError: there is none.
    """
    given = Path(name)
    places = [given] + [Path(models_dir) / root / given.name for root in RECOGNITION_ROOTS.values()]
    for place in places:
        if place.is_dir():
            return place
    raise UserError(
        f'--RN_dir {name} names no folder: looked for {", ".join(map(str, places))}; check the name, or --models_dir'
    )


def options_of_folder(name: str, models_dir: Path | str) -> Mapping[str, Any]:
    """What a recognition network's folder says of its run: its config.json, else its name.

    Raises:
        UserError: there is no such folder, or its name cannot be read.
    """
    folder = named_folder(name, models_dir)
    options = (records.read_config(folder) or {}).get('options')
    if isinstance(options, Mapping):
        # Where things lie is the business of this command, and the seed that of `as_trained`.
        return {key: value for key, value in options.items() if key not in ('gpu', 'data_dir', 'models_dir')}
    found = parse_run_name(folder.name)
    if found.kind != 'recognition':
        raise UserError(f'--RN_dir {name} names a gait encoder: expected the folder of a recognition network')
    names = ('dataset', 'attention', 'manner', 'length', 'frozen', 'view', 'encoding')
    known = {key: getattr(found, key) for key in names if getattr(found, key) is not None}
    if found.temperature is not None:
        known['t'] = found.temperature
    if found.dataset == DATASET:
        known |= of_casia_b_suffix(found.suffix)
    return {**known, 'best_model': found.task or 'rev_rec', **options_of_suffix(found.suffix)}


def folder_of(options: EvaluateOptions) -> Path:
    """The folder of the network that `--RN_dir`, or else all other flags, name."""
    return named_folder(options.RN_dir, options.models_dir) if options.RN_dir else recognition_folder(options)


def as_trained(options: EvaluateOptions) -> EvaluateOptions:
    """Fills in what does not show in a folder's name, from its config.json: seed and batch size."""
    config = records.read_config(folder_of(options)) or {}
    saved = {name: value for name, value in config.get('options', {}).items() if type(value) is int and value >= 0}
    seed, batch_size = saved.get('seed'), saved.get('rn_batch_size') or saved.get('batch_size')
    return replace(
        options,
        seed=(seed or 0) if options.seed is None else options.seed,
        batch_size=(batch_size or facts(options.dataset).rn_batch_size)
        if options.batch_size is None
        else options.batch_size,
    )


@dataclass(frozen=True)
class EncoderJob:
    """One gait encoder that a run needs.

    Attributes:
        task: its pretext task.
        attention: 'LA' or 'BA'; of an ablation also 'MBA' or 'none'.
        config: the model's.
        folders: where x, y and z are kept.
        labelled: an encoder alone, trained with labels (the ablation's first row).
        permute_train_only: published rev_rec_plus: the third time only training inputs are permuted.
    """

    task: str
    attention: str
    config: EncoderConfig
    folders: dict[str, Path]
    labelled: bool = False
    permute_train_only: bool = False


def encoder_jobs(options, joints: int) -> list[EncoderJob]:
    """The encoders whose features are joined: one, or for rev_rec_plus three (with `--double_pretext` two of them).

    `--faithful` gives what was published as rev_rec_plus: the rev_rec encoder three times, the third time with
    permuted training inputs.
    """
    if options.model != PLUS:
        return [_job(options, options.model, options.attention, joints)]
    if options.faithful:
        first = _job(options, 'rev_rec', 'LA', joints)
        jobs = [first, first, replace(first, permute_train_only=True)]
    else:
        jobs = [
            _job(options, task, attention, joints)
            for task, attention in (('rev_rec', 'LA'), ('prediction', 'BA'), ('sorting', 'BA'))
        ]
    return [jobs[place] for place in DOUBLE_PRETEXT[options.double_pretext]]


def _job(options, task: str, attention: str, joints: int) -> EncoderJob:
    row = ablation_row(options.ablation) if options.ablation else None
    config = EncoderConfig(
        length=options.length,
        joints=joints,
        attention=attention,
        reverse=row is None or row.reverse,
        contrastive=options.encoding == 'CAGE',
        temperature=options.t,
        detach_contrast=bool(options.frozen),
        precision=options.precision,
    )
    source = options.transfer or options.dataset
    names = {'frozen': options.frozen, 'view': options.view, 'task': task, 'encoding': options.encoding}
    suffix = encoder_suffix(options, task)
    folders = {
        axis: encoder_folder(
            options.models_dir, source, attention, axis, options.length, options.t, suffix=suffix, **names
        )
        for axis in AXES
    }
    return EncoderJob(task, attention, config, folders, labelled=row is not None and row.labelled)
