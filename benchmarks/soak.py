"""Kills a small training at random moments, goes on with the same command, and compares the end with a quiet run's.

`python -m benchmarks.soak --minutes 20`: simulated walkers are prepared and trained on once without a disturbance. Then
round after round the same `train.py` is killed (SIGKILL), terminated (SIGTERM) or interrupted (SIGINT, as by Ctrl-C) at
random moments, and started again until it ends by itself. Nothing may be lost: every checkpoint, feature file and
curve has the bytes of the quiet run, nothing is left over, and no life repeats more than one epoch. `--slow_disk 2`
lets every state take two seconds more to be written, so that signals meet states that are half-way.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from sge_la.data.prepare import main as prepare
from sge_la.errors import UserError, run_command

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 8  # of each stage
# What a process ends with that was sent a signal: as `run_command` says, or as Python does before it comes so far.
STATUS = {signal.SIGKILL: {-9}, signal.SIGTERM: {143, -15}, signal.SIGINT: {130, -2}}
LAST_WORDS = ' ## Training Recognition Network'  # before work begins
EARLY, START_UP = 0.15, 5.0  # every so many signals come within so many seconds of the start
STUCK = 900.0  # seconds


# train.py in a process where every state takes so many seconds more.
SLOWLY = """
import sys, time
import train
from sge_la.errors import run_command
from sge_la.runs import states
save = states.save
def slow(*given, **named):
    time.sleep({})
    save(*given, **named)
states.save = slow
sys.exit(run_command(train.main))
"""


class Position(NamedTuple):
    """An epoch of the encoders (stage 1) or of the recognition network (stage 2)."""

    stage: int
    epoch: int


@dataclass
class Tally:
    """What has happened so far; `repeated` counts epochs that had been said to be finished."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    resumes: int = 0
    repeated: int = 0
    losses: list[str] = field(default_factory=list)


def command(folder: Path, models: Path, slow_disk: float = 0) -> list[str]:
    """The training that is disturbed."""
    program = ['-c', SLOWLY.format(slow_disk)] if slow_disk else ['train.py']
    flags = f'--dataset DEMO --epochs {EPOCHS} --rn_epochs {EPOCHS} --batch_size 16 --gpu -1'
    places = ['--data_dir', str(folder / 'Datasets'), '--models_dir', str(models)]
    return [sys.executable, *program, *flags.split(), *places]


