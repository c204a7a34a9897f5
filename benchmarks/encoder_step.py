"""Seconds a training step of the gait encoders (x, y and z together): `python -m benchmarks.encoder_step`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks import common, kernels
from sge_la.errors import run_command

if TYPE_CHECKING:
    import numpy as np

    from sge_la.model.config import EncoderConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Measures a step and the rate of a large matrix product in the same process, and prints both."""
    parser = common.argument_parser('encoder_step', __doc__)
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--joints', type=int, default=20, help='joints of a skeleton (default 20)')
    parser.add_argument('--batch_size', type=int, default=128, help='sequences in a batch (default 128)')
    parser.add_argument('--attention', choices=('LA', 'BA'), default='LA')
    parser.add_argument('--steps', type=common.positive, help='steps timed together (default 1, on a GPU 200)')
    parser.add_argument('--kernels', action='store_true', help='show where the time goes, kernel by kernel (JAX, GPU)')
    common.add_precision(parser)
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    facts = common.start(options.gpu, options.precision)
    if options.kernels:
        kernels.refuse_other_devices()
    from sge_la.model.config import EncoderConfig

    sizes = {'length': options.length, 'joints': options.joints, 'attention': options.attention}
    config = EncoderConfig(**sizes, precision=options.precision)
    steps = options.steps or (200 if common.on_gpu() else 1)
    results = measure_step(config, options.batch_size, steps, options.repeats, options.kernels)
    print(common.format_facts(facts))
    setting = f'{config.attention}, T={config.length}, J={config.joints}, B={options.batch_size}'
    rows = [
        ('compiling and first steps, s', f'{results["seconds_first_step"]:.1f}'),
        ('step of three axes, ms', f'{1e3 * results["seconds_per_step"]:.3f}'),
        ('steps timed together', steps),
        ('spread of the repeats', f'{results["spread"]:.2f}'),
        ('work of a step, GFLOP', f'{results["gflop_per_step"]:.1f}'),
        *common.yardstick_rows(results),
    ]
    print(common.format_table(('encoder step', setting), rows))
    if options.kernels:
        print(kernels.table(results['kernels']))
    common.write_json(options.json, 'encoder_step', facts, results)


def measure_step(
    config: EncoderConfig, batch_size: int, steps: int, repeats: int, show_kernels: bool = False
) -> dict[str, Any]:
    """Measures full training steps as training runs them: forward, gradients, L2, clipping and Adam.

    The matrix product is measured before and after, and the better of both counts.

    Args:
        config: the encoders'.
        batch_size: B.
        steps: timed together; on JAX they are one dispatch.
        repeats: tenths of the timed repeats.
        show_kernels: look also where the time goes, on a GPU.

    Returns:
        `seconds_per_step`, `gflops`, `matrix_gflops`, `fraction_of_matrix_rate` and what they come from; `kernels` if
        asked for.
    """
    from sge_la.paper.cost import encoder_cost

    run = training_steps(config, batch_size, steps)
    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    before = common.matrix_rates(config.precision)
    timing = common.measure(run, repeats=10 * repeats)
    after = common.matrix_rates(config.precision)
    seconds, work = timing.median / steps, encoder_cost(config).training * batch_size / 1e9
    return {
        'seconds_first_step': first,
        'seconds_per_step': seconds,
        'steps_timed_together': steps,
        'spread': timing.spread,
        'gflop_per_step': work,
        **common.beside_yardstick(work / seconds, before, after),
        **({'kernels': kernels.profile(run, steps)} if show_kernels else {}),
    }


def training_steps(config: EncoderConfig, batch_size: int, steps: int) -> Callable[[], float]:
    """A function that takes `steps` steps with random batches; waits for their costs and returns the mean."""
    import numpy as np

    from sge_la import backends
    from sge_la.model.gait_encoder import initial_params
    from sge_la.runs.states import fresh_state
    from sge_la.training.encoders import encoder_step

    inputs = random_inputs(config, steps * batch_size)
    epoch = backends.current().epoch_runner(encoder_step(config), lambda rows: (inputs[rows], inputs[rows, ::-1]))
    batches, state = np.arange(len(inputs)).reshape(steps, batch_size), fresh_state(initial_params(config, 0))
    held = [(state.params, state.first, state.second, np.float32(0))]

    def run() -> float:
        held[0], terms = epoch(held[0], batches, lambda _: None)
        return float(terms.sum(axis=(1, 2)).mean())

    return run


def random_inputs(config: EncoderConfig, count: int) -> np.ndarray:
    """As many sequences, float32 `[count, T, J, 3]`, metres."""
    import numpy as np

    shape = (count, config.length, config.joints, 3)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


if __name__ == '__main__':
    sys.exit(run_command(main))
