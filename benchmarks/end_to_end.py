"""Seconds of every part of `train.py` and `evaluate.py`, and their peak memory: `python -m benchmarks.end_to_end`.

Without --data_dir walkers are simulated. A data set that is prepared already is trained on with --dataset and
--data_dir; the models go to a folder that is removed again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import common
from sge_la.errors import UserError, run_command

ROOT = Path(__file__).resolve().parents[1]
# What begins when a line with these words appears.
PARTS = (
    (r'Begin Training on', 'encoders: compiling and first epoch'),
    (r'Epoch +1/', 'encoders: other epochs'),
    (r'Model Trained and Saved', 'features'),
    (r'Train a recognition network', 'recognition: compiling and first epoch'),
    (r'Epoch +1/', 'recognition: other epochs, checkpoints'),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs both commands as a user does, and prints where the time went."""
    parser = common.argument_parser('end_to_end', __doc__.splitlines()[0])
    parser.add_argument('--dataset', default='DEMO', help='the data set (default DEMO)')
    parser.add_argument('--data_dir', type=Path, help='where it is prepared; without, walkers are simulated')
    parser.add_argument('--people', type=int, default=12, help='walkers to simulate (default 12)')
    parser.add_argument('--epochs', type=int, default=3, help='of the encoders (default 3)')
    parser.add_argument('--rn_epochs', type=int, default=3, help='of the recognition network (default 3)')
    parser.add_argument('--flags', default='', help='further flags of train.py, after an equals sign')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    with tempfile.TemporaryDirectory() as folder:
        results = measure_commands(options, Path(folder))
    facts = common.start(options.gpu)
    print(common.format_facts(facts))
    rows = [(name, f'{seconds:.1f}') for name, seconds in results['parts'].items()]
    rows.append(('train.py, from start to end', f'{results["seconds_train"]:.1f}'))
    rows.append(('evaluate.py, from start to end', f'{results["seconds_evaluate"]:.1f}'))
    rows.append(('peak memory of train.py, MiB', f'{results["peak_train"] / 2**20:.0f}'))
    rows.append(('peak memory of evaluate.py, MiB', f'{results["peak_evaluate"] / 2**20:.0f}'))
    rows.append(('features of training and test, MiB', f'{results["bytes_features"] / 2**20:.0f}'))
    setting = f'{options.dataset}, {options.epochs} + {options.rn_epochs} epochs'
    print(common.format_table((setting, 's'), rows))
    common.write_json(options.json, 'end_to_end', facts, results)


def measure_commands(options, folder: Path) -> dict:
    """Prepares data where it is to be simulated, trains and evaluates, each in a process of its own.

    Returns:
        `parts`, `seconds_train`, `seconds_evaluate`, `peak_train`, `peak_evaluate`, `bytes_features`.
    """
    data = options.data_dir or folder / 'Datasets'
    if options.data_dir is None:
        flags = ['--data_dir', str(data), '--people', str(options.people)]
        _run(['-m', 'sge_la.data.prepare', options.dataset, *flags])
    names = ['--dataset', options.dataset, '--data_dir', str(data), '--models_dir', str(folder / 'Models')]
    epochs = ['--epochs', str(options.epochs), '--rn_epochs', str(options.rn_epochs)]
    device = ['--gpu', options.gpu]
    lines, train, peak = _run(['train.py', *names, *epochs, *device, *options.flags.split()])
    features = sum(path.stat().st_size for path in (folder / 'Models').rglob('*_X.npy'))
    _, evaluate, peak_evaluate = _run(['evaluate.py', *names, *device])
    return {
        'parts': parts_of(lines, train),
        'seconds_train': train,
        'seconds_evaluate': evaluate,
        'peak_train': peak,
        'peak_evaluate': peak_evaluate,
        'bytes_features': features,
    }


def parts_of(lines: list[tuple[float, str]], end: float) -> dict[str, float]:
    """Seconds of each part, from what was said when.

    Args:
        lines: seconds since the start, and a line, in order.
        end: seconds when the command had ended.
    """
    marks, place = [('starting and reading', 0.0)], 0
    for pattern, name in PARTS:
        for number in range(place, len(lines)):
            if re.search(pattern, lines[number][1]):
                marks.append((name, lines[number][0]))
                place = number + 1
                break
    ends = [began for _, began in marks[1:]] + [end]
    return {name: stop - began for (name, began), stop in zip(marks, ends, strict=True)}


def _run(arguments: list[str]) -> tuple[list[tuple[float, str]], float, int]:
    """Runs Python with arguments in the root; gives lines with their times, seconds, and peak memory in bytes."""
    began, lines = time.perf_counter(), []
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines.extend((time.perf_counter() - began, line.rstrip()) for line in process.stdout)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f'{arguments[0]} ended with status {process.returncode}: {lines[-1][1] if lines else ""}')
    unit = 1 if sys.platform == 'darwin' else 1024
    return lines, time.perf_counter() - began, used.ru_maxrss * unit


if __name__ == '__main__':
    sys.exit(run_command(main))
