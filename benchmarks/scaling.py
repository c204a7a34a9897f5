"""Time and memory against sequences, length and batch: `python -m benchmarks.scaling`.

Each setting trains the encoders in a process of its own, whose peak memory is its own. Time and memory ought to lie on
straight lines; printed is how far they are off, as a share of the largest value. `--mapped N N ...` measures data that
stay in their files (docs/scaling.md): memory and the time of a sequence ought to be those of few sequences.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks import common
from sge_la.errors import UserError, run_command

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    'sequences': [(1280, 6, 128), (2560, 6, 128), (5120, 6, 128)],
    'length': [(640, 6, 128), (640, 12, 128), (640, 20, 128), (640, 40, 128)],
    'batch': [(1280, 6, 32), (1280, 6, 64), (1280, 6, 128), (1280, 6, 256)],
}
TINY = {
    'sequences': [(8, 3, 4), (16, 3, 4)],
    'length': [(8, 2, 4), (8, 3, 4)],
    'batch': [(8, 3, 2), (8, 3, 4)],
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs every setting, and prints a table for each axis of growth."""
    parser = common.argument_parser('scaling', __doc__)
    parser.add_argument('--tiny', action='store_true', help='sizes that only show that it runs')
    parser.add_argument('--joints', type=int, default=20, help='joints of a skeleton (default 20)')
    parser.add_argument('--one', nargs=3, type=int, metavar=('N', 'T', 'B'), help='measure one setting, print JSON')
    parser.add_argument('--mapped', nargs='+', type=int, metavar='N', help='sequences that stay in their files')
    parser.add_argument(
        '--folder', type=Path, help='where those files are made for the while (default: a temporary one)'
    )
    parser.add_argument('--units', type=int, default=256, help='units of a layer, with --mapped (default 256)')
    parser.add_argument('--one-mapped', nargs=1, type=int, metavar='N', help='measure files that are there, print JSON')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    if options.one_mapped:
        print(json.dumps(measure_mapped(*options.one_mapped, options.folder, options.units, options.gpu)))
        return
    if options.one:
        print(json.dumps(measure_epoch(*options.one, options.joints, options.gpu)))
        return
    facts = common.start(options.gpu)
    print(common.format_facts(facts))
    if options.mapped:
        results = {'mapped': [_mapped_apart(count, options) for count in options.mapped]}
        _print_mapped(results['mapped'])
        common.write_json(options.json, 'scaling', facts, results)
        return
    results, measure = {}, cache(lambda setting: _apart(setting, options))
    for name, settings in (TINY if options.tiny else SETTINGS).items():
        found = [measure(setting) for setting in settings]
        results[name] = {'settings': found, **_straightness(name, found)}
        print()
        _print(name, results[name])
    common.write_json(options.json, 'scaling', facts, results)


def _apart(setting: tuple[int, int, int], options) -> dict:
    return _measured_by('--one', *setting, '--joints', options.joints, '--gpu', options.gpu)


def _measured_by(*flags: object) -> dict:
    command = [sys.executable, '-m', 'benchmarks.scaling', *map(str, flags)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f'the setting {flags} failed: {done.stderr.strip().splitlines()[-1]}')
    return json.loads(done.stdout.splitlines()[-1])


def _mapped_apart(count: int, options) -> dict:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        _write_sequences(Path(folder), count)
        own = ['--folder', folder, '--units', options.units, '--gpu', options.gpu]
        return _measured_by('--one-mapped', count, *own)


def _write_sequences(folder: Path, count: int, length: int = 6, joints: int = 20) -> None:
    """Random coordinates, float32 `[count · length, joints]` an axis, as data sets lie."""
    import numpy as np

    from sge_la.files.arrays import release_pages
    from sge_la.files.write_arrays import new_npy

    block = np.random.default_rng(0).standard_normal((65536, joints), np.float32)
    for axis in 'xyz':
        with new_npy(folder / f'source_{axis}.npy', (count * length, joints), np.float32) as out:
            for start in range(0, len(out), len(block)):
                out[start : start + len(block)] = block[: len(out) - start] + np.float32(start % 1009) / 1009
                release_pages(out)


