"""What every benchmark shares: flags, the machine's facts, a yardstick, timing, tables and JSON.

A benchmark `NAME` is a module with a `main(argv)` that measures, and ends with::

    if __name__ == '__main__':
        sys.exit(run_command(main))

It states the work that it did (FLOP, bytes) and the fraction of what the machine can do, as `matrix_rate` measures it
in the same process. Keras and its backend are imported inside the functions, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sge_la.backends import runtime
from sge_la.errors import UserError
from sge_la.files import text as files
from sge_la.settings.options import BFLOAT16, FLOAT32

# Orders of the square matrices that the yardstick tries. A GPU needs larger ones to be kept busy.
CPU_SIZES = (1024, 2048, 3072)
GPU_SIZES = (4096, 8192)


@dataclass(frozen=True)
class Timing:
    """Seconds of each repeat of something, warm-up left out."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """(slowest − fastest) / median: how far the repeats can be trusted."""
        return (max(self.seconds) - self.best) / self.median


def measure(function: Callable[[], object], *, repeats: int = 5, warm_up: int = 2) -> Timing:
    """Times a function.

    Args:
        function: takes nothing and returns only when its result is there: on a device that works ahead of the
            program it has to wait, e.g. by fetching one number.
        repeats: timed calls, at least 1.
        warm_up: calls before them, for compiling and for filling caches.
    """
    if repeats < 1 or warm_up < 0:
        raise ValueError(f'expected repeats >= 1 and warm_up >= 0, found {repeats} and {warm_up}')
    for _ in range(warm_up):
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return Timing(tuple(seconds))


def peak_memory() -> int:
    """The largest resident size that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def _cpu_model() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()


def keras_backend() -> str:
    import keras

    backend = keras.backend.backend()
    if backend not in ('tensorflow', 'jax'):
        raise UserError(f"the benchmarks know the backends tensorflow and jax, not '{backend}'; set KERAS_BACKEND")
    return backend


def start(gpu: str = '0', precision: str = FLOAT32) -> dict[str, Any]:
    """Chooses the device and tells what a measured number has to be read with.

    Args:
        gpu: number of the GPU, '-1' for the CPU, as in `train.py`.
        precision: of the matrix products, as in `train.py`.

    Returns:
        Machine, versions, backend, device and threads.

    Raises:
        UserError: the Keras backend is neither TensorFlow nor JAX, or the machine has other GPUs.
    """
    device = runtime.start(gpu, 0)
    return {
        'backend': keras_backend(),
        'cpu': _cpu_model(),
        'cores': runtime.available_cores(),
        'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1),
        **runtime.environment(device, precision),
    }


def on_gpu() -> bool:
    """Whether the backend computes on a GPU when it is not told where."""
    if keras_backend() == 'jax':
        from sge_la.backends.jax import device

        return device().platform == 'gpu'
    import tensorflow as tf

    return bool(tf.config.get_visible_devices('GPU'))


def _matrix_product(backend: str, size: int, dtype: str, products: int) -> Callable[[], object]:
    """A function that multiplies two `[size, size]` matrices `products` times and waits for the last result."""
    import numpy as np

    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    if backend == 'jax':
        import jax
        import jax.numpy as jnp

        left, right = jnp.asarray(left, dtype), jnp.asarray(right, dtype)
        multiply = jax.jit(jnp.matmul)
    else:
        import tensorflow as tf

        left, right = tf.cast(left, dtype), tf.cast(right, dtype)
        multiply = tf.matmul

    def run() -> object:
        for _ in range(products):
            result = multiply(left, right)
        # Fetching one element waits for the product; fetching all of them would measure the copy as well.
        return float(result[0, 0])

    return run


def matrix_rate(dtype: str = 'float32', *, sizes: Sequence[int] | None = None, repeats: int = 5) -> float:
    """The best rate of a large matrix product through the Keras backend in this process, in GFLOP/s.

    It is the yardstick of every benchmark of arithmetic: all threads, square matrices, 2·size³ FLOP a product, best of
    all sizes and repeats. On a GPU it follows the precision that the backend is set to (TF32 or float32).

    Args:
        dtype: of both matrices and of the product.
        sizes: orders to try; by default those that suit the device.
        repeats: timed runs of each order.

    Raises:
        UserError: the Keras backend is neither TensorFlow nor JAX.
    """
    backend = keras_backend()
    products, usual = (10, GPU_SIZES) if on_gpu() else (1, CPU_SIZES)
    rates = []
    for size in sizes or usual:
        timing = measure(_matrix_product(backend, size, dtype, products), repeats=repeats)
        rates.append(products * 2 * size**3 / timing.best / 1e9)
    return max(rates)


def matrix_rates(precision: str) -> dict[str, float]:
    """`matrix_rate` of float32 and, where it is measured, of bfloat16, by name."""
    return {dtype: matrix_rate(dtype) for dtype in dict.fromkeys((FLOAT32, precision))}


