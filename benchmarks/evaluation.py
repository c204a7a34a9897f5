"""Seconds that scoring a test set takes, after start-up: `python -m benchmarks.evaluation`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import common
from sge_la.errors import run_command
from sge_la.settings.options import FLOAT32


def main(argv: Sequence[str] | None = None) -> None:
    """Scores random features: answers of the network, votes of sequences, and all metrics that are printed."""
    parser = common.argument_parser('evaluation', __doc__)
    parser.add_argument('--frames', type=int, default=20000, help='feature rows to score (default 20000)')
    parser.add_argument('--classes', type=int, default=164, help='identities (default 164)')
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    facts = common.start(options.gpu)
    results = measure_scoring(options.frames, options.classes, options.length, options.repeats)
    print(common.format_facts(facts))
    rows = [
        ('first time with compiling, s', f'{results["seconds_first"]:.3f}'),
        ('answers and metrics, s', f'{results["seconds"]:.3f}'),
        ('spread of the repeats', f'{results["spread"]:.2f}'),
        ('bootstrap intervals besides, s', f'{results["seconds_bootstrap"]:.3f}'),
        ('work of the network, GFLOP', f'{results["gflop"]:.1f}'),
        *common.yardstick_rows(results),
    ]
    setting = f'{options.frames} frames, 768 → 256 → {options.classes}'
    print(common.format_table(('evaluation', setting), rows))
    common.write_json(options.json, 'evaluation', facts, results)


def measure_scoring(frames: int, classes: int, length: int, repeats: int) -> dict[str, float]:
    """Measures `evaluation.score` on frames (`--manner ap`), and the bootstrap over people.

    Returns:
        `seconds`, `seconds_first`, `seconds_bootstrap`, `fraction_of_matrix_rate` and what they come from.
    """
    import numpy as np

    from sge_la.evaluation.intervals import bootstrap_evaluation
    from sge_la.evaluation.scores import compiled_recogniser, score
    from sge_la.model import recognition
    from sge_la.paper.cost import recognition_cost

    rng = np.random.default_rng(0)
    features = rng.standard_normal((frames, 768), np.float32)
    labels = np.repeat(rng.integers(0, classes, -(-frames // length)), length)[:frames]
    params, compiled = recognition.initial_params(768, classes, 0), compiled_recogniser('float32')

    def run():
        return score(params, features, labels, length, 'ap', compiled=compiled)

    first = common.measure(run, repeats=1, warm_up=0)
    before = common.matrix_rates(FLOAT32)
    timing = common.measure(run, repeats=repeats, warm_up=1)
    after = common.matrix_rates(FLOAT32)
    found = run().sequences
    bootstrap = common.measure(
        lambda: bootstrap_evaluation(found.scores, found.labels, found.labels, ranks=[1, 5]), repeats=1, warm_up=0
    )
    work = recognition_cost(768, classes, rows=frames).forward / 1e9
    return {
        'seconds_first': first.median,
        'seconds': timing.median,
        'spread': timing.spread,
        'seconds_bootstrap': bootstrap.median,
        'gflop': work,
        **common.beside_yardstick(work / timing.median, before, after),
    }


if __name__ == '__main__':
    sys.exit(run_command(main))
