"""Training steps of several runs together, against one run after the other: `python -m benchmarks.together`."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks import common
from sge_la.errors import run_command

if TYPE_CHECKING:
    from sge_la.model.config import EncoderConfig

STAGES = ('encoders', 'network', 'modern')
_CLASSES = 10


def main(argv: Sequence[str] | None = None) -> None:
    """Measures an epoch of some steps of N runs in both ways, by turns, and prints what a step of a run takes."""
    parser = common.argument_parser('together', __doc__)
    parser.add_argument('--runs', type=common.positive, nargs='+', default=[1, 2, 4, 8], help='N (default 1 2 4 8)')
    parser.add_argument('--stage', choices=STAGES, default='encoders', help='what is trained (default %(default)s)')
    parser.add_argument(
        '--steps', type=common.positive, default=2, help='steps of each run, timed together (default 2)'
    )
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--joints', type=int, default=20, help='joints of a skeleton (default 20)')
    parser.add_argument('--batch_size', type=int, default=128, help='sequences, or rows, in a batch (default 128)')
    parser.add_argument('--stacked', action='store_true', help='with an axis of runs on a CPU too, as on a GPU')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    facts = common.start(options.gpu)
    from sge_la.model.config import EncoderConfig

    config, stacked = EncoderConfig(options.length, options.joints), options.stacked or None
    found = [
        measure(config, options.stage, runs, options.steps, options.batch_size, options.repeats, stacked)
        for runs in options.runs
    ]
    print(common.format_facts(facts))
    columns = ('runs', 'processor ms, alone', 'together', 'ratio', 'ms, alone', 'together', 'ratio', 'first epoch, s')
    shown = [f'{kind}_{way}' for kind in ('processor', 'seconds') for way in ('alone', 'together', 'ratio')]
    rows = [
        [
            line['runs'],
            *(round(line[name] * (1 if name.endswith('ratio') else 1000), 2) for name in shown),
            round(line['seconds_first'], 1),
        ]
        for line in found
    ]
    print(common.format_table(columns, rows))
    print(f'A step of one run ({options.stage}): the median of {options.repeats} pairs; the ratio is that of the pairs')
    common.write_json(
        options.json, 'together', facts, {'stage': options.stage, 'stacked': options.stacked, 'runs': found}
    )


def measure(
    config: EncoderConfig, stage: str, runs: int, steps: int, batch_size: int, repeats: int, stacked: bool | None
) -> dict[str, Any]:
    """Measures N runs.

    Args:
        config: the encoders'.
        stage: of `STAGES`.
        runs: N.
        steps: of each run, in one epoch.
        batch_size: B.
        repeats: pairs of epochs: one after the other, then together.
        stacked: with an axis of runs; None: as the device has it.

    Returns:
        `processor_...` (user and system, of all threads) and `seconds_...` (of the clock) a step and run: `alone`,
        `together` and the median `ratio` of the pairs; `seconds_first`: of the first epoch together, with compiling.
    """
    alone, together = epochs(config, stage, runs, steps, batch_size, stacked)
    alone()
    began = time.perf_counter()
    together()
    first = time.perf_counter() - began
    pairs = [(timed(alone), timed(together)) for _ in range(repeats)]
    found: dict[str, Any] = {'runs': runs, 'seconds_first': first}
    for place, kind in enumerate(('processor', 'seconds')):
        each = [(one[place], other[place]) for one, other in pairs]
        found[f'{kind}_alone'], found[f'{kind}_together'] = (
            statistics.median(values) / runs / steps for values in zip(*each, strict=True)
        )
        found[f'{kind}_ratio'] = statistics.median(other / one for one, other in each)
    return found


def timed(function: Callable[[], None]) -> tuple[float, float]:
    """Processor time and time of the clock that a call takes, in seconds."""
    used, began = _processor(), time.perf_counter()
    function()
    return _processor() - used, time.perf_counter() - began


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def epochs(
    config: EncoderConfig, stage: str, runs: int, steps: int, batch_size: int, stacked: bool | None
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Two functions that train each run for an epoch: one after the other, and together."""
    import numpy as np

    from sge_la import backends
    from sge_la.training.recognition import RECOGNITION_DISPATCH

    settings = [RECOGNITION_DISPATCH] if stage == 'network' else []
    step, pairs, states = _runs(config, stage, runs, steps, batch_size)
    backend, batches = backends.current(), np.arange(steps * batch_size).reshape(steps, batch_size)
    own = [backend.epoch_runner(step, pair, *settings) for pair in pairs]
    joined = backend.epochs_runner(step, pairs, *settings, stacked=stacked)
    held = [list(states), list(states)]

    def alone() -> None:
        held[0] = [_again(run(state, batches, lambda _: None)[0]) for run, state in zip(own, held[0], strict=True)]

    def together() -> None:
        held[1] = [_again(state) for state, _ in joined(held[1], [batches] * runs, lambda _: None)]

    return alone, together


def _again(state: tuple) -> tuple:
    """The state with its number of updates set back: the modern recipe has a rate for the steps of one epoch alone."""
    import numpy as np

    return *state[:3], np.float32(0), *state[4:]


def _runs(config: EncoderConfig, stage: str, runs: int, steps: int, batch_size: int) -> tuple[Callable, list, list]:
    """The step, and (inputs, targets) and state of each run, which has seed and data of its own."""
    import numpy as np

    from sge_la.model import gait_encoder, recognition
    from sge_la.model.config import Recipe
    from sge_la.runs.states import fresh_state
    from sge_la.training import joint
    from sge_la.training.encoders import encoder_step
    from sge_la.training.recognition import recognition_step

    def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
        shape = (3 * config.units,) if stage == 'network' else (config.length, config.joints, 3)
        inputs = np.random.default_rng(seed).normal(size=(steps * batch_size, *shape)).astype(np.float32)
        return inputs, inputs[:, ::-1] if stage == 'encoders' else np.arange(len(inputs), dtype=np.int32) % _CLASSES

    def state(seed: int) -> tuple:
        if stage == 'network':
            params = recognition.initial_params(3 * config.units, _CLASSES, seed)
        elif stage == 'encoders':
            params = gait_encoder.initial_params(config, seed)
        else:
            params = joint.initial_params(config, 'ap', _CLASSES, seed)
        fresh = fresh_state(params)
        further = (np.full(steps, 1e-3, np.float32), np.float32(0)) if stage == 'modern' else ()
        return fresh.params, fresh.first, fresh.second, np.float32(0), *further

    pairs = [lambda rows, own=own: (own[0][rows], own[1][rows]) for own in map(data, range(runs))]
    decayed = frozenset(name for name in state(0)[0] if name.endswith(('kernel', 'W1', 'W')))
    step = {
        'encoders': lambda: encoder_step(config),
        'network': lambda: recognition_step,
        'modern': lambda: joint.modern_step(config, Recipe(), 'ap', decayed),
    }
    return step[stage](), pairs, [state(seed) for seed in range(runs)]


if __name__ == '__main__':
    sys.exit(run_command(main))
