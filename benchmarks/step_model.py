"""How the time of a training step grows with its batch: `python -m benchmarks.step_model`.

A step takes a fixed time (the chain of its operations, and Adam over all parameters) and a time for each sequence. Both
are fitted to steps of several batches, measured in turns; on a CPU by processor time, which other work on the machine
disturbs least, divided by the cores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import common
from benchmarks.encoder_step import training_steps
from sge_la.errors import UserError, run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and fits, and prints both."""
    parser = common.argument_parser('step_model', __doc__)
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--joints', type=int, default=20, help='joints of a skeleton (default 20)')
    sizes = {'nargs': '+', 'type': common.positive, 'default': (16, 32, 64, 128, 256)}
    parser.add_argument('--batch_sizes', **sizes, help='sequences in a batch (default 16 32 64 128 256)')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    if len(set(options.batch_sizes)) < 2:
        raise UserError('--batch_sizes: at least two sizes were expected, for a line to be fitted to')
    facts = common.start(options.gpu)
    from sge_la.model.config import EncoderConfig

    config, count = EncoderConfig(length=options.length, joints=options.joints), 200 if common.on_gpu() else 1
    steps = {size: training_steps(config, size, count) for size in options.batch_sizes}
    seconds = {size: found / count for size, found in measure(steps, options.repeats, facts['cores']).items()}
    fixed, each = fit(seconds)
    print(common.format_facts(facts))
    rows = [(size, 1e3 * found, 1e3 * (fixed + each * size)) for size, found in seconds.items()]
    print(common.format_table(('batch', 'step, ms', 'by the model, ms'), rows))
    print(f'\n{1e3 * fixed:.2f} ms a step and {1e6 * each:.1f} µs a sequence')
    results = {
        'seconds_per_step': max(seconds.values()),
        'seconds': {str(size): found for size, found in seconds.items()},
        'fixed': fixed,
        'each': each,
    }
    common.write_json(options.json, 'step_model', facts, results)


def measure(steps: dict[int, Callable[[], object]], repeats: int, cores: int) -> dict[int, float]:
    """Median seconds of each function, called in turns: on a GPU as they pass, else of the processor, by core."""
    clock, share = (time.perf_counter, 1) if common.on_gpu() else (time.process_time, cores)
    found: dict[int, list[float]] = {size: [] for size in steps}
    for turn in range(2 + 3 * repeats):
        for size, step in steps.items():
            began = clock()
            step()
            if turn >= 2:  # the first ones compile
                found[size].append((clock() - began) / share)
    return {size: common.Timing(tuple(times)).median for size, times in found.items()}


def fit(seconds: dict[int, float]) -> tuple[float, float]:
    """The fixed time and that of each sequence whose line is nearest, each batch by its share of the time."""
    import numpy as np

    sizes, times = (np.array([*part], np.float64) for part in (seconds.keys(), seconds.values()))
    fixed, each = np.linalg.lstsq(np.stack([1 / times, sizes / times], axis=1), np.ones(len(times)), rcond=None)[0]
    return float(fixed), float(each)


if __name__ == '__main__':
    sys.exit(run_command(main))
