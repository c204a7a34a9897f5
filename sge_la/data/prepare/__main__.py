"""Turns raw recordings into the arrays under `Datasets/`: `python -m sge_la.data.prepare NAME --raw FOLDER`.

The way is the same for every data set: find the recordings, read them, leave out copies and what is too short, choose
what is held out, cut into sequences, write. How they were made is written beside the arrays, as `prepare.json`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sge_la.data.layout import LONGEST
from sge_la.errors import UserError, run_command, say, typed
from sge_la.settings.papers import CME, CONDITION_MATCHING, CVE, DATASET, LENGTHS
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.data.prepare.settings import Settings
    from sge_la.data.prepare.split_file import SplitFile

_DESCRIPTION = """\
Cuts raw recordings into the sequences that train.py reads, under Datasets/NAME/LENGTH/.

NAME      --raw FOLDER holds                              tested on
BIWI      Training/NNN, Testing/{Still,Walking}/NNN       Walking (layout 3: and Still)
IAS       {Training,TestingA,TestingB}/<person>           TestingA and TestingB
KGBD      PersonNNN/K.txt                                 one recording a person
KS20      <view>/gcN_bodyN_<time>...txt                   one take a person; and each view
CASIA_B   001-nm-01-090.txt, 14 joints; or --simulate     each view (CVE); half of the people (CME)
DEMO      nothing, walkers are simulated                  one recording a person
another   recordings.csv and .csv or .npy (--skeleton)   as recordings.csv says, or one recording a person

