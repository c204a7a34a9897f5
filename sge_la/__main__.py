"""The command `sge-la`, also called as `python -m sge_la`: one word says what to do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from sge_la import __version__
from sge_la.errors import UserError, run_command, say
from sge_la.settings.parser import did_you_mean

# Each command: where it lies, and what it does.
COMMANDS = {
    'demo': ('sge_la.commands:demo', 'simulate walkers, train, and name one: about a minute, no data needed'),
    'prepare': ('sge_la.data.prepare.__main__:main', 'turn raw recordings, yours too, into a data set'),
    'check': ('sge_la.data.check:main', 'look through a data set and say what is wrong with it'),
    'audit': ('sge_la.reporting.audit:main', 'tell what of a data set or of its scores cannot be trusted'),
    'train': ('sge_la.commands:train', 'train gait encoders and a recognition network, then score them'),
    'evaluate': ('sge_la.commands:evaluate', 'score a trained run, match gallery and probe, draw figures'),
    'sweep': ('sge_la.sweep.__main__:main', 'train and score many runs, here or on a cluster, and table them'),
    'identify': ('sge_la.identify:main', 'name the person of new recordings'),
    'gallery': ('sge_la.enrol.__main__:main', 'enrol people without training, for identify --gallery'),
    'export': ('sge_la.export:main', 'write a trained run for use without this code'),
    'checkpoints': ('sge_la.checkpoints.__main__:main', 'tell what checkpoints hold, or convert them'),
    'convert': ('sge_la.data.convert:main', 'write a data set in another layout or joint order'),
    'compare': ('sge_la.paper.comparison:main', "the paper's comparison table with our numbers"),
    'ablation': ('sge_la.paper.ablation:main', "the paper's ablation table with our numbers"),
    'cost': ('sge_la.paper.cost:main', 'size and cost of the models'),
}


def main(argv: Sequence[str] | None = None) -> int | None:
    """Runs the command that the first argument names on the others.

    Raises UserError: there is no such command.
    """
    command, *rest = (sys.argv[1:] if argv is None else [*argv]) or ['--help']
    if command in ('--help', '-h', 'help'):
        say(_help())
    elif command == '--version':
        say(f'sge-la {__version__}')
    elif command in COMMANDS:
        module, _, function = COMMANDS[command][0].partition(':')
        return getattr(importlib.import_module(module), function)(rest)
    else:
        raise UserError(f'there is no command {command!r}{did_you_mean(command, COMMANDS)}; see `sge-la --help`')
    return None


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = (f'  {name:{width}}  {what}' for name, (_, what) in COMMANDS.items())
    return '\n'.join(['usage: sge-la COMMAND ...', '', *lines, '', '`sge-la COMMAND --help` says more of each.'])


def run() -> int:
    """The installed program: returns its exit status."""
    return run_command(main)


if __name__ == '__main__':
    sys.exit(run())