def measure_mapped(count: int, folder: Path, units: int, gpu: str) -> dict[str, float]:
    """Trains an epoch on sequences that stay in their files, and encodes them into another file.

    Returns:
        `train_us`, `encode_us`: processor time of a sequence, microseconds; `peak_bytes`: of memory.
    """
    import numpy as np

    from sge_la.backends import room
    from sge_la.data.arrays import mapped
    from sge_la.features.sources import FeatureSource, write_feature_file
    from sge_la.files.arrays import read_header
    from sge_la.model.config import EncoderConfig
    from sge_la.model.gait_encoder import initial_params
    from sge_la.model.pretext import pretext
    from sge_la.runs.states import fresh_state
    from sge_la.training.encoders import fit_encoder

    os.environ[room.VARIABLE] = '0'
    common.start(gpu)
    config = EncoderConfig(length=6, joints=20, units=units)
    skeletons = mapped([read_header(folder / f'source_{axis}.npy') for axis in 'xyz'], 6)
    params, rows = initial_params(config, 0), np.arange(count)
    task = pretext('rev_rec', skeletons)
    few = rows[: 128 * 64]

    def train(rows: np.ndarray) -> float:
        began = time.process_time()
        for _ in fit_encoder(config, task, rows, fresh_state(params), epochs=1):
            pass
        return time.process_time() - began

    def encode(rows: np.ndarray) -> float:
        began, source = time.process_time(), FeatureSource(config, params, kind='contrast')
        write_feature_file(folder / 'features.npy', [source], skeletons, rows, 'sc', seed=0, test=True)
        return time.process_time() - began

    found = {'sequences': count}
    for name, work in (('train', train), ('encode', encode)):
        work(few)  # compiles
        found[f'{name}_us'] = work(rows) / count * 1e6
    return found | {'peak_bytes': common.peak_memory()}


def _print_mapped(found: list[dict]) -> None:
    rows = [[line['sequences'], line['train_us'], line['encode_us'], line['peak_bytes'] / 2**20] for line in found]
    print(common.format_table(('sequences', 'training, µs a sequence', 'encoding, µs a sequence', 'peak, MiB'), rows))


def measure_epoch(sequences: int, length: int, batch_size: int, joints: int, gpu: str) -> dict[str, float]:
    """Trains two epochs; the second is timed.

    Returns:
        `seconds` of the epoch, of a step, of starting and compiling; `gflops`; `peak_bytes`.
    """
    import numpy as np

    common.start(gpu)
    from sge_la.model.config import EncoderConfig
    from sge_la.model.gait_encoder import initial_params
    from sge_la.model.pretext import pretext
    from sge_la.paper.cost import encoder_cost
    from sge_la.runs.states import fresh_state
    from sge_la.training.encoders import fit_encoder

    config = EncoderConfig(length=length, joints=joints)
    skeletons = np.random.default_rng(0).standard_normal((sequences, length, joints, 3), np.float32)
    task, state = pretext('rev_rec', skeletons), fresh_state(initial_params(config, 0))
    for finished in fit_encoder(config, task, np.arange(sequences), state, epochs=2, batch_size=batch_size):
        state = finished
    first, seconds = (line['seconds'] for line in state.history)
    steps = sequences // batch_size
    return {
        'sequences': sequences,
        'length': length,
        'batch': batch_size,
        'seconds': seconds,
        'seconds_per_step': seconds / steps,
        'seconds_compiling': max(0.0, first - seconds),
        'gflops': encoder_cost(config).training * steps * batch_size / seconds / 1e9,
        'peak_bytes': common.peak_memory(),
    }


def _straightness(name: str, found: list[dict]) -> dict[str, float]:
    """How far time and memory are off their straight lines, as a share of the largest value."""
    import numpy as np

    x = np.array([line[name] for line in found], float)
    off = {}
    # An epoch over the same sequences takes as long with every batch; a step takes longer.
    time = 'seconds_per_step' if name == 'batch' else 'seconds'
    for column in (time, 'peak_bytes'):
        y = np.array([line[column] for line in found], float)
        off[f'{column}_off_line'] = float(np.abs(y - np.polyval(np.polyfit(x, y, 1), x)).max() / y.max())
    return off


def _print(name: str, result: dict) -> None:
    columns = ('sequences', 'length', 'batch', 'seconds', 'seconds_per_step', 'seconds_compiling', 'gflops')
    rows = [[*(line[column] for column in columns), line['peak_bytes'] / 2**20] for line in result['settings']]
    titles = ('sequences', 'length', 'batch', 'epoch, s', 'step, s', 'compiling, s', 'GFLOP/s', 'peak, MiB')
    print(common.format_table(titles, rows))
    off = ', '.join(f'{column} {value:.1%}' for column, value in result.items() if column != 'settings')
    print(f'Off a straight line in {name}: {off}')


if __name__ == '__main__':
    sys.exit(run_command(main))
