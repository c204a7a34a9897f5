"""Adam as TensorFlow 1 has it: epsilon outside the root, bias correction in the rate.

Written out because L2, elementwise clipping and the moments then run over the weights in one pass, and because the
state is three plain dicts under the original's names, which makes checkpoints and resuming plain copies.
"""

from __future__ import annotations

from keras import ops

from sge_la.backends import fused

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def zero_moments(params: dict) -> dict:
    """Zeros shaped as `params`, for a moment before the first step."""
    return {name: ops.zeros(value.shape, value.dtype) for name, value in params.items()}


@fused
def adam_step(params: dict, first: dict, second: dict, grads: dict, step, rate: float, *, l2: float = 0.0, clip=None):
    """One update of every parameter.

    Args:
        params, first, second: parameters and Adam's two moments, by name.
        grads: gradients by name, without the L2 term.
        step: the number of this update, from 1, a float scalar.
        rate: learning rate.
        l2: weight of `½ θ²`, whose gradient `l2 · θ` is added before clipping.
        clip: each element of the gradient is clipped to ± this.

    Returns:
        New (params, first, second).
    """
    step = ops.cast(step, 'float32')
    scaled = rate * ops.sqrt(1 - ops.power(BETA_2, step)) / (1 - ops.power(BETA_1, step))
    new_params, new_first, new_second = {}, {}, {}
    for name, value in params.items():
        grad = grads[name] + l2 * value if l2 else grads[name]
        if clip is not None:
            grad = ops.clip(grad, -clip, clip)
        new_first[name] = first[name] + (grad - first[name]) * (1 - BETA_1)
        new_second[name] = second[name] + (ops.square(grad) - second[name]) * (1 - BETA_2)
        new_params[name] = value - scaled * new_first[name] / (ops.sqrt(new_second[name]) + EPSILON)
    return new_params, new_first, new_second
