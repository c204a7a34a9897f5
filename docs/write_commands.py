"""Writes docs/commands.md from what the commands themselves know: `python docs/write_commands.py`."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from sge_la.__main__ import COMMANDS

PAGE = Path(__file__).with_name('commands.md')
GROUPS = {
    'See it at work': ('demo',),
    'Train and score': ('train', 'evaluate', 'sweep'),
    'Data': ('prepare', 'check', 'audit', 'convert'),
    'Trained models': ('identify', 'gallery', 'export', 'checkpoints'),
    "The papers' tables": ('compare', 'ablation', 'cost'),
}
HEAD = """\
# Commands and flags

Made from the commands by `python docs/write_commands.py`; `--help` says the same in the terminal. `pip install .` gives
the command `sge-la`; without it, or in the clone, the second name of each command does the same. Flags of the original
keep their names, values and defaults.
"""


class _AboutToParse(Exception):
    """Carries the parser of a command out of it."""


def parser_of(main: Callable) -> argparse.ArgumentParser:
    """The parser that a command makes: it is started, and stopped before it parses anything."""

    def stop(parser, *_, **__):
        raise _AboutToParse(parser)

    with _replaced(argparse.ArgumentParser, 'parse_known_args', stop):
        try:
            main([])
        except _AboutToParse as found:
            return found.args[0]
    raise ValueError(f'{main.__module__} parses no arguments')


def main_of(command: str) -> Callable:
    """What `sge-la COMMAND` calls with the further arguments."""
    module, _, function = COMMANDS[command][0].partition(':')
    return getattr(importlib.import_module(module), function)


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
    for title, commands in GROUPS.items():
        lines += [f'## {title}\n']
        for command in commands:
            parser = parser_of(main_of(command))
            rows[command] = _rows(parser)
            shared = rows['train'].items() & rows[command].items() if command in ('evaluate', 'sweep') else set()
            lines += [*_section(command, parser, rows[command], dict(shared)), '']
    return '\n'.join(lines).rstrip('\n') + '\n'


def _rows(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Flag → row of the table, in the order of `--help`."""
    return {
        _name(action): f'| {_name(action)} | {_values(action)} | {_meaning(action)} |'
        for group in parser._action_groups
        for action in group._group_actions
        if action.dest != 'help'
    }


def _section(
    command: str, parser: argparse.ArgumentParser, rows: dict[str, str], shared: dict[str, str]
) -> Iterator[str]:
    """A command: what it does, and its flags, but for those that it shares with train."""
    module = parser.prog if parser.prog.startswith('python ') else f'python {parser.prog}'
    description = ' '.join(parser.description.split('\n\n')[0].split())
    yield f'### {command}\n'
    yield f'`sge-la {command}` or `{module}`\n'
    yield _filled(f'{description[0].upper()}{description[1:]}') + '\n'
    if shared:
        yield _filled(f'As in `train`: {", ".join(name for name in rows if name in shared)}. Besides:') + '\n'
    own = [row for name, row in rows.items() if name not in shared]
    if own:
        yield from ('| flag | value | |', '|---|---|---|', *own)


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


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


def _meaning(action: argparse.Action) -> str:
    text = (action.help or '').replace('|', '/')
    told = re.search(r'\bdefault', text) or action.default in (None, False, '', argparse.SUPPRESS)
    return text if told else f'{text} (default {action.default})'


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
