"""Where a GPU's time goes, kernel by kernel, as JAX's profiler sees it."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import common
from sge_la.errors import UserError

# The first pattern that a kernel's name has decides.
KINDS = (
    ('copies', r'(?i)memcpy|memset|^copy|concat|transpose'),
    ('matrix products', r'(?i)gemm|nvjet|cutlass|xmma|splitk|dot|cublas'),
    ('sums', r'(?i)reduc'),
    ('others', ''),
)
_SHOWN = 12


def refuse_other_devices() -> None:
    """Raises a `UserError` where Keras does not run on JAX with a GPU."""
    if common.keras_backend() != 'jax' or not common.on_gpu():
        raise UserError('--kernels looks at a GPU through JAX: leave it out, or set KERAS_BACKEND=jax where a GPU is')


def profile(run: Callable[[], object], steps: int) -> dict:
    """Runs something once more under the profiler.

    Args:
        run: what was compiled already.
        steps: that it takes.

    Returns:
        `microseconds` a step by kind of kernel, `launches` a step by kind, and `longest`: name and microseconds a step
        of the kernels that take longest.
    """
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        path = next(Path(folder).rglob('*.xplane.pb'))
        planes = jax.profiler.ProfileData.from_file(str(path)).planes
        streams = (line for plane in planes if 'GPU' in plane.name for line in plane.lines if 'Stream' in line.name)
        return summary(((event.name, event.duration_ns) for line in streams for event in line.events), steps)


def summary(events: Iterable[tuple[str, float]], steps: int) -> dict:
    """What `profile` returns, from names and nanoseconds of kernels."""
    micros, launches, longest = defaultdict(float), defaultdict(float), defaultdict(float)
    for name, nanoseconds in events:
        kind = next(kind for kind, pattern in KINDS if re.search(pattern, name))
        micros[kind] += nanoseconds / 1e3 / steps
        launches[kind] += 1 / steps
        longest[name] += nanoseconds / 1e3 / steps
    order = sorted(longest, key=longest.get, reverse=True)[:_SHOWN]
    return {
        'microseconds': dict(micros),
        'launches': dict(launches),
        'longest': [(name, longest[name]) for name in order],
    }


def table(found: dict) -> str:
    """The summary as two tables."""
    kinds = [kind for kind, _ in KINDS if kind in found['microseconds']]
    rows = [(kind, found['launches'][kind], found['microseconds'][kind]) for kind in kinds]
    rows.append(('all', sum(found['launches'].values()), sum(found['microseconds'].values())))
    by_kind = common.format_table(('kernels', 'a step', 'µs a step'), rows)
    return by_kind + '\n\n' + common.format_table(('longest', 'µs a step'), found['longest'])
