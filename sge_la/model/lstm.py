"""The LSTM, for all coordinate axes at once.

Shapes: A axes, T frames, B sequences of a batch, U units. The kernel of a cell is `[A, K + U, 4U]`: rows of the
input first, then those of the previous state; columns in TensorFlow 1's gate order i, j, f, o. The stored bias does
not contain the forget gate's + 1, which is added at run time.
"""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

FORGET_BIAS = 1.0
# Loops up to this many frames are unrolled: that runs fastest, but compile time grows with every frame.
LONGEST_UNROLLED = 12


def lstm_cell(z, cell):
    """One LSTM step after its product.

    Args:
        z: pre-activations `[A, B, 4U]`, gates i, j, f, o side by side.
        cell: the cell's previous state c `[A, B, U]`.

    Returns:
        The new c and h, each `[A, B, U]`.
    """
    i, j, f, o = ops.split(z, 4, axis=-1)
    cell = ops.sigmoid(f + FORGET_BIAS) * cell + ops.sigmoid(i) * ops.tanh(j)
    return cell, ops.sigmoid(o) * ops.tanh(cell)


def recur(step: Callable, carry, frames):
    """Applies `step(carry, frame) -> (carry, outputs)` to every frame in order of time.

    Args:
        step: one step; `outputs` is a tuple of arrays `[A, ...]`.
        carry: a tuple of arrays.
        frames: a tuple of arrays `[A, T, ...]`.

    Returns:
        The last carry, and the outputs, each stacked to `[A, T, ...]`.
    """
    length = frames[0].shape[1]
    if length > LONGEST_UNROLLED:
        carry, outputs = ops.scan(step, carry, tuple(ops.swapaxes(frame, 0, 1) for frame in frames))
        return carry, tuple(ops.swapaxes(output, 0, 1) for output in outputs)
    steps = []
    for frame in zip(*(ops.unstack(frame, axis=1) for frame in frames), strict=True):
        carry, outputs = step(carry, frame)
        steps.append(outputs)
    return carry, tuple(ops.stack(output, axis=1) for output in zip(*steps, strict=True))


def before(initial, states):
    """The states before each frame: `initial` `[A, B, U]`, then all of `states` `[A, T, B, U]` but the last."""
    return ops.concatenate([ops.expand_dims(initial, 1), states[:, :-1]], axis=1)


def project(frames, kernel):
    """One product for all frames: `[A, T, B, K] @ [A, K, M] -> [A, T, B, M]`.

    A product of T·B rows runs at the machine's full rate, one of B rows does not; whatever does not depend on the
    step before is therefore multiplied here, outside the recurrence.
    """
    axes, length, batch, width = frames.shape
    rows = ops.reshape(frames, (axes, length * batch, width))
    return ops.reshape(ops.matmul(rows, kernel), (axes, length, batch, kernel.shape[-1]))


def lstm_layer(frames, kernel, bias, tap):
    """One LSTM layer over a sequence, started from zero.

    Args:
        frames: inputs `[A, T, B, K]`.
        kernel: `[A, K + U, 4U]`.
        bias: `[A, 4U]`.
        tap: added to the pre-activations, `[A, T, B, 4U]` (see `gradients`), or 0.

    Returns:
        (states h `[A, T, B, U]`, last (c, h), operands `[A, T, B, K + U]`: what the kernel was multiplied with).
    """
    width = frames.shape[-1]
    state_kernel = kernel[:, width:]
    z_inputs = project(frames, kernel[:, :width]) + bias[:, None, None] + tap

    def step(carry, frame):
        cell, state = carry
        cell, state = lstm_cell(frame[0] + ops.matmul(state, state_kernel), cell)
        return (cell, state), (state,)

    zero = ops.zeros((kernel.shape[0], frames.shape[2], kernel.shape[2] // 4), kernel.dtype)
    last, (states,) = recur(step, (zero, zero), (z_inputs,))
    return states, last, ops.concatenate([frames, before(zero, states)], axis=-1)