A recording that repeats another is left out. What was done is written to prepare.json beside the training arrays.
"""

# People, and walks of one, that are simulated at most: more fill a disk by a slip of the finger.
_MOST = 10_000


def parser() -> Parser:
    """The command line."""
    result = Parser('prepare', _DESCRIPTION)
    result.add_argument('name', metavar='NAME', help='the data set')
    where = result.add_argument_group('where')
    where.add_argument('--raw', type=Path, metavar='FOLDER', help='folder of the raw recordings')
    where.add_argument('--data_dir', type=Path, default=Path('Datasets'), metavar='FOLDER', help='default: Datasets')
    where.add_argument(
        '--layout',
        type=int,
        choices=(1, 2, 3),
        default=2,
        help='folders as in SGE-LA (1), CAGE (2, default), SPC-MGR (3)',
    )
    where.add_argument('--overwrite', action='store_true', help='replace arrays that this command has not written')
    joints = result.add_argument_group('joints of your own recordings')
    joints.add_argument(
        '--skeleton',
        metavar='NAME',
        help='instead of skeleton.json: kinect_v1, kinect_v2, azure_kinect, ntu, coco_17, mediapipe_33, openpose_25, '
        'smpl_24, kgbd, casia_b',
    )
    joints.add_argument('--leave_out', nargs='+', metavar='JOINT', help='joints of the skeleton that are not used')
    joints.add_argument('--units', choices=('m', 'cm', 'mm'), help='of the coordinates (default: as skeleton.json, m)')
    joints.add_argument(
        '--up', metavar='AXIS', help='where the head is: y, =-y, x, =-x, z, =-z (default: as skeleton.json, y)'
    )
    _add_cutting(result)
    _add_tracking(result)
    _add_testing(result)
    people = result.add_argument_group('people')
    people.add_argument(
        '--people',
        type=_whole(2, _MOST),
        metavar='N',
        help='walkers to simulate (default: 12); BIWI: 28, the tested ones, or 50',
    )
    people.add_argument(
        '--recordings', type=_whole(2, _MOST), metavar='N', help='DEMO: walks of each walker (default: 5)'
    )
    people.add_argument('--simulate', action='store_true', help='CASIA_B: simulate walks with views, bag and coat')
    return result


def _add_cutting(result: Parser) -> None:
    cutting = result.add_argument_group('cutting')
    cutting.add_argument(
        '--length',
        type=_whole(2, LONGEST),
        nargs='+',
        metavar='T',
        help='frames in a sequence, one or several (default: 6; CASIA_B 20 and 50)',
    )
    cutting.add_argument(
        '--step',
        type=_whole(1),
        metavar='S',
        help='frames from one training sequence to the next (default: T; BIWI, IAS, KS20: T // 2)',
    )
    cutting.add_argument(
        '--offsets',
        type=_offset,
        nargs='+',
        metavar='F',
        help="first frames of the training cuts, or 'all' for 0 to T - 1 (default: 0; BIWI, IAS, KS20: all)",
    )
    cutting.add_argument(
        '--clip',
        type=_whole(0),
        nargs=2,
        metavar=('FIRST', 'LAST'),
        help='frames left out at both ends (default: 0 0; KGBD, BIWI, IAS: 10 10; IAS Training: 10 0)',
    )
    cutting.add_argument('--center', metavar='JOINT', help='make this joint the origin of every frame (default: none)')
    cutting.add_argument(
        '--unit_size',
        action='store_true',
        help='take heights, bone lengths and places away: the root is the origin, and every bone 0.2 m long',
    )


def _add_tracking(result: Parser) -> None:
    tracking = result.add_argument_group('tracking')
    tracking.add_argument(
        '--lost',
        choices=('drop', 'interpolate', 'keep'),
        help='frames with a lost joint (at the origin, at -1, NaN): leave them out (default), fill short gaps, or keep '
        'them (default of KGBD); no sequence crosses a frame that is left out',
    )
    tracking.add_argument(
        '--max_gap', type=_whole(1), metavar='N', help='frames that --lost interpolate fills at most (default: 5)'
    )
    tracking.add_argument(
        '--accept',
        action='store_true',
        help='go on with what looks like a mistake: two units or upright directions in one set, one walk under two '
        'names (the second is left out)',
    )


def _add_testing(result: Parser) -> None:
    testing = result.add_argument_group('testing')
    testing.add_argument(
        '--holdout',
        type=_holdout,
        metavar='RULE|FILE',
        help="a person's first, middle, last (default) recording, or a random one by --seed; or those named in a file, "
        'one a line; or, which leaks, the last fifth of every recording (tail:0.2) or random sequences (windows:0.2)',
    )
    testing.add_argument(
        '--split', type=Path, metavar='FILE', help='the split.json that an earlier prepare wrote: its choices again'
    )
    testing.add_argument(
        '--keep_copies', action='store_true', help='keep recordings that repeat another of the same person'
    )
    testing.add_argument('--seed', type=_whole(0), metavar='N', help='of all random choices (default: 0)')
    testing.add_argument(
        '--view', type=_whole(0), nargs='+', metavar='V', help='KS20, CASIA_B: the views to test on (default: all)'
    )
    testing.add_argument(
        '--protocol', choices=('CVE', 'CME'), help='CASIA_B: cross-view or condition matching (default: both)'
    )


def _whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text[:12]) <= most:
            span = f'from {least} on' if most == 2**31 - 1 else f'from {least} to {most}'
            raise argparse.ArgumentTypeError(f'a whole number {span} was expected, found {text!r}')
        return int(text)

    return whole


def _holdout(text: str) -> str:
    kind, colon, share = text.partition(':')
    if kind not in ('tail', 'windows') or not colon:
        return text
    if not re.fullmatch(r'0?\.\d{1,6}', share) or not 0 < float(share) < 1:
        raise argparse.ArgumentTypeError(f'{kind}: and a share such as {kind}:0.2 was expected, found {text!r}')
    return text


def _offset(text: str) -> int:
    return -1 if text == 'all' else _whole(0)(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    `argv`: arguments without the program's name; None: those of the process. Raises UserError: something that the user
    can put right; nothing is half-written.
    """
    options = parser().parse_args(argv)
    # Not before: the help text must not wait for NumPy.
    from sge_la.data.prepare.split_file import read_split
    from sge_la.data.prepare.steps import prepare

    split = None
    if options.split is not None:
        if options.holdout is not None or options.seed is not None:
            raise UserError('--split has the choices that --holdout and --seed would make; leave out one or the other')
        split = read_split(options.split, options.name)
        again = parser().parse_args([options.name, *split.flags])
        before = _settings(again, split.holdout)
        # What was typed goes before what the file says.
        options = parser().parse_args(argv, again)
        if options.lost != 'interpolate' and options.max_gap == before.max_gap:
            options.max_gap = None  # the file's, for what it did about lost joints
        settings = _settings(options, split.holdout)
        split = replace(split, alike=replace(settings, raw=None, accept=False) == before)
        options.length = options.length or [split.length]
    else:
        settings = _settings(options)
    for line in prepare(settings, options.length, options.data_dir, overwrite=options.overwrite, kept=split):
        say(line)
    say(f'Next: {_next(options, split)}')
    return 0


