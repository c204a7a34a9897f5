"""Training steps a second of the recognition network, from a memory map: `python -m benchmarks.recognition_step`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import common
from sge_la.errors import run_command
from sge_la.settings.options import FLOAT32


def main(argv: Sequence[str] | None = None) -> None:
    """Trains on random features for some epochs, and prints steps a second of the epochs after the first."""
    parser = common.argument_parser('recognition_step', __doc__)
    parser.add_argument('--steps', type=int, default=640, help='steps of an epoch (default 640)')
    parser.add_argument('--width', type=int, default=768, help='values of a feature row (default 768)')
    parser.add_argument('--classes', type=int, default=164, help='identities (default 164)')
    parser.add_argument('--batch_size', type=int, default=128, help='rows of a batch (default 128)')
    common.add_precision(parser)
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    facts = common.start(options.gpu, options.precision)
    sizes = options.steps, options.width, options.classes, options.batch_size
    results = measure_steps(*sizes, options.repeats, options.precision)
    print(common.format_facts(facts))
    rows = [
        ('first epoch with compiling, s', f'{results["seconds_first_epoch"]:.2f}'),
        ('steps a second', f'{results["steps_per_second"]:,.0f}'),
        ('spread of the epochs', f'{results["spread"]:.2f}'),
        ('work of a step, MFLOP', f'{1e3 * results["gflop_per_step"]:.0f}'),
        ('features read, MB/s', f'{results["bytes_per_second"] / 1e6:.0f}'),
        *common.yardstick_rows(results),
    ]
    setting = f'{options.width} → 256 → {options.classes}, B={options.batch_size}'
    print(common.format_table(('recognition network', setting), rows))
    common.write_json(options.json, 'recognition_step', facts, results)


def measure_steps(
    steps: int, width: int, classes: int, batch_size: int, repeats: int, precision: str = FLOAT32
) -> dict[str, float]:
    """Measures epochs of `fit_recognition`: reading, forward, gradients and Adam.

    Returns:
        `steps_per_second`, `gflops`, `fraction_of_matrix_rate` and what they come from.
    """
    import numpy as np

    from sge_la.model import recognition
    from sge_la.runs.states import fresh_state
    from sge_la.training.recognition import fit_recognition

    rng, rows = np.random.default_rng(0), steps * batch_size
    labels = rng.integers(0, classes, rows)
    before, seconds = common.matrix_rates(precision), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'features.npy'
        np.save(path, rng.standard_normal((rows, width), np.float32))
        features = np.load(path, mmap_mode='r')
        state = fresh_state(recognition.initial_params(width, classes, 0))
        began = time.perf_counter()
        settings = {'epochs': 1 + repeats, 'batch_size': batch_size, 'precision': precision}
        for _ in fit_recognition(features, labels, state, **settings):
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
        del features
    timing = common.Timing(tuple(seconds[1:]))
    after = common.matrix_rates(precision)
    hidden = recognition.HIDDEN
    # Three products a kernel, but that nobody needs the gradient of the features.
    work = 2 * batch_size * (2 * width * hidden + 3 * hidden * classes) / 1e9
    rate = steps / timing.median
    return {
        'seconds_first_epoch': seconds[0],
        'steps_per_second': rate,
        'spread': timing.spread,
        'gflop_per_step': work,
        'bytes_per_second': rate * batch_size * width * 4,
        **common.beside_yardstick(work * rate, before, after),
    }


if __name__ == '__main__':
    sys.exit(run_command(main))
