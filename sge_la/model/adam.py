"""Adam as TensorFlow 1 has it (epsilon outside the root, bias correction in the rate), and AdamW for the modern recipe.

Written out because L2, elementwise clipping and the moments then run over the weights in one pass, and because the
state is three plain dicts under the original's names, which makes checkpoints and resuming plain copies.
"""

from __future__ import annotations

import math

from sge_la.backends import fused, ops

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


@fused
def adam_step(params: dict, first: dict, second: dict, grads: dict, step, rate: float, *, l2: float = 0.0, clip=None):
    """One update of every parameter.

    `params`, `first`, `second`: parameters and Adam's two moments, by name; `grads`: gradients by name, without the L2
    term; `step`: the number of this update, from 1, a float scalar; `rate`: learning rate; `l2`: weight of `½ θ²`,
    whose gradient `l2 · θ` is added before clipping; `clip`: each element of the gradient is clipped to ± this. Returns
    new (params, first, second).
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


def learning_rate(step: int, total: int, peak: float, warm_up: int, *, schedule: bool = True) -> float:
    """The rate of an update: a line up to `peak`, then half a cosine down to 0 behind the last update.

    `step`: number of the update, from 1; `total`: updates of the whole training; `peak`: the highest rate; `warm_up`:
    updates until it is reached; at most a tenth of all; `schedule`: False: `peak` all the time.
    """
    if not schedule:
        return peak
    warm_up = max(1, min(warm_up, total // 10))
    if step <= warm_up:
        return peak * step / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up + 1)))


def clipped(grads: dict, longest: float) -> dict:
    """Gradients, shortened together where their joint length is above `longest`."""
    length = ops.sqrt(sum(ops.sum(ops.square(grad)) for grad in grads.values()))
    share = ops.minimum(1.0, longest / ops.maximum(length, 1e-12))
    return {name: grad * share for name, grad in grads.items()}


def adamw_step(params: dict, first: dict, second: dict, grads: dict, step, rate, decay: float, decayed: frozenset):
    """One update of every parameter (Loshchilov and Hutter's AdamW; epsilon outside the root).

    `params`, `first`, `second`, `grads`: parameters, Adam's two moments and gradients, by name; `step`: number of this
    update, from 1, a float scalar; `rate`: of this update, a float scalar; `decay`: share of `rate · θ` that is taken
    off beside Adam's step; `decayed`: names of the parameters that decay: kernels, not biases. Returns new (params,
    first, second).
    """
    step = ops.cast(step, 'float32')
    shrunk_1, shrunk_2 = 1 - ops.power(BETA_1, step), 1 - ops.power(BETA_2, step)
    new_params, new_first, new_second = {}, {}, {}
    for name, value in params.items():
        new_first[name] = BETA_1 * first[name] + (1 - BETA_1) * grads[name]
        new_second[name] = BETA_2 * second[name] + (1 - BETA_2) * ops.square(grads[name])
        change = (new_first[name] / shrunk_1) / (ops.sqrt(new_second[name] / shrunk_2) + EPSILON)
        if name in decayed:
            change = change + decay * value
        new_params[name] = value - rate * change
    return new_params, new_first, new_second
