"""Seconds a training step of the gait encoders (x, y and z together): `python -m benchmarks.encoder_step`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from benchmarks import common
from sge_la.errors import run_command
from sge_la.options import FLOAT32


def main(argv: Sequence[str] | None = None) -> None:
    """Measures a step and the rate of a large matrix product in the same process, and prints both."""
    parser = common.argument_parser('encoder_step', __doc__)
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--joints', type=int, default=20, help='joints of a skeleton (default 20)')
    parser.add_argument('--batch_size', type=int, default=128, help='sequences in a batch (default 128)')
    parser.add_argument('--attention', choices=('LA', 'BA'), default='LA')
    common.add_precision(parser)
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    facts = common.start(options.gpu, options.precision)
    sizes = options.length, options.joints, options.batch_size
    results = measure_step(*sizes, options.attention, options.repeats, options.precision)
    print(common.format_facts(facts))
    setting = f'{options.attention}, T={options.length}, J={options.joints}, B={options.batch_size}'
    rows = [
        ('compiling and first step, s', f'{results["seconds_first_step"]:.1f}'),
        ('step of three axes, s', f'{results["seconds_per_step"]:.3f}'),
        ('spread of the repeats', f'{results["spread"]:.2f}'),
        ('work of a step, GFLOP', f'{results["gflop_per_step"]:.1f}'),
        *common.yardstick_rows(results),
    ]
    print(common.format_table(('encoder step', setting), rows))
    common.write_json(options.json, 'encoder_step', facts, results)


def measure_step(
    length: int, joints: int, batch_size: int, attention: str, repeats: int, precision: str = FLOAT32
) -> dict[str, float]:
    """Measures full training steps: forward, gradients, L2, clipping and Adam.

    The matrix product is measured before and after, and the better of both counts.

    Returns:
        `seconds_per_step`, `gflops`, `matrix_gflops`, `fraction_of_matrix_rate` and what they come from.
    """
    import numpy as np

    from sge_la import backends
    from sge_la.cost import encoder_cost
    from sge_la.model.gait_encoder import EncoderConfig, initial_params
    from sge_la.training import encoder_step, fresh_state

    config = EncoderConfig(length=length, joints=joints, attention=attention, precision=precision)
    inputs = np.random.default_rng(0).normal(size=(batch_size, length, joints, 3)).astype(np.float32)
    state = fresh_state(initial_params(config, 0))
    step = backends.current().compiled(encoder_step(config))
    held = [(state.params, state.first, state.second, np.float32(0))]

    def run() -> None:
        held[0], terms = step(held[0], inputs, inputs[:, ::-1])
        np.asarray(terms)  # waits for the step

    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    before = common.matrix_rates(precision)
    timing = common.measure(run, repeats=10 * repeats)
    after = common.matrix_rates(precision)
    work = encoder_cost(config).training * batch_size / 1e9
    return {
        'seconds_first_step': first,
        'seconds_per_step': timing.median,
        'spread': timing.spread,
        'gflop_per_step': work,
        **common.beside_yardstick(work / timing.median, before, after),
    }


if __name__ == '__main__':
    sys.exit(run_command(main))
