"""The LSTM and its gradient, for all coordinate axes at once.

Shapes: A axes, T frames, B sequences of a batch, U units. The kernel of a cell is `[A, K + U, 4U]`: rows of the
input first, then those of the previous state; columns in TensorFlow 1's gate order i, j, f, o. The stored bias does
not contain the forget gate's + 1, which is added at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

FORGET_BIAS = 1.0
# Loops up to this many frames are unrolled: that runs fastest, but compile time grows with every frame.
LONGEST_UNROLLED = 12


def recur(step: Callable, carry: tuple, frames: tuple, keep: tuple[int, ...], *, reverse: bool = False):
    """Applies `step(carry, frame) -> carry` to every frame.

    Args:
        step: one step.
        carry: a tuple of arrays, all that is handed from step to step.
        frames: a tuple of arrays `[A, T, ...]`; a frame is a tuple of their slices `[A, ...]`.
        keep: which parts of the carry are wanted after every step.
        reverse: from the last frame to the first; what is kept stays in the frames' order.

    Returns:
        The last carry, and the wanted parts after each step, stacked to `[A, T, ...]`.
    """
    if frames[0].shape[1] > LONGEST_UNROLLED:
        # Keras' scan on TensorFlow wants outputs of the carry's own structure, so all of it is collected.
        def both(carry, frame):
            carry = step(carry, frame)
            return carry, carry

        by_time = tuple(ops.swapaxes(frame, 0, 1) for frame in frames)
        carry, outputs = ops.scan(both, carry, by_time, reverse=reverse)
        return carry, tuple(ops.swapaxes(outputs[part], 0, 1) for part in keep)
    order = slice(None, None, -1 if reverse else 1)
    steps = []
    for frame in list(zip(*(ops.unstack(frame, axis=1) for frame in frames), strict=True))[order]:
        carry = step(carry, frame)
        steps.append([carry[part] for part in keep])
    return carry, tuple(ops.stack(output[order], axis=1) for output in zip(*steps, strict=True))


def before(initial, states):
    """The states before each frame: `initial` `[A, B, U]`, then all of `states` `[A, T, B, U]` but the last."""
    return ops.concatenate([ops.expand_dims(initial, 1), states[:, :-1]], axis=1)


def transposed(kernel):
    """`[A, K, M]` to `[A, M, K]`."""
    return ops.swapaxes(kernel, 1, 2)


def project(frames, kernel):
    """One product for all frames: `[A, T, B, K] @ [A, K, M] -> [A, T, B, M]`.

    A product of T·B rows runs at the machine's full rate, one of B rows does not; whatever does not depend on the
    step before is therefore multiplied here, outside the recurrence.
    """
    axes, length, _, width = frames.shape  # -1 for the batch: exported models take any number of sequences
    rows = ops.reshape(frames, (axes, -1, width))
    return ops.reshape(ops.matmul(rows, kernel), (axes, length, -1, kernel.shape[-1]))


def kernel_gradient(operands, dz):
    """The gradient of a kernel `[A, K, M]`, as one product over all time steps.

    Args:
        operands: what the kernel was multiplied with, `[A, ..., K]`.
        dz: the gradient of the products, `[A, ..., M]`.
    """
    axes = dz.shape[0]
    operands = ops.reshape(operands, (axes, -1, operands.shape[-1]))
    return ops.matmul(ops.swapaxes(operands, 1, 2), ops.reshape(dz, (axes, -1, dz.shape[-1])))


def bias_gradient(dz):
    """The gradient of a bias `[A, M]` from that of the pre-activations `[A, ..., M]`."""
    return ops.sum(ops.reshape(dz, (dz.shape[0], -1, dz.shape[-1])), axis=1)


def lstm_cell(z, cell):
    """One LSTM step after its product.

    Args:
        z: pre-activations `[A, B, 4U]`, gates i, j, f, o side by side.
        cell: the cell's previous state c `[A, B, U]`.

    Returns:
        The new c and h, each `[A, B, U]`, and the activated gates `[A, B, 4U]`.
    """
    i, j, f, o = ops.split(z, 4, axis=-1)
    i, j, f, o = ops.sigmoid(i), ops.tanh(j), ops.sigmoid(f + FORGET_BIAS), ops.sigmoid(o)
    cell = f * cell + i * j
    return cell, o * ops.tanh(cell), ops.concatenate([i, j, f, o], axis=-1)


def lstm_cell_gradient(gates, cell_before, cell, d_state, d_cell):
    """The gradient of `lstm_cell`.

    Args:
        gates: activated gates `[A, B, 4U]`.
        cell_before, cell: c before and after the step `[A, B, U]`.
        d_state, d_cell: gradients of the new h and c.

    Returns:
        Gradients of z `[A, B, 4U]` and of the previous c `[A, B, U]`.
    """
    i, j, f, o = ops.split(gates, 4, axis=-1)
    tanh = ops.tanh(cell)
    d_cell = d_cell + d_state * o * (1 - tanh * tanh)
    di, dj = d_cell * j * i * (1 - i), d_cell * i * (1 - j * j)
    df, do = d_cell * cell_before * f * (1 - f), d_state * tanh * o * (1 - o)
    return ops.concatenate([di, dj, df, do], axis=-1), d_cell * f


class LayerTape(NamedTuple):
    """What a layer's gradient needs: operands `[A, T, B, K + U]`, gates `[A, T, B, 4U]`, c and h `[A, T, B, U]`."""

    operands: object
    gates: object
    cells: object
    states: object


