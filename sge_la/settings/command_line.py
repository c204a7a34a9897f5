"""From a command line to options: parsing, config.json and `--RN_dir`.

A value that the user typed is never changed: defaults < the data set's < `--config` or `--RN_dir` < typed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sge_la.errors import UserError, words_of
from sge_la.settings.options import EvaluateOptions, TrainOptions
from sge_la.settings.papers import PLUS
from sge_la.settings.parser import options_parser
from sge_la.settings.recipe import MODERN
from sge_la.settings.rules import resolve


def _parse(
    options: type, command: str, description: str, argv: Sequence[str] | None, of_folder: Callable | None = None
):
    typed = vars(options_parser(options, command, description).parse_args(argv))
    found: dict[str, Any] = {}
    if typed.get('config'):
        found = _read_config(typed['config'], options)
        if options is EvaluateOptions and Path(typed['config']).name == 'config.json':
            folder = Path(typed['config']).resolve().parent
            if _models_around(folder):
                typed.setdefault('RN_dir', str(folder))
    if of_folder and typed.get('RN_dir'):
        typed = {**_models_around(Path(typed['RN_dir'])), **typed}
        saved = of_folder(typed['RN_dir'], {**found, **typed}.get('models_dir', options.models_dir))
        found |= _as_typed(saved, options, f'--RN_dir {typed["RN_dir"]}')
        _refuse_contradictions(typed, found, options)
    return options(**{**found, **typed}), frozenset(found) | frozenset(typed)


def _models_around(folder: Path) -> dict[str, str]:
    """The models that a run's folder lies among: where to look for its encoders, unless something else was typed."""
    folder = folder.resolve()
    return {'models_dir': str(folder.parent.parent)} if folder.parent.name.endswith('RN_models') else {}


def parse_train(argv: Sequence[str] | None = None) -> TrainOptions:
    """Flags of train.py → checked and resolved options.

    Raises UserError: a value that is unknown or impossible, or a combination that means nothing.
    """
    return checked(*_parse(TrainOptions, 'train', 'Train gait encoders and a recognition network.', argv))


def checked(options: TrainOptions, typed: Collection[str]) -> TrainOptions:
    """Options of train.py as they were read, checked and resolved; `typed` are the names of those that were typed.

    Raises UserError: as `parse_train`.
    """
    if options.tensorboard and find_spec('tensorboard') is None:
        raise UserError(
            '--tensorboard needs the package tensorboard, which is not installed: pip install tensorboard, '
            'or leave the flag out'
        )
    return resolve(options, frozenset(typed))


def parse_evaluate(
    argv: Sequence[str] | None = None, of_folder: Callable[[str, str], Mapping[str, Any]] | None = None
) -> EvaluateOptions:
    """Flags of evaluate.py → checked and resolved options.

    `argv`: arguments without the program's name; `of_folder`: `(--RN_dir, --models_dir) -> options` of the run in that
    folder, which count as if they were typed. Raises UserError: as `parse_train`, or a typed flag contradicts the
    folder's run.
    """
    description = 'Score a trained recognition network.'
    return resolve(*_parse(EvaluateOptions, 'evaluate', description, argv, of_folder))


def _read_config(path: str, options: type) -> dict[str, Any]:
    """The options of a run from its config.json, each checked as if it had been typed."""
    from sge_la.files.text import read_json

    content = read_json(Path(path))
    saved = content.get('options', content) if isinstance(content, dict) else None
    if not isinstance(saved, dict):
        raise UserError(
            f"{path}: expected the options of a run, as in a run folder's config.json, found {type(content).__name__}"
        )
    return _as_typed(saved, options, path)


# Options of a run that are no wish for the next one, or say where things lay for whoever made the file.
_OF_ONE_RUN_ALONE = (
    *('config', 'overwrite', 'resume', 'RN_dir', 'runs', 'figures', 'tensorboard', 'report', 'save_features'),
    *('data_dir', 'models_dir', 'backend', 'recheck', 'verbose', 'together', 'devices'),
)


