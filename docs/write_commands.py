"""Writes docs/commands.md from what the commands themselves know: `python docs/write_commands.py`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

from sge_la.settings.options import EvaluateOptions, TrainOptions

PAGE = Path(__file__).with_name('commands.md')
# By what they are for; each module has a `main`.
COMMANDS = {
    'Train and score': ('train', 'evaluate'),
    'Data': ('sge_la.data.prepare.__main__', 'sge_la.data.check', 'sge_la.data.convert'),
    'Trained models': ('sge_la.identify', 'sge_la.export', 'sge_la.checkpoints.__main__'),
    "The papers' tables": ('sge_la.compare', 'sge_la.ablation', 'sge_la.cost'),
}
OPTIONS = {'train': TrainOptions, 'evaluate': EvaluateOptions}
HEAD = """\
# Commands and flags

Made from the commands by `python docs/write_commands.py`; `--help` says the same in the terminal. Flags of the original
keep their names, values and defaults.
"""


class _AboutToParse(Exception):
    """Carries the parser of a command out of it."""


def parser_of(module: str) -> argparse.ArgumentParser:
    """The parser that the command makes: it is started, and stopped before it parses anything."""

    def stop(parser, *_, **__):
        raise _AboutToParse(parser)

    with _replaced(argparse.ArgumentParser, 'parse_known_args', stop):
        try:
            importlib.import_module(module).main([])
        except _AboutToParse as found:
            return found.args[0]
    raise ValueError(f'{module}.main parses no arguments')


@contextlib.contextmanager
def _replaced(owner: type, name: str, function: Callable) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, before)


def page() -> str:
    """The whole page."""
    lines, rows = [HEAD], {}
    for title, modules in COMMANDS.items():
        lines += [f'## {title}\n']
        for module in modules:
            parser = parser_of(module)
            rows[module] = _rows(parser, module)
            shared = rows['train'].items() & rows[module].items() if module == 'evaluate' else set()
            lines += [*_section(parser, rows[module], dict(shared)), '']
    return '\n'.join(lines).rstrip('\n') + '\n'


def _rows(parser: argparse.ArgumentParser, module: str) -> dict[str, str]:
    """Flag → row of the table, in the order of `--help`."""
    defaults = {f'--{item.name}': item.default for item in fields(OPTIONS[module])} if module in OPTIONS else {}
    return {
        _name(action): f'| {_name(action)} | {_values(action)} | {_meaning(action, defaults)} |'
        for group in parser._action_groups
        for action in group._group_actions
        if action.dest != 'help'
    }


def _section(parser: argparse.ArgumentParser, rows: dict[str, str], shared: dict[str, str]) -> Iterator[str]:
    """A command: what it does, and its flags, but for those that it shares with train.py."""
    program = parser.prog if parser.prog.startswith('python ') else f'python {parser.prog}'
    description = ' '.join(parser.description.split('\n\n')[0].split())
    yield f'### `{program}`\n'
    description = textwrap.fill(description, 120, break_on_hyphens=False)
    yield f'{description[0].upper()}{description[1:]}\n'
    if shared:
        names = ', '.join(name for name in rows if name in shared)
        yield textwrap.fill(f'As in `python train.py`: {names}. Besides:', 120, break_on_hyphens=False) + '\n'
    own = [row for name, row in rows.items() if name not in shared]
    if own:
        yield from ('| flag | value | |', '|---|---|---|', *own)


def _name(action: argparse.Action) -> str:
    return ', '.join(f'`{flag}`' for flag in action.option_strings) or f'`{action.metavar or action.dest}`'


def _values(action: argparse.Action) -> str:
    if action.nargs == 0 or not action.option_strings:
        return ''
    if action.choices is not None:
        found = list(action.choices)
        if isinstance(action.choices, range):
            return f'{found[0]} to {found[-1]}'
        return ', '.join(f'`{choice}`' for choice in found if choice != '')
    metavar = action.metavar or action.dest.upper()
    return ' '.join(metavar) if isinstance(metavar, tuple) else ', '.join(metavar.split('|'))


def _meaning(action: argparse.Action, defaults: dict) -> str:
    text = (action.help or '').replace('|', '/')
    default = defaults.get(action.option_strings[0] if action.option_strings else '', action.default)
    told = re.search(r'\bdefault', text) or default in (None, False, '', argparse.SUPPRESS)
    return text if told else f'{text} (default: {default})'


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
