"""How far runs of the same seed differ: repeated, with one thread, and on the other backend.

`python -m benchmarks.agreement`: simulated walkers are prepared, and the same `train.py` is run under each setting. The
differences from the first run are relative to the largest value of each variable or feature file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import common
from sge_la.backends.runtime import available_cores
from sge_la.data.prepare import main as prepare
from sge_la.errors import UserError, run_command

ROOT = Path(__file__).resolve().parents[1]


class Setting(NamedTuple):
    """What is different from the first run: the environment, and how many cores may be used (None: all)."""

    title: str
    environment: dict[str, str]
    cores: int | None = None


def settings() -> list[Setting]:
    """Those that can be had here; the first is what the others are compared with."""
    found = [Setting('TensorFlow', {'KERAS_BACKEND': 'tensorflow'}), Setting('again', {'KERAS_BACKEND': 'tensorflow'})]
    if hasattr(os, 'sched_setaffinity') and available_cores() > 1:
        found.append(Setting('one core', {'KERAS_BACKEND': 'tensorflow'}, cores=1))
    if importlib.util.find_spec('jax'):
        found.append(Setting('JAX', {'KERAS_BACKEND': 'jax'}))
    return found


@contextlib.contextmanager
def on_cores(number: int | None) -> Iterator[None]:
    """Children that are started meanwhile may use so many cores."""
    if number is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:number])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def train(setting: Setting, folder: Path, models: Path, epochs: int) -> None:
    """Trains under a setting.

    Raises:
        UserError: the training failed.
    """
    flags = f'--dataset DEMO --epochs {epochs} --rn_epochs {10 * epochs} --batch_size 32 --gpu -1 --seed 0'.split()
    places = ['--data_dir', str(folder / 'Datasets'), '--models_dir', str(models)]
    with on_cores(setting.cores), open(folder / 'train.log', 'w') as log:
        status = subprocess.run(
            [sys.executable, 'train.py', *flags, *places],
            cwd=ROOT,
            env={**os.environ, **setting.environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if status:
        raise UserError(f'{setting.title}: the training ended with status {status}; see what it said in {log.name}')


def compare(models: Path, first: Path) -> dict[str, float | bool]:
    """Differences of one run's models from the first run's.

    Returns:
        `same_bytes` of all checkpoints and features, the largest relative difference of `encoder_weights`, of the test
        set's `cages` and of `network_weights`, and `rank1`.
    """
    import numpy as np

    from sge_la import checkpoints
    from sge_la.runs import records

    def of_arrays(found, expected) -> float:
        largest = np.max(np.abs(expected))
        return float(np.max(np.abs(np.asarray(found, np.float64) - expected)) / largest) if largest else 0.0

    def of_checkpoints(pattern: str) -> float:
        folders = sorted(path.parent for path in first.glob(f'{pattern}/trained_model.ckpt.index'))
        pairs = [(models / folder.relative_to(first), folder) for folder in folders]
        read = [tuple(checkpoints.read_checkpoint(path, slots=False) for path in pair) for pair in pairs]
        return max(of_arrays(found[name], expected[name]) for found, expected in read for name in expected)

    files = [path for name in ('*.data-*', '*.npy') for path in sorted(first.rglob(name))]
    (features,) = first.glob('CAGEs_RN_models/*/val_X.npy')
    results = records.read_results(models / features.parent.relative_to(first))
    return {
        'same_bytes': all(path.read_bytes() == (models / path.relative_to(first)).read_bytes() for path in files),
        'encoder_weights': of_checkpoints('Gait_Encoding_models/*'),
        'cages': of_arrays(np.load(models / features.relative_to(first)), np.load(features)),
        'network_weights': of_checkpoints('CAGEs_RN_models/*'),
        'rank1': next(iter(results['test_sets'].values()))['last']['rank1'],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Runs all settings and prints the differences."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.agreement', description=__doc__.partition('\n')[0])
    parser.add_argument('--epochs', type=int, default=3, help='of the encoders; the network has ten times as many')
    parser.add_argument('--people', type=int, default=6, help='simulated walkers (default %(default)s)')
    parser.add_argument('--json', metavar='FILE', type=Path, help='write facts and results to FILE as well')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    results = {}
    with tempfile.TemporaryDirectory(prefix='agreement-') as name:
        folder = Path(name)
        prepare(['DEMO', '--people', str(options.people), '--data_dir', str(folder / 'Datasets')])
        first, *others = settings()
        for setting in (first, *others):
            train(setting, folder, folder / setting.title, options.epochs)
            results[setting.title] = compare(folder / setting.title, folder / first.title)
    facts = common.start('-1')
    print(common.format_facts(facts))
    headers = ['run', 'same bytes', 'encoder weights', 'CAGEs', 'network weights', 'Rank-1, last epoch']
    print(common.format_table(headers, [[title, *found.values()] for title, found in results.items()]))
    common.write_json(options.json, 'agreement', facts, {'epochs': options.epochs, 'runs': results})


if __name__ == '__main__':
    sys.exit(run_command(main))