def _settings(options: argparse.Namespace, holdout: str | tuple[str, ...] | None = None) -> Settings:
    """What was typed; `holdout`: the rule of a split that was made earlier, else None."""
    from sge_la.data.prepare.settings import Settings

    return Settings(
        options.name,
        raw=options.raw,
        layout=options.layout,
        holdout=holdout or _rule(options.holdout),
        seed=(options.seed or 0) if holdout else _seed(options),
        step=options.step,
        offsets=_offsets(options.offsets),
        clip=options.clip and tuple(options.clip),
        center=options.center,
        people=options.people,
        recordings=options.recordings,
        views=options.view and tuple(dict.fromkeys(options.view)),
        protocols=options.protocol and (options.protocol,),
        simulate=options.simulate,
        skeleton=options.skeleton,
        leave_out=options.leave_out and tuple(options.leave_out),
        keep_copies=options.keep_copies,
        accept=options.accept,
        units=options.units,
        up=options.up,
        unit_size=options.unit_size,
        lost=options.lost,
        max_gap=options.max_gap,
    )


def _next(options: argparse.Namespace, split: SplitFile | None) -> str:
    """The command that checks what was prepared, or the first of it."""
    kind = CME if split is not None and split.open_set else CVE
    protocol = (options.protocol or kind) if options.name == DATASET else None
    view = split.view if split is not None else (options.view or [0])[0]
    lengths = options.length or [LENGTHS.get(protocol, 6)]
    return typed(
        'check',
        CONDITION_MATCHING if protocol == CME else options.name,
        length=None if 6 in lengths else lengths[0],
        view=view if protocol == CVE else None,
        data_dir=None if options.data_dir == Path('Datasets') else options.data_dir,
    )


def _seed(options: argparse.Namespace) -> int:
    if options.seed is None:
        return 0
    drawn = options.holdout == 'random' or (options.holdout or '').startswith('windows:')
    if not drawn and options.name != 'DEMO' and not options.simulate:
        raise UserError(
            f'--seed changes nothing of {options.name} with this --holdout: leave it out, or give --holdout random'
        )
    return options.seed


def _offsets(typed: list[int] | None) -> tuple[int, ...] | None:
    if typed is None:
        return None
    if -1 in typed and len(typed) > 1:
        raise UserError("--offsets wants 'all' alone, or numbers; leave out one or the other")
    return () if -1 in typed else tuple(sorted(set(typed)))


def _rule(typed: str | None) -> str | tuple[str, ...] | None:
    """What is held out: a rule, or the names in a file."""
    if typed in (None, 'first', 'middle', 'last', 'random') or typed.startswith(('tail:', 'windows:')):
        return typed
    from sge_la.data.raw.text import read_text

    path = Path(typed)
    if not path.exists():
        raise UserError(
            "--holdout should be 'first', 'middle', 'last', 'random', 'tail:0.2', 'windows:0.2' or a file with "
            f'names of recordings, and there is no file {path}'
        )
    names = tuple(dict.fromkeys(line.strip() for line in read_text(path).split('\n') if line.strip()))
    if not names:
        raise UserError(f'{path} should name the recordings to hold out, one a line, and names none; fill it in')
    return names


if __name__ == '__main__':
    sys.exit(run_command(main))