def _as_typed(saved: Mapping[str, Any], options: type, where: str) -> dict[str, Any]:
    """The options of a run as parsing them from a command line gives them; those of other commands are left out."""
    saved = dict(saved)
    command, ours, theirs = 'train', 'model', 'best_model'
    if options is EvaluateOptions:
        command, ours, theirs = 'evaluate', 'best_model', 'model'
        if saved.get('rn_batch_size'):
            saved['batch_size'] = saved.pop('rn_batch_size')  # the encoders' batch scores nothing
    if theirs in saved:
        saved[ours] = saved.pop(theirs)
    if saved.get('ablation') or PLUS in (saved.get('model'), saved.get('best_model')):
        saved.pop('attention', None)  # these have their own, which cannot be typed
    if saved.get('ablation'):
        saved.pop('encoding', None)
    if saved.get('recipe') == MODERN:  # its network has the encoders' epochs, whatever these are
        saved.pop('rn_epochs', None)
    known = {item.name: item for item in fields(options) if item.name not in _OF_ONE_RUN_ALONE}
    words = []
    for name, value in saved.items():
        if name not in known or value is None:
            continue
        if isinstance(known[name].default, bool):
            if not isinstance(value, bool):
                raise UserError(f'{where}: {name} should be true or false, found {value!r}; repair or delete it')
            words += [f'--{name}'] * value
        else:
            words.append(f'--{name}={value}')  # one word: whoever wrote the file must not type flags of their own
    try:
        return vars(options_parser(options, command, '').parse_args(words))
    except UserError as error:
        raise UserError(f'{where}: {error}') from error


# Options that a run's result does not depend on, and those that tell which part of a training was asked for.
_NO_WISH = frozenset({'gpu', 'train_flag'})


def flags_again(saved: Mapping[str, Any], where: str) -> list[str]:
    """The fewest flags with which train.py makes a run again, its folders included.

    `saved`: the options in the run's config.json; `where`: what they are called in errors. Raises UserError: one of
    them is none.
    """
    typed = {name: value for name, value in _as_typed(saved, TrainOptions, where).items() if name not in _NO_WISH}
    wanted = resolve(TrainOptions(**typed), frozenset(typed))
    for name in [name for name in typed if name != 'dataset']:
        fewer = {other: value for other, value in typed.items() if other != name}
        with contextlib.suppress(UserError):
            typed = fewer if resolve(TrainOptions(**fewer), frozenset(fewer)) == wanted else typed
    folders = {name: saved[name] for name in ('data_dir', 'models_dir') if name in saved}
    typed |= {name: value for name, value in folders.items() if value != getattr(TrainOptions, name)}
    return words_of(typed)


# What a folder's run fixes; the others (--seed, --faithful, --gpu, ...) may be typed beside --RN_dir.
_FIXED_BY_FOLDER = (
    *('dataset', 'attention', 'manner', 'length', 't', 'view', 'transfer', 'frozen', 'c_reid', 'encoding', 'select'),
    *('best_model', 'ablation', 'norm', 'double_pretext', 'probe_type', 'recipe', 'without', 'supervised', 'precision'),
    'unknown',
)
# All that what a trained run answers depends on.
OF_A_RUN = (*_FIXED_BY_FOLDER, 'protocol', 'faithful', 'seed', 'by_seed', 'batch_size')


def _refuse_contradictions(typed: Mapping[str, Any], found: Mapping[str, Any], options: type) -> None:
    for name in _FIXED_BY_FOLDER:
        there = found.get(name, getattr(options, name))
        if name == 'unknown' and there is None and typed.get('protocol') == 'openset':
            continue  # of those whom the run was trained on, which is said
        if name in typed and typed[name] != there:
            raise UserError(
                f'--{name} {typed[name]} contradicts --RN_dir {typed["RN_dir"]}, a run with {name} {there}: '
                'leave out one of the two'
            )
