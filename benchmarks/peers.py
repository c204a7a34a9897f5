"""A training step of the encoders beside a plain Keras `fit` and a plain PyTorch loop: `python -m benchmarks.peers`."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any

from benchmarks import common, encoder_step
from sge_la.errors import UserError, run_command, say

OURS, KERAS, TORCH = 'ours', 'keras', 'torch'
# Costs of the first turns, from the same weights, differ by rounding and by L2 of rows of kernels that meet zeros.
CLOSE = 3e-4


def main(argv: Sequence[str] | None = None) -> None:
    """Measures all three in turn, each in a process of its own, on the CPU with all cores, and prints their ratios."""
    parser = common.argument_parser('peers', __doc__)
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--joints', type=int, default=20, help='joints of a skeleton (default 20)')
    parser.add_argument('--batch_size', type=int, default=128, help='sequences in a batch (default 128)')
    parser.add_argument('--steps', type=common.positive, default=4, help='steps a turn (default %(default)s)')
    parser.set_defaults(gpu='-1')
    options = parser.parse_args(argv)
    if options.gpu != '-1':
        raise UserError(f'--gpu {options.gpu} was asked for, and peers are measured on the CPU alone: leave it out')
    common.check_json_path(options.json)
    names = [OURS, KERAS, TORCH] if find_spec(TORCH) else [OURS, KERAS]
    if TORCH not in names:
        say('PyTorch is not installed here (pip install torch), so that it is left out')
    sizes = {name: getattr(options, name) for name in ('length', 'joints', 'batch_size', 'steps')}
    facts, results = measure_in_turn(names, sizes, options.repeats)
    print(common.format_facts(facts))
    rows = [
        (name, *(1e3 * results[f'{kind}_{name}'] for kind in ('cpu', 'wall')), results[f'cost_{name}'])
        for name in names
    ]
    print(common.format_table(('encoder step', 'processor ms', 'wall ms', 'mean cost of the first turn'), rows))
    rows = [(f'{name} / ours', results[f'ratio_{name}'], results[f'ratio_wall_{name}']) for name in names[1:]]
    print(common.format_table(('medians of pairs', 'by processor time', 'by wall time'), rows))
    common.write_json(options.json, 'peers', facts, results)


def measure_in_turn(names: list[str], sizes: dict[str, Any], repeats: int) -> tuple[dict, dict[str, Any]]:
    """Times turns of `sizes['steps']` steps of each, one after the other, `repeats` times.

    Returns the machine's facts and, by name, `cpu_…` and `wall_…`: medians of the seconds a step; `cost_…`; and
    for all but the first `ratio_…` and `ratio_wall_…`: medians of its seconds divided by the first's in the same round.

    Raises UserError: one of them computes something else, or ended early.
    """
    context, lines = multiprocessing.get_context('spawn'), {}
    for name in names:
        lines[name], theirs = context.Pipe()
        context.Process(target=_serve, args=(name, sizes, theirs), daemon=True).start()
        theirs.close()
    try:
        begun = {name: line.recv() for name, line in lines.items()}
        seconds = {name: [] for name in names}
        for _ in range(repeats):
            for name, line in lines.items():
                line.send(True)
                seconds[name].append(line.recv())
    except EOFError:
        raise UserError(f'the process of {name} ended before it was measured: see what it said above') from None
    costs = {name: cost for name, (_, cost) in begun.items()}
    if max(costs.values()) - min(costs.values()) > CLOSE * costs[OURS]:
        raise UserError(f'the first turns should cost the same, and cost {costs}: they do not compute the same')
    results: dict[str, Any] = {'steps': sizes['steps'], 'rounds': repeats}
    for name, found in seconds.items():
        for kind, own, first in zip(
            ('cpu', 'wall'), zip(*found, strict=True), zip(*seconds[OURS], strict=True), strict=True
        ):
            ending = '' if kind == 'cpu' else '_wall'
            results[f'{kind}_{name}'] = statistics.median(own)
            if name != OURS:
                results[f'ratio{ending}_{name}'] = statistics.median(a / b for a, b in zip(own, first, strict=True))
        results[f'cost_{name}'] = costs[name]
    return begun[OURS][0], results


def _serve(name: str, sizes: dict[str, Any], line: Connection) -> None:
    """Takes a turn whenever it is told to; sends facts and the first turn's cost, then seconds a step of each turn."""
    facts = common.start('-1') if name != TORCH else {}
    run = _training_steps(name, sizes)
    line.send((facts, run()))
    run()  # what is compiled or allocated once
    with contextlib.suppress(EOFError):  # all rounds are over
        while line.recv():
            cpu, wall = _processor_time(), time.perf_counter()
            run()
            line.send(((_processor_time() - cpu) / sizes['steps'], (time.perf_counter() - wall) / sizes['steps']))


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _training_steps(name: str, sizes: dict[str, Any]) -> Callable[[], float]:
    """A function that takes a turn and returns the mean cost of its steps."""
    from sge_la.model.config import EncoderConfig

    config = EncoderConfig(sizes['length'], sizes['joints'])
    if name == OURS:
        return encoder_step.training_steps(config, sizes['batch_size'], sizes['steps'])
    from sge_la.model.gait_encoder import initial_params
    from sge_la.training.encoders import CLIP
    from sge_la.training.epochs import LEARNING_RATE

    peer = importlib.import_module(f'benchmarks.peer_{name}')
    inputs = encoder_step.random_inputs(config, sizes['batch_size'] * sizes['steps'])
    return peer.training_steps(config, initial_params(config, 0), inputs, sizes['batch_size'], LEARNING_RATE, CLIP)


if __name__ == '__main__':
    sys.exit(run_command(main))
