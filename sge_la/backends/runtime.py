"""Device, seeds and versions: what a run depends on besides its options."""

from __future__ import annotations

import glob
import os
import platform
import subprocess
from functools import cache
from pathlib import Path

from sge_la import backends
from sge_la.backends import parallel
from sge_la.backends.starting import JAX, NUMPY, quietly, wish
from sge_la.errors import UserError


def start(gpu: str, seed: int) -> str:
    """Chooses the device, and seeds TensorFlow where that is in use; to be called before anything is computed.

    `gpu`: number of the GPU, '-1' for the CPU. A machine without a GPU computes on the CPU. `seed`: of Keras' and
    TensorFlow's own generators; everything random in this package has its own generator besides. Returns the device in
    words, such as 'CPU (no GPU found)'. Raises UserError: GPUs are there, but not this one.
    """
    backend = backends.name()
    if backend == NUMPY:
        return 'CPU' if gpu_seems_there() else _choice(int(gpu), 0)
    if backend == JAX:  # nothing draws from Keras' generators, and seeding them would load TensorFlow as well
        return _jax_device(int(gpu))
    import keras

    device = _tensorflow_device(int(gpu))
    keras.utils.set_random_seed(seed)
    return device


def gpu_seems_there() -> bool:
    """Whether a GPU's driver is there, as far as files tell; asking TensorFlow would take seconds."""
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    drivers = '/dev/nvidia[0-9]*', '/dev/kfd', '/dev/dxg'  # NVIDIA's, AMD's, and Windows' for Linux
    return not hidden and any(glob.glob(pattern) for pattern in drivers)


def for_inference(asked: str | None, gpu: str, precision: str) -> str | None:
    """The backend for a command that uses trained models, as `backends.using` takes it.

    `asked`: by `--backend`, else KERAS_BACKEND counts, and else NumPy is taken, which starts at once, unless there may
    be a GPU to compute on, or products are not float32; `gpu`, `precision`: of the run. Raises UserError: NumPy was
    asked for, and does not compute in this precision.
    """
    if chosen := asked or wish():
        if chosen == NUMPY and precision != 'float32':
            raise UserError(
                f'the run is of --precision {precision}, which NumPy does not have: use --backend tensorflow or jax'
            )
        return chosen
    return NUMPY if precision == 'float32' and (gpu == '-1' or not gpu_seems_there()) else None


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

    if shared := parallel.group():
        first = jax.local_devices(backend='cpu' if gpu < 0 else None)[0]
        jax.config.update('jax_default_device', first)
        kind = 'CPU' if first.platform == 'cpu' else f'GPU: {first.device_kind}'
        return f'{kind}, {shared}'
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
    backend = backends.name()
    packages = [NUMPY] if backend == NUMPY else ['keras', NUMPY, backend]
    found = {
        'python': platform.python_version(),
        **{name: __import__(name).__version__ for name in packages},
        'backend': backend,
        'device': device,
        'matrix_products': matrix_products(device, precision),
        'threads': available_cores(),
        'machine': f'{platform.system()} {platform.machine()}',
    }
    if shared := parallel.group():
        found |= {'devices': shared.size, 'processes': shared.processes}
    revision = git_revision()
    return found | ({'git_revision': revision} if revision else {})


def matrix_products(device: str, precision: str = 'float32') -> str:
    """The precision of matrix products: 'float32', or on a GPU 'TF32' unless the backend is told otherwise; 'bfloat16'.

    `device`: in words, from `start`; `precision`: what the run asked for: the above is said of 'float32', anything else
    is what it says.
    """
    if precision != 'float32':
        return precision
    if device.startswith('CPU'):
        return 'float32'
    if backends.name() == JAX:
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