def digests(models: Path) -> dict[str, str]:
    """A digest of each file that must come out the same: checkpoints, features, curves."""
    wanted = [path for pattern in ('*.index', '*.data-*', '*.npy') for path in models.rglob(pattern)]
    return {str(path.relative_to(models)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(wanted)}


def epochs_of(text: str) -> list[Position]:
    """The epochs that a life says it has finished."""
    stage, found = 1, []
    for line in text.splitlines():
        if line.startswith('Train a recognition network'):
            stage = 2
        elif epoch := re.match(r'Epoch +(\d+)/', line):
            found.append(Position(stage, int(epoch[1])))
    return found


def live(arguments: list[str], log: Path, number: int | None = None, delay: float = 0, early: bool = False):
    """Runs the command once.

    Args:
        arguments: the command.
        log: the file that takes all that it says.
        number: the signal to send; None for none.
        delay: seconds before it is sent.
        early: they count from the start and not from where work begins.

    Returns:
        The exit status, seconds of work, and what it said.
    """
    with open(log, 'w') as file:
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    started, working = time.monotonic(), None
    while process.poll() is None:
        now = time.monotonic()
        if working is None and LAST_WORDS in log.read_text():
            working = now
        since = started if early else working
        if number is not None and since is not None and now - since >= delay:
            process.send_signal(number)
            number = None
        if now - started > STUCK:
            process.kill()
            raise UserError(f'a life has taken more than {STUCK:.0f} seconds; see what it said in {log}')
        time.sleep(0.003)
    return process.returncode, time.monotonic() - (working or started), log.read_text()


def disturb(arguments: list[str], folder: Path, work: float, rng: random.Random, tally: Tally) -> None:
    """One round: stops and starts the training until it ends by itself."""
    log, last = folder / 'life.log', Position(1, 0)
    while True:
        number, early = rng.choice(list(STATUS)), rng.random() < EARLY
        delay = rng.uniform(0, START_UP if early else work)
        status, _, text = live(arguments, log, number, delay, early)
        if done := epochs_of(text):
            first = done[0]._replace(epoch=done[0].epoch - 1)
            tally.resumes += first > (1, 0)
            repeated = EPOCHS if first.stage < last.stage else max(0, last.epoch - first.epoch)
            repeated = repeated if first.stage <= last.stage else 0
            tally.repeated += repeated
            if repeated > 1:
                tally.losses.append(f'round {tally.rounds}: {last} was finished, and the next life began after {first}')
            last = done[-1]
        if status == 0:
            return
        tally.kills[signal.Signals(number).name] += 1
        if status not in STATUS[number]:
            raise UserError(f'after {number.name} the training ended with status {status}; see what it said in {log}')


def soak(folder: Path, minutes: float, seed: int, slow_disk: float = 0) -> Tally:
    """Prepares, trains once in quiet, then disturbs until the time is up; the last round is brought to its end."""
    rng, tally, until = random.Random(seed), Tally(), time.monotonic() + 60 * minutes
    prepare(['DEMO', '--people', '3', '--recordings', '3', '--data_dir', str(folder / 'Datasets')])
    status, work, text = live(command(folder, folder / 'quiet', slow_disk), folder / 'life.log')
    if status:
        raise UserError(f'the undisturbed training ended with status {status}; see what it said in {folder}/life.log')
    expected = digests(folder / 'quiet')
    print(f'undisturbed: {len(epochs_of(text))} epochs and {work:.1f} s after start-up, {len(expected)} files')
    while time.monotonic() < until:
        tally.rounds += 1
        models = folder / f'round{tally.rounds}'
        disturb(command(folder, models, slow_disk), folder, work, rng, tally)
        found = digests(models)
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        left = [path.name for path in models.rglob('*') if re.search(r'\.partial$|^resume\b|\.lock$', path.name)]
        if wrong or left:
            tally.losses.append(f'round {tally.rounds}: files differ or were left over: {", ".join(wrong + left)}')
        else:
            shutil.rmtree(models)
        print(f'round {tally.rounds}: {tally.kills.total()} kills, {len(tally.losses)} losses so far')
    return tally


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m benchmarks.soak', description=__doc__.partition('\n')[0])
    parser.add_argument('--minutes', type=float, default=20, help='how long (default %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of moments and signals (default %(default)s)')
    parser.add_argument(
        '--slow_disk', type=float, default=0, metavar='SECONDS', help='that a state takes more to write'
    )
    parser.add_argument('--json', metavar='FILE', type=Path, help='write facts and results to FILE as well')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it, and children would too
    folder, began = Path(tempfile.mkdtemp(prefix='soak-')), time.monotonic()
    tally = soak(folder, options.minutes, options.seed, options.slow_disk)
    minutes = round((time.monotonic() - began) / 60, 1)
    kills = {number.name: tally.kills[number.name] for number in STATUS}
    facts = common.start('-1')
    print(common.format_facts(facts))
    headers = ['minutes', 'slow disk, s', 'rounds', *kills, 'resumes', 'epochs repeated', 'losses']
    row = [minutes, options.slow_disk, tally.rounds, *kills.values(), tally.resumes, tally.repeated, len(tally.losses)]
    print(common.format_table(headers, [row]))
    common.write_json(options.json, 'soak', facts, dict(zip(headers, row, strict=True)) | {'losses': tally.losses})
    if tally.losses:
        print('\n'.join([*tally.losses, f'everything is kept in {folder}']))
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == '__main__':
    sys.exit(run_command(main))
