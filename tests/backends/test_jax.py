"""Training and evaluation on JAX, where TensorFlow cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

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
