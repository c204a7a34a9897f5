"""Rate of turning sequences into features (CAGEs of x, y and z) in a memory map: `python -m benchmarks.extraction`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import common
from sge_la.errors import run_command
from sge_la.settings.options import FLOAT32


def main(argv: Sequence[str] | None = None) -> None:
    """Encodes random sequences into a memory-mapped file, and prints the rate and the peak memory."""
    parser = common.argument_parser('extraction', __doc__)
    parser.add_argument('--sequences', type=int, default=8192, help='sequences to encode (default 8192)')
    parser.add_argument('--length', type=int, default=6, help='frames in a sequence (default 6)')
    parser.add_argument('--joints', type=int, default=20, help='joints of a skeleton (default 20)')
    common.add_precision(parser)
    options = parser.parse_args(argv)
    common.check_json_path(options.json)
    facts = common.start(options.gpu, options.precision)
    sizes = options.sequences, options.length, options.joints
    results = measure_extraction(*sizes, options.repeats, options.precision)
    print(common.format_facts(facts))
    rows = [
        ('all sequences, s', f'{results["seconds"]:.3f}'),
        ('sequences a second', f'{results["sequences_per_second"]:,.0f}'),
        ('spread of the repeats', f'{results["spread"]:.2f}'),
        ('work, GFLOP', f'{results["gflop"]:.1f}'),
        ('features written, MiB', f'{results["bytes_written"] / 2**20:.0f}'),
        *common.yardstick_rows(results),
        ('peak memory of the process, MiB', f'{results["peak_bytes"] / 2**20:.0f}'),
        ('of it before the first sequence, MiB', f'{results["start_bytes"] / 2**20:.0f}'),
    ]
    setting = f'N={options.sequences}, T={options.length}, J={options.joints}'
    print(common.format_table(('extraction', setting), rows))
    common.write_json(options.json, 'extraction', facts, results)


def measure_extraction(
    sequences: int, length: int, joints: int, repeats: int, precision: str = FLOAT32
) -> dict[str, float]:
    """Measures encoding with one row a frame (`--manner ap`), the file included.

    Returns:
        `seconds`, `gflops`, `fraction_of_matrix_rate`, `peak_bytes` and what they come from.
    """
    import numpy as np

    from sge_la.features import cages
    from sge_la.model.config import EncoderConfig
    from sge_la.model.gait_encoder import initial_params
    from sge_la.model.pretext import pretext
    from sge_la.paper.cost import encoder_cost

    config = EncoderConfig(length=length, joints=joints, precision=precision)
    params = initial_params(config, 0)
    skeletons = np.random.default_rng(0).normal(size=(sequences, length, joints, 3)).astype(np.float32)
    function, task, rows = cages.encoder_function(config, 'ap'), pretext('rev_rec', skeletons), np.arange(sequences)
    start = common.peak_memory()
    with tempfile.TemporaryDirectory() as folder:
        width = cages.feature_shape(config, 'ap')[1]
        out = np.lib.format.open_memmap(Path(folder) / 'features.npy', 'w+', np.float32, (sequences * length, width))
        before = common.matrix_rates(precision)
        encode = partial(cages.write_features, function, params, task, rows, out)
        timing = common.measure(encode, repeats=repeats, warm_up=1)
        written = out.nbytes
    peak = common.peak_memory()
    after = common.matrix_rates(precision)
    # The contrast head and what comes after the context vectors is not needed for them.
    work = encoder_cost(replace(config, contrastive=False)).forward * sequences / 1e9
    return {
        'seconds': timing.median,
        'sequences_per_second': sequences / timing.median,
        'spread': timing.spread,
        'gflop': work,
        'bytes_written': written,
        **common.beside_yardstick(work / timing.median, before, after),
        'peak_bytes': peak,
        'start_bytes': start,
    }


if __name__ == '__main__':
    sys.exit(run_command(main))