def beside_yardstick(gflops: float, *measured: Mapping[str, float]) -> dict[str, float]:
    """A rate beside the best of what `matrix_rates` gave, before and after.

    Returns:
        `gflops`, `matrix_gflops`, `fraction_of_matrix_rate`; the last two with `_bfloat16` too, where it is measured.
    """
    found = {'gflops': gflops}
    for dtype in measured[0]:
        ending, best = '' if dtype == FLOAT32 else f'_{dtype}', max(rates[dtype] for rates in measured)
        found |= {f'matrix_gflops{ending}': best, f'fraction_of_matrix_rate{ending}': gflops / best}
    return found


def yardstick_rows(results: Mapping[str, float]) -> list[tuple[str, str]]:
    """What `beside_yardstick` gave, as rows of a table."""
    rows = [('rate, GFLOP/s', f'{results["gflops"]:.0f}')]
    for ending, words in (('', ''), (f'_{BFLOAT16}', f' of {BFLOAT16}')):
        if f'matrix_gflops{ending}' in results:
            rows += [
                (f'rate of a large matrix product{words}, GFLOP/s', f'{results[f"matrix_gflops{ending}"]:.0f}'),
                (f'fraction of the matrix rate{words}', f'{results[f"fraction_of_matrix_rate{ending}"]:.2f}'),
            ]
    return rows


def positive(text: str) -> int:
    """A whole number from 1, for a parser."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected a whole number from 1, found {text}')
    return value


def argument_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser with the flags that every benchmark has: `--json`, `--repeats` and `--gpu`."""
    parser = argparse.ArgumentParser(
        prog=f'python -m benchmarks.{name}',
        description=description,
        epilog='The backend is the one that KERAS_BACKEND names (tensorflow or jax).',
    )
    parser.add_argument('--json', metavar='FILE', type=Path, help='write facts and results to FILE as well')
    parser.add_argument('--repeats', metavar='N', type=positive, default=5, help='timed repeats (default %(default)s)')
    parser.add_argument(
        '--gpu', metavar='N', default='0', help='number of the GPU, -1 for the CPU (default %(default)s)'
    )
    return parser


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds `--precision`, as train.py has it."""
    parser.add_argument(
        '--precision',
        choices=(FLOAT32, BFLOAT16),
        default=FLOAT32,
        help='operands of matrix products (default %(default)s)',
    )


def check_json_path(path: Path | None) -> None:
    """Refuses a `--json` that cannot be written, before anything is measured.

    Raises:
        UserError: it is a folder, or its folder does not exist or may not be written to.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"--json expects a file, and '{path}' is a folder: name a file in it.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"--json expects a file in an existing folder, and '{path.parent}' is none: make it first.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UserError(f"--json '{path}' cannot be written, because its folder may not be written to: choose another.")


def _cell(value: object) -> str:
    if value is None:
        return '-'
    if isinstance(value, float):
        if value and math.isfinite(value) and abs(value) < 1e-3:
            return f'{value:.3e}'
        return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'{value:,}'
    return str(value)


def format_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, also readable as plain text: columns of numbers to the right, others to the left.

    Args:
        headers: one text a column.
        rows: one value a column each; None is shown as '-'.
    """
    if any(len(row) != len(headers) for row in rows):
        raise ValueError(f'expected rows of {len(headers)} values, found {sorted({len(row) for row in rows})}')
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headers, *cells, strict=True)]
    numeric = [
        all(row[i] is None or isinstance(row[i], int | float) for row in rows) and bool(rows)
        for i in range(len(headers))
    ]

    def line(texts: Sequence[str]) -> str:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, numeric, strict=True)
        ]
        return '| ' + ' | '.join(padded) + ' |'

    rule = '| ' + ' | '.join(
        '-' * (w - 1) + ':' if right else '-' * w for w, right in zip(widths, numeric, strict=True)
    )
    return '\n'.join([line(headers), rule + ' |', *(line(row) for row in cells)])


def format_facts(facts: Mapping[str, Any]) -> str:
    """The machine's facts in two lines, for the head of a benchmark's output."""
    versions = ', '.join(f'{name} {facts[name]}' for name in ('numpy', 'keras', 'tensorflow', 'jax') if name in facts)
    return (
        f'{facts["cpu"]}, {facts["cores"]} cores, {facts["memory_gib"]} GiB, {facts["machine"]}\n'
        f'Python {facts["python"]}, {versions}; {facts["backend"]} on {facts["device"]}'
    )


def write_json(path: Path | None, name: str, facts: Mapping[str, Any], results: Mapping[str, Any]) -> None:
    """Writes `{"benchmark": name, "machine": facts, **results}`; the file is either whole or not there.

    Raises:
        UserError: it could not be written.
    """
    if path is None:
        return
    files.write_json(path, {'benchmark': name, 'machine': facts, **results})
