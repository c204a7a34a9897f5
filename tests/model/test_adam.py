"""Adam against the same update written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from sge_la.model.adam import adam_step


def test_five_steps_equal_tensorflows_formula():
    """lr_t = lr sqrt(1 - b2^t) / (1 - b1^t); epsilon outside the root; L2 before the clip."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(3, 4))
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    state = tuple({'w': value.astype(np.float32)} for value in (theta, m, v))
    for step in range(1, 6):
        grad = rng.normal(scale=4, size=theta.shape)
        total = np.clip(grad + 0.02 * theta, -5, 5)
        m = 0.9 * m + 0.1 * total
        v = 0.999 * v + 0.001 * total**2
        theta = theta - 5e-4 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-8)
        state = adam_step(*state, {'w': grad.astype(np.float32)}, np.float32(step), 5e-4, l2=0.02, clip=5.0)
    assert np.allclose(ops.convert_to_numpy(state[0]['w']), theta, atol=1e-6)
    assert np.allclose(ops.convert_to_numpy(state[2]['w']), v, rtol=1e-4)


def test_the_first_step_is_the_rate_whatever_the_gradient():
    """m / sqrt(v) is ±1 at first, so each weight moves by the learning rate."""
    params = {'w': np.zeros(3, np.float32)}
    moved, _, _ = adam_step(params, params, params, {'w': np.array([1e-3, -2.0, 4.0], np.float32)}, np.float32(1), 5e-4)
    assert ops.convert_to_numpy(moved['w']) == pytest.approx([-5e-4, 5e-4, -5e-4], rel=1e-3)
