"""`python -m sge_la.checkpoints FOLDER`: tells what the checkpoints in and below a folder hold, or converts them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sge_la.checkpoints.bundle import index_file, read_bundle, write_bundle
from sge_la.checkpoints.describe import CheckpointFacts
from sge_la.checkpoints.folders import checkpoint_facts, npz_file
from sge_la.errors import UserError, run_command, say
from sge_la.files.npz import read_npz, write_npz
from sge_la.settings.names import RunName, parse_run_name
from sge_la.settings.parser import Parser

_ENDINGS = ('.index', '.ckpt.npz')


def find_checkpoints(folder: Path | str) -> list[Path]:
    """The prefixes (`.../trained_model.ckpt`) of all checkpoints in and below a folder, sorted; links are not followed.

    Raises UserError: it is no folder, or there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'expected a folder with checkpoints, and {folder} is none; check the path')
    found = set()
    for parent, _, names in os.walk(folder):
        ours = (name for name in names if name.endswith(_ENDINGS) and not name.startswith('.'))
        found |= {Path(parent) / name.removesuffix('.index').removesuffix('.npz') for name in ours}
    if not found:
        raise UserError(f'no checkpoint (*.index or *.ckpt.npz) lies in or below {folder}; train first, or check it')
    return sorted(found)


def report(prefix: Path) -> list[str]:
    """Lines that tell what one checkpoint holds.

    Raises UserError: it is damaged or none of ours.
    """
    facts = checkpoint_facts(prefix.parent, prefix.name)
    try:
        name = parse_run_name(prefix.resolve().parent.name)
        unread = ''
    except UserError:
        name = RunName(kind=_named_kind(facts), encoding='', dataset='')
        unread = 'not told by the folder name'
    rows = {'holds': _model(facts, name), 'data set': name.dataset + (f'-{name.test_set}' if name.test_set else '')}
    if facts.kind == 'recognition':
        rows |= {'manner': name.manner, 'inputs': facts.inputs}
    else:
        rows |= {'axis': name.axis, 'joints': facts.joints, 'units': facts.units}
    rows['classes'] = facts.classes
    rows |= {'length': _both(facts.length, name.length), 'attention': name.attention, 'temperature': name.temperature}
    rows |= {'task': name.task, 'view': name.view, 'suffix': name.suffix.lstrip('_')}
    if prefix.name[:2] in ('A_', 'B_'):
        rows['best on'] = f'IAS-{prefix.name[0]}'
    rows['parameters'] = f'{facts.parameters:,}'
    rows['optimizer'] = _optimizer(facts)
    shown = {key: value for key, value in rows.items() if value not in (None, '')}
    if unread:
        shown['data set'] = unread
    return [str(prefix), *(f'  {key:<12}{value}' for key, value in shown.items())]


def _model(facts: CheckpointFacts, name: RunName) -> str:
    warning = '' if name.kind == _named_kind(facts) else f' (its folder is named like that of a {name.kind} model)'
    if facts.kind == 'recognition':
        return f'recognition network{f" on {name.encoding}s" if name.encoding else ""}{warning}'
    if facts.kind == 'labelled':
        return f'gait encoder of one axis without decoder, trained with labels{warning}'
    return f'gait encoder of one axis, {"CAGE" if facts.contrastive else "AGE (no contrast head)"}{warning}'


def _named_kind(facts: CheckpointFacts) -> str:
    """The kind that a folder's name can tell."""
    return 'recognition' if facts.kind == 'recognition' else 'encoder'


def _both(found: int | None, named: int | None) -> str | int | None:
    if found is not None and named is not None and found != named:
        return f'{found} (its folder is named for {named})'
    return named if found is None else found


def _optimizer(facts: CheckpointFacts) -> str:
    if not facts.has_optimizer:
        return 'no'
    return 'Adam' if facts.step is None else f'Adam, after {facts.step:,} updates'


def convert(prefix: Path, to_bundle: bool, overwrite: bool) -> Path:
    """Writes a checkpoint in the other form beside itself, and returns the file.

    Raises UserError: the checkpoint is damaged, the other form is there already, or it cannot be written.
    """
    source, target = _source_and_target(prefix, to_bundle)
    if target.exists() and not overwrite:
        raise UserError(f'{target} is there already; add --overwrite to replace it')
    if to_bundle:
        try:
            write_bundle(prefix, read_npz(source)[0])
        except ValueError as error:
            raise UserError(f'{source} cannot become a TensorFlow bundle ({error}); check which file it is') from error
    else:
        write_npz(target, read_bundle(prefix))
    return target


def _source_and_target(prefix: Path, to_bundle: bool) -> tuple[Path, Path]:
    forms = npz_file(prefix), index_file(prefix)
    return forms if to_bundle else forms[::-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a block of lines for each checkpoint; a damaged one is named and the rest still told (exit status 2)."""
    parser = Parser('checkpoints', __doc__.partition(': ')[2])
    parser.add_argument('folder', type=Path, help='a run, or a folder of runs such as Models/')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--to-bundle', action='store_true', help='write TensorFlow bundles from .npz files, beside them')
    form.add_argument('--to-npz', action='store_true', help='write .npz files from TensorFlow bundles, beside them')
    parser.add_argument('--overwrite', action='store_true', help='replace what is there already')
    options = parser.parse_args(argv)
    prefixes = find_checkpoints(options.folder)
    if options.to_bundle or options.to_npz:
        prefixes = [prefix for prefix in prefixes if _source_and_target(prefix, options.to_bundle)[0].is_file()]
        if not prefixes:
            form = '.ckpt.npz' if options.to_bundle else '.index'
            raise UserError(f'no *{form} lies in or below {options.folder}, so there is nothing to convert')
    failed = False
    for prefix in prefixes:
        try:
            if options.to_bundle or options.to_npz:
                lines = [f'wrote {convert(prefix, options.to_bundle, options.overwrite)}']
            else:
                lines = report(prefix)
        except UserError as error:
            say(f'error: {error}', error=True)
            failed = True
        else:
            say('\n'.join(lines))
    return 2 if failed else 0


if __name__ == '__main__':
    sys.exit(run_command(main))
