"""Device, seeds and versions: what a run depends on besides its options."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from sge_la.errors import UserError

BACKENDS = ('tensorflow', 'jax')
# What TensorFlow says on stderr as it starts, whatever its log level: instructions, missing drivers, and the like.
_CHATTER = re.compile(
    rb'WARNING: All log messages before absl|To enable the following|'
    rb'[IWE]\d{4} .*(oneDNN|cuda|cuInit|cpu_feature_guard|computation_placer)'
)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Lets TensorFlow start inside without its chatter on stderr; any other line there appears at the end."""
    _refuse_missing_backend()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            os.write(2, b''.join(line for line in file if not _CHATTER.match(line)))


def _refuse_missing_backend() -> None:
    """Keras would end in a traceback where the package that KERAS_BACKEND names is not there."""
    name = os.environ.get('KERAS_BACKEND') or 'tensorflow'
    if name not in BACKENDS:
        raise UserError(
            f'KERAS_BACKEND is {name!r}, and one of {", ".join(BACKENDS)} was expected; set it to one of them'
        )
    if name not in sys.modules and find_spec(name) is None:
        raise UserError(f'the package {name}, which computes here, is not installed: pip install {name}')


def start(gpu: str, seed: int) -> str:
    """Chooses the device and seeds Keras' backend; to be called before anything is computed.

    `gpu`: number of the GPU, '-1' for the CPU. A machine without a GPU computes on the CPU. `seed`: of Keras' own
    generators; everything random in this package has its own generator besides. Returns the device in words, such as
    'CPU (no GPU found)'. Raises UserError: GPUs are there, but not this one.
    """
    import keras

    device = _tensorflow_device(int(gpu)) if keras.backend.backend() == 'tensorflow' else _jax_device(int(gpu))
    keras.utils.set_random_seed(seed)
    return device


def _choice(gpu: int, count: int) -> str | None:
    """None if GPU number `gpu` is to be used, else the CPU and why."""
    if gpu < 0:
        return 'CPU'
    if count == 0 and gpu == 0:  # the original's default, which is no wish
        return 'CPU (no GPU found)'
    if count == 0:
        raise UserError(f'--gpu {gpu} is not there: no GPU was found here; leave the flag out, or use -1 for the CPU')
    if gpu >= count:
        raise UserError(
            f'--gpu {gpu} is not there: this machine has GPUs 0 to {count - 1}; use one of them, or -1 for the CPU'
        )
    return None


def _tensorflow_device(gpu: int) -> str:
    import tensorflow as tf

    with quietly():  # it complains about the missing driver of a machine without a GPU
        devices = tf.config.list_physical_devices('GPU')
    words = _choice(gpu, len(devices))
    if words:
        tf.config.set_visible_devices([], 'GPU')
        return words
    tf.config.set_visible_devices(devices[gpu], 'GPU')
    tf.config.experimental.set_memory_growth(devices[gpu], True)
    return f'GPU {gpu}: {tf.config.experimental.get_device_details(devices[gpu]).get("device_name", "unknown")}'


def _jax_device(gpu: int) -> str:
    import jax

    devices = [device for device in jax.devices() if device.platform == 'gpu']
    words = _choice(gpu, len(devices))
    if words:
        jax.config.update('jax_default_device', jax.devices('cpu')[0])
        return words
    jax.config.update('jax_default_device', devices[gpu])
    return f'GPU {gpu}: {devices[gpu].device_kind}'


def available_cores() -> int:
    """CPU cores that this process may use (a container or `taskset` may allow fewer than there are)."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(device: str, precision: str = 'float32') -> dict[str, str | int]:
    """Versions and machine, for config.json and benchmark records.

    `device`: in words, from `start`; `precision`: what the run asked for, `--precision`.
    """
    import keras
    import numpy

    backend = keras.backend.backend()
    found = {
        'python': platform.python_version(),
        'keras': keras.__version__,
        'numpy': numpy.__version__,
        'backend': backend,
        backend: __import__(backend).__version__,
        'device': device,
        'matrix_products': matrix_products(device, precision),
        'threads': available_cores(),
        'machine': f'{platform.system()} {platform.machine()}',
    }
    revision = git_revision()
    return found | ({'git_revision': revision} if revision else {})


def matrix_products(device: str, precision: str = 'float32') -> str:
    """The precision of matrix products: 'float32', or on a GPU 'TF32' unless the backend is told otherwise; 'bfloat16'.

    `device`: in words, from `start`; `precision`: what the run asked for: the above is said of 'float32', anything else
    is what it says.
    """
    if precision != 'float32':
        return precision
    import keras

    if device.startswith('CPU'):
        return 'float32'
    if keras.backend.backend() == 'jax':
        import jax

        asked = jax.config.jax_default_matmul_precision
        return 'float32' if asked in ('highest', 'float32') else asked or 'TF32'
    import tensorflow as tf

    return 'TF32' if tf.config.experimental.tensor_float_32_execution_enabled() else 'float32'


@cache
def git_revision() -> str | None:
    """The revision of this code, with `-dirty` when files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    command = ['git', '-C', str(root), 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*']
    if not (root / '.git').exists():
        return None
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