def lstm_layer(frames, kernel, bias):
    """One LSTM layer over a sequence, started from zero.

    Args:
        frames: inputs `[A, T, B, K]`.
        kernel: `[A, K + U, 4U]`.
        bias: `[A, 4U]`.

    Returns:
        The layer's tape, whose `states` are its outputs, and the last (c, h).
    """
    width = frames.shape[-1]
    state_kernel = kernel[:, width:]
    z_inputs = project(frames, kernel[:, :width]) + bias[:, None, None]

    def step(carry, frame):
        cell, state, _ = carry
        return lstm_cell(frame[0] + ops.matmul(state, state_kernel), cell)

    zero = ops.zeros_like(z_inputs[:, 0, :, : kernel.shape[2] // 4])
    (cell, state, _), (cells, states, gates) = recur(
        step, (zero, zero, ops.zeros_like(z_inputs[:, 0])), (z_inputs,), keep=(0, 1, 2)
    )
    operands = ops.concatenate([frames, before(zero, states)], axis=-1)
    return LayerTape(operands, gates, cells, states), (cell, state)


def lstm_layer_gradient(tape: LayerTape, kernel, d_states, d_last):
    """The gradient of `lstm_layer`.

    Args:
        tape: from the forward pass.
        kernel: `[A, K + U, 4U]`.
        d_states: gradient of all states `[A, T, B, U]`.
        d_last: gradients of the last c and h, besides what `d_states` has.

    Returns:
        dz `[A, T, B, 4U]`, from which those of kernel, bias and inputs follow.
    """
    units = tape.states.shape[-1]
    state_kernel = transposed(kernel[:, -units:])
    cells_before = before(ops.zeros_like(tape.cells[:, 0]), tape.cells)

    def step(carry, frame):
        d_cell, d_state, _ = carry
        gates, cell_before, cell, d_output = frame
        dz, d_cell = lstm_cell_gradient(gates, cell_before, cell, d_state + d_output, d_cell)
        return d_cell, ops.matmul(dz, state_kernel), dz

    carry = (*d_last, ops.zeros_like(tape.gates[:, 0]))
    _, (dz,) = recur(step, carry, (tape.gates, cells_before, tape.cells, d_states), keep=(2,), reverse=True)
    return dz
