"""Training and evaluation on JAX, where TensorFlow cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sge_la import checkpoints

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(find_spec('jax') is None, reason='JAX is not installed: pip install jax')
# A name that is None in sys.modules cannot be imported.
START = """
import sys
sys.modules['tensorflow'] = None
import train, evaluate
train.main([*sys.argv[1:], '--batch_size', '8', '--epochs', '2', '--rn_epochs', '2'])
evaluate.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_both_commands_run_without_tensorflow(write_tiny, tmp_path):
    """The banner names the backend; what is written is read where TensorFlow is, and no loss is off."""
    data, models = write_tiny(each=8), tmp_path / 'Models'
    flags = ['--dataset', 'BIWI', '--gpu', '-1', '--data_dir', str(data), '--models_dir', str(models)]
    environment = {**os.environ, 'KERAS_BACKEND': 'jax', 'JAX_PLATFORMS': 'cpu'}
    done = subprocess.run(
        [sys.executable, '-c', START, *flags], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'jax ' in done.stdout and 'float32 matrix products' in done.stdout
    assert done.stdout.count('Rank-1 Accuracy') >= 2
    folders = {axis: next(models.glob(f'Gait_Encoding_models/BIWI_LA_{axis}_*')) for axis in 'xyz'}
    params = checkpoints.load_encoder(folders, 20, 6).params
    assert all(np.isfinite(value).all() for value in params.values())


@pytest.mark.parametrize(('precision', 'triton'), [(None, None), ('tensorfloat32', None), ('highest', False)])
def test_strict_products_on_a_gpu_are_left_to_cublas(precision, triton, monkeypatch):
    """XLA refuses names that it does not know, on a CPU too."""
    jax = pytest.importorskip('jax')
    from sge_la.backends import jax as on_jax

    monkeypatch.setattr(on_jax, 'device', lambda: SimpleNamespace(platform='gpu'))
    with jax.default_matmul_precision(precision):
        options = on_jax._options()
    assert options.get('xla_gpu_enable_triton_gemm') is triton
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2
    monkeypatch.setattr(on_jax, 'device', lambda: SimpleNamespace(platform='cpu'))
    assert on_jax._options() is None
