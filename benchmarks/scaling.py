"""Time and memory against sequences, length and batch: `python -m benchmarks.scaling`.

Each setting trains the encoders in a process of its own, whose peak memory is its own. Time and memory ought to lie on
straight lines; printed is how far they are off, as a share of the largest value.
"""

from __future__ import annotations

import json
import subprocess
import sys
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
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    if options.one:
        print(json.dumps(measure_epoch(*options.one, options.joints, options.gpu)))
        return
    facts = common.start(options.gpu)
    print(common.format_facts(facts))
    results, measure = {}, cache(lambda setting: _apart(setting, options))
    for name, settings in (TINY if options.tiny else SETTINGS).items():
        found = [measure(setting) for setting in settings]
        results[name] = {'settings': found, **_straightness(name, found)}
        print()
        _print(name, results[name])
    common.write_json(options.json, 'scaling', facts, results)


def _apart(setting: tuple[int, int, int], options) -> dict:
    flags = ['--joints', str(options.joints), '--gpu', options.gpu]
    command = [sys.executable, '-m', 'benchmarks.scaling', '--one', *map(str, setting), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f'the setting {setting} failed: {done.stderr.strip().splitlines()[-1]}')
    return json.loads(done.stdout.splitlines()[-1])


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
