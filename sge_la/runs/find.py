"""Finds a trained recognition network by the name of its folder, and what that folder says of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sge_la.errors import UserError
from sge_la.runs import records
from sge_la.settings import names
from sge_la.settings.options import EvaluateOptions
from sge_la.settings.papers import DATASET, facts
from sge_la.settings.parser import did_you_mean


def recognition_folder(options) -> Path:
    """The run folder of the recognition network that these options train."""
    name = names.RunName(
        'recognition',
        options.encoding,
        options.dataset,
        attention=options.attention,
        manner=options.manner,
        length=options.length,
        temperature=options.t,
        frozen=options.frozen,
        view=options.view,
        task=options.model,
        suffix=names.recognition_suffix(options),
    )
    return name.folder(options.models_dir)


def named_folder(name: str, models_dir: Path | str, flag: str = '--RN_dir') -> Path:
    """The folder that a flag names: a path, or a name in one of the two folders of networks.

    Raises UserError: there is none.
    """
    given = Path(name)
    places = [given]
    if len(given.parts) == 1:  # another path must not lead to a run that is called alike
        places += [Path(models_dir) / root / given for root in names.RECOGNITION_ROOTS.values()]
    for place in places:
        if place.is_dir():
            return place.resolve() if place.name in ('', '..') else place
    if given.is_file():
        raise UserError(
            f'{flag} {name} should be the folder of a run, and is a file: an exported run holds no test features and '
            'no results; name the folder that it was exported from (identify and sge_la.load read the file itself)'
        )
    looked = ', '.join(str(place.absolute()) for place in places)
    raise UserError(f'{flag} {name} names no folder: looked for {looked}; {_there(given.name, models_dir)}')


def refuse_missing(options: EvaluateOptions) -> None:
    """Refuses a run that is not there, before a backend is started.

    Raises UserError: neither its folder nor, of IAS, those of the authors are there.
    """
    folder = folder_of(options)
    published = [folder.with_name(folder.name.replace('IAS_', f'IAS-{test}_', 1)) for test in 'AB']
    if not any(place.is_dir() for place in (folder, *(published if options.dataset == 'IAS' else []))):
        raise UserError(
            f'{folder.absolute()} should hold a trained recognition network, and there is none; train it with '
            f'train.py and the same flags, or name another with --RN_dir; {_there(folder.name, options.models_dir)}'
        )


def _there(name: str, models_dir: Path | str) -> str:
    """What runs there are, and the one whose name is near."""
    roots = [Path(models_dir) / root for root in names.RECOGNITION_ROOTS.values()]
    runs = sorted(path.name for root in roots if root.is_dir() for path in root.iterdir() if path.is_dir())
    if not runs:
        return f'no run is in {Path(models_dir).absolute()}; check --models_dir'
    more = f' and {len(runs) - 5} more' if len(runs) > 5 else ''
    return f'there are {", ".join(runs[:5])}{more}{did_you_mean(name, runs)}'


def folder_of(options: EvaluateOptions) -> Path:
    """The folder of the network that `--RN_dir`, or else all other flags, name."""
    return named_folder(options.RN_dir, options.models_dir) if options.RN_dir else recognition_folder(options)


def options_of_folder(name: str, models_dir: Path | str) -> Mapping[str, Any]:
    """What a recognition network's folder says of its run: its config.json, else its name.

    Raises UserError: there is no such folder, or its name cannot be read.
    """
    folder = named_folder(name, models_dir)
    options = (records.read_config(folder) or {}).get('options')
    if isinstance(options, Mapping):
        # Where things lie is the business of this command, and the seed that of `as_trained`.
        return {key: value for key, value in options.items() if key not in ('gpu', 'backend', 'data_dir', 'models_dir')}
    found = names.parse_run_name(folder.name)
    if found.kind != 'recognition':
        raise UserError(f'--RN_dir {name} names a gait encoder: expected the folder of a recognition network')
    told = ('dataset', 'attention', 'manner', 'length', 'frozen', 'view', 'encoding')
    known = {key: getattr(found, key) for key in told if getattr(found, key) is not None}
    if found.temperature is not None:
        known['t'] = found.temperature
    if found.dataset == DATASET:
        known |= names.of_casia_b_suffix(found.suffix)
    return {**known, 'best_model': found.task or 'rev_rec', **names.options_of_suffix(found.suffix)}


def as_trained(options: EvaluateOptions) -> EvaluateOptions:
    """Fills in what does not show in a folder's name, from its config.json: seed and batch size."""
    config = records.read_config(folder_of(options)) or {}
    saved = {name: value for name, value in config.get('options', {}).items() if type(value) is int and value >= 0}
    usual = saved.get('rn_batch_size') or saved.get('batch_size') or facts(options.dataset).rn_batch_size
    seed = saved.get('seed', 0)
    if options.unknown is not None and config and options.seed not in (None, seed):
        raise UserError(
            f'--seed {options.seed} draws other unknown people than seed {seed}, with which the run was trained: leave '
            'out --seed'
        )
    return replace(
        options,
        seed=seed if options.seed is None else options.seed,
        batch_size=usual if options.batch_size is None else options.batch_size,
    )


def unknown_to(options: EvaluateOptions) -> float | None:
    """The share of people whom a run was trained without, None for nobody.

    Without `--RN_dir` that of the other flags, if such a run is there.
    """
    if options.RN_dir:
        return options_of_folder(options.RN_dir, options.models_dir).get('unknown')
    return options.unknown if recognition_folder(options).is_dir() else None
