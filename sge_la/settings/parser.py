"""The argument parsers. Nothing heavy is imported, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import fields
from pathlib import Path

from sge_la.errors import UserError, program


class Parser(argparse.ArgumentParser):
    """Tells a mistake in the arguments in one sentence, like every other mistake."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=program(command),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> None:
        hint = _did_you_mean(message, [flag for action in self._actions for flag in action.option_strings])
        raise UserError(f'{message.removeprefix("argument ")}{hint}; see `{self.prog} --help`')

    def add_dataset(self) -> None:
        """Adds the arguments that name a data set: NAME, --length, --data_dir, --view."""
        self.add_argument('name', metavar='NAME', help='the data set, such as BIWI, or a name of your own')
        self.add_argument('--length', type=int, default=6, metavar='T', help='frames in a sequence (default: 6)')
        self.add_argument('--data_dir', type=Path, default=Path('Datasets'), metavar='FOLDER', help='default: Datasets')
        self.add_argument(
            '--view',
            type=int,
            choices=range(11),
            help='one of the views of KS20, 0 to 4 (default: the random split), or of CASIA_B, 0 to 10',
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' where a known name is near, whatever its case, else ''."""
    by_fold = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_fold, 1, 0.6)
    return f' (did you mean {by_fold[near[0]]}?)' if near else ''


def _did_you_mean(message: str, flags: Iterable[str]) -> str:
    unknown = re.match(r'unrecognized arguments: --([\w-]+)', message)
    return did_you_mean('--' + unknown[1].replace('-', '_'), flags) if unknown else ''


def options_parser(
    options: type, command: str, description: str, *, several: bool = False, without: Collection[str] = ()
) -> argparse.ArgumentParser:
    """The parser of a command whose flags are the fields of `options`; what was not typed is left out.

    `several`: a flag with a value takes any number of them, and gives a list; `without`: fields that are no flags here.
    """
    parser = Parser(command, description)
    parser.usage = '%(prog)s [--FLAG VALUE ...]'
    groups = {name: parser.add_argument_group(name) for name in ('common', 'method', 'machine')}
    number = {'nargs': '+'} if several else {}
    for item in (item for item in fields(options) if item.name not in without):
        meta = dict(item.metadata)
        group, kind = groups[meta['group']], meta['type']
        settings = {'help': _help(item), 'default': argparse.SUPPRESS}
        if kind is bool:
            group.add_argument(f'--{item.name}', action='store_true', **settings)
        else:
            settings |= {'type': kind, 'choices': meta['choices'], 'metavar': _metavar(item), **number}
            group.add_argument(f'--{item.name}', **settings)
    return parser


def _help(item) -> str:
    text, default = item.metadata['help'], item.default
    return (
        text
        if 'default' in text or default is None or default is False or default == ''
        else f'{text} (default {default})'
    )


def _metavar(item) -> str:
    choices = item.metadata['choices']
    return '|'.join(map(str, choices)) if choices else item.name.upper()
