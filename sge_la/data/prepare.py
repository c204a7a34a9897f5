"""Turns raw recordings into the arrays under `Datasets/`: `python -m sge_la.data.prepare NAME --raw FOLDER`.

The way is the same for every data set: find the recordings, read them, leave out copies and what is too short, choose
what is held out, cut into sequences, write. How they were made is written beside the arrays, as `prepare.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sge_la.errors import UserError, run_command

_DESCRIPTION = """\
Cuts raw recordings into the sequences that train.py reads, under Datasets/NAME/LENGTH/.

NAME is
  KGBD      the authors' PersonNNN/K.txt; one recording of each person is held out
  DEMO      walkers simulated here and now, without --raw
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = _Parser(
        prog='python -m sge_la.data.prepare',
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument('name', metavar='NAME', help='the data set')
    where = result.add_argument_group('where')
    where.add_argument('--raw', type=Path, metavar='FOLDER', help='folder of the raw recordings')
    where.add_argument('--data_dir', type=Path, default=Path('Datasets'), metavar='FOLDER', help='default: Datasets')
    where.add_argument(
        '--layout', type=int, choices=(1, 2, 3), default=2, help='folders as in SGE-LA (1), CAGE (2), SPC-MGR (3)'
    )
    where.add_argument('--overwrite', action='store_true', help='replace arrays that another program has written')
    cutting = result.add_argument_group('cutting')
    cutting.add_argument(
        '--length', type=_whole(1), nargs='+', metavar='T', help='frames in a sequence, one or several (default: 6)'
    )
    cutting.add_argument(
        '--step', type=_whole(1), help='frames from one training sequence to the next (default: as published)'
    )
    cutting.add_argument(
        '--offsets', type=_offset, nargs='+', metavar='S', help='first frames of the training cuts, or all (T of them)'
    )
    cutting.add_argument(
        '--clip', type=_whole(0), nargs=2, metavar=('FIRST', 'LAST'), help='frames left out at both ends (KGBD: 10 10)'
    )
    cutting.add_argument('--center', metavar='JOINT', help='make this joint the origin of each frame')
    testing = result.add_argument_group('testing')
    testing.add_argument(
        '--holdout',
        default='last',
        metavar='last|random|FILE',
        help="a person's last recording (default), any, or those named in a file, one a line",
    )
    testing.add_argument('--seed', type=_whole(0), default=0, help='of all random choices (default: 0)')
    walkers = result.add_argument_group('simulated walkers')
    walkers.add_argument('--people', type=_whole(1), metavar='N', help='how many (default: 12)')
    walkers.add_argument('--recordings', type=_whole(2), metavar='N', help='walks of each (default: 5)')
    return result


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f'{message.removeprefix("argument ")}; see `{self.prog} --help`')


def _whole(least: int):
    def whole(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f'a whole number from {least} on was expected, found {text!r}')
        return int(text)

    return whole


def _offset(text: str) -> int:
    return -1 if text == 'all' else _whole(0)(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Raises:
        UserError: something that the user can put right; nothing is half-written.
    """
    options = parser().parse_args(argv)
    # Not before: the help text must not wait for NumPy.
    from sge_la.data.preparing import prepare
    from sge_la.data.recipes import RECIPES, Settings

    if options.name not in RECIPES:
        raise UserError(f"the data set '{options.name}' is unknown; known are {', '.join(RECIPES)}")
    offsets = options.offsets
    if offsets is not None:
        if -1 in offsets and len(offsets) > 1:
            raise UserError("--offsets wants 'all' alone or numbers; leave out one or the other")
        offsets = () if -1 in offsets else tuple(sorted(set(offsets)))
    settings = Settings(
        options.name,
        raw=options.raw,
        layout=options.layout,
        holdout=options.holdout if options.holdout in ('last', 'random') else _names(Path(options.holdout)),
        seed=options.seed,
        step=options.step,
        offsets=offsets,
        clip=options.clip and tuple(options.clip),
        center=options.center,
        people=options.people,
        recordings=options.recordings,
    )
    for line in prepare(settings, options.length, options.data_dir, overwrite=options.overwrite):
        print(line)
    return 0


def _names(path: Path) -> tuple[str, ...]:
    """The recordings named in a `--holdout` file."""
    from sge_la.data.raw.text import read_text

    if not path.exists():
        raise UserError(
            f"--holdout should be 'last', 'random' or a file with names of recordings; there is no file {path}"
        )
    names = tuple(dict.fromkeys(line.strip() for line in read_text(path).split('\n') if line.strip()))
    if not names:
        raise UserError(f'{path} should name the recordings to hold out, one a line, and names none; fill it in')
    return names


if __name__ == '__main__':
    sys.exit(run_command(main))
