"""The recognition network: `relu(X W1 + b1) W + Variable` (`Variable` is the original's name of the last bias)."""

from __future__ import annotations

import numpy as np

from sge_la.backends import ops
from sge_la.model.losses import cross_entropy_and_gradients
from sge_la.model.products import matmul

HIDDEN = 256


def initial_params(inputs: int, classes: int, seed: int, hidden: int = HIDDEN) -> dict[str, np.ndarray]:
    """Starting values as the original draws them: kernels normal with sd 1, biases 0.

    `inputs`: D, values of a feature row; `classes`: C. Returns float32 `W1 [D, hidden]`, `b1 [hidden]`, `W [hidden,
    C]`, `Variable [C]`.
    """
    rng = np.random.default_rng([seed, inputs, classes])
    return {
        'W1': rng.standard_normal((inputs, hidden), np.float32),
        'b1': np.zeros(hidden, np.float32),
        'W': rng.standard_normal((hidden, classes), np.float32),
        'Variable': np.zeros(classes, np.float32),
    }


def recognise(params: dict, features):
    """Logits `[R, C]` of feature rows `[R, D]`."""
    hidden = ops.relu(matmul(features, params['W1']) + params['b1'])
    return matmul(hidden, params['W']) + params['Variable']


def loss_and_gradients(params: dict, features, labels):
    """Mean cross-entropy, logits, and the gradients of the loss.

    `features`: `[B, D]`; `labels`: class indices `[B]`. Returns ((loss, logits `[B, C]`), gradients by variable name).
    """
    return cross_entropy_and_gradients(recognise, params, features, labels)
