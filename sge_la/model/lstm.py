"""The LSTM and its gradient, for all coordinate axes at once.

Shapes: A axes, T frames, B sequences of a batch, U units. The kernel of a cell is `[A, K + U, 4U]`: rows of the
input first, then those of the previous state; columns in TensorFlow 1's gate order i, j, f, o. The stored bias does
not contain the forget gate's + 1, which is added at run time.
"""

from __future__ import annotations

from collections.abc import Callable

from sge_la.backends import activated, frames_as_rows, fused, ops, rows_as_frames, spread, with_gradient
from sge_la.model.products import matmul, rounded

FORGET_BIAS = 1.0
# Loops up to this many frames are unrolled: that runs fastest, but compile time grows with every frame.
LONGEST_UNROLLED = 12


def recur(step: Callable, frames: tuple, keep: tuple[int, ...], *, reverse: bool = False):
    """Applies `step(carry, frame) -> carry` to every frame.

    Sequences are held by time here: as a tuple of T arrays `[A, ...]` where the loop is unrolled, since stacking what
    is taken apart again costs as much as computing it; as one array `[T, A, ...]` where it is a scan.

    `step`: one step. The carry is a tuple of arrays, all that is handed from step to step; it is None at the first
    frame, which nothing precedes, so that no product with zeros is computed. `frames`: sequences by time (`by_time`); a
    frame is a tuple of their arrays of one time. `keep`: which parts of the carry are wanted after every step.
    `reverse`: from the last frame to the first; what is kept stays in the frames' order. Returns the last carry, and
    the wanted parts after each step, by time.
    """
    if isinstance(frames[0], tuple):
        steps, carry = [], None
        for frame in list(zip(*frames, strict=True))[:: -1 if reverse else 1]:
            carry = step(carry, frame)
            steps.append([carry[part] for part in keep])
        return carry, tuple(tuple(part) for part in zip(*steps[:: -1 if reverse else 1], strict=True))
    first, others = (-1, slice(None, -1)) if reverse else (0, slice(1, None))
    start = step(None, tuple(frame[first] for frame in frames))

    # Keras' scan on TensorFlow wants outputs of the carry's own structure, so all of it is collected.
    def both(carry, frame):
        carry = step(carry, frame)
        return carry, carry

    carry, outputs = ops.scan(both, start, tuple(frame[others] for frame in frames), reverse=reverse)
    order = slice(None, None, -1 if reverse else 1)
    return carry, tuple(
        ops.concatenate([ops.expand_dims(start[part], 0), outputs[part]][order], axis=0) for part in keep
    )


def by_time(frames):
    """A sequence `[A, T, ...]` as `recur` takes it."""
    if frames.shape[1] > LONGEST_UNROLLED:
        return ops.swapaxes(frames, 0, 1)
    return tuple(ops.unstack(frames, axis=1))


def stacked(frames):
    """A sequence by time as one array `[A, T, ...]`."""
    return ops.stack(frames, axis=1) if isinstance(frames, tuple) else ops.swapaxes(frames, 0, 1)


def delayed(initial, frames):
    """What is there before each frame, by time: `initial` `[A, B, U]`, then all of `frames` but the last."""
    if isinstance(frames, tuple):
        return (initial, *frames[:-1])
    return ops.concatenate([ops.expand_dims(initial, 0), frames[:-1]], axis=0)


def transposed(kernel):
    """`[A, K, M]` to `[A, M, K]`."""
    return ops.swapaxes(kernel, 1, 2)


def project(frames, kernel):
    """One product for all frames: `[A, T, B, K] @ [A, K, M] -> [A, T, B, M]`.

    A product of T·B rows runs at the machine's full rate, one of B rows does not; whatever does not depend on the
    step before is therefore multiplied here, outside the recurrence.
    """
    return rows_as_frames(matmul(frames_as_rows(frames), kernel), frames.shape[1])


def forward_kernel(kernel):
    """A kernel `[A, K, M]` as inputs are multiplied with it: `[A, K, ≥ M]`, see `spread` and `rounded`."""
    return spread(rounded(kernel))


def backward_kernel(kernel):
    """A kernel `[A, K, M]` as gradients are multiplied with it: `[A, M, ≥ K]`."""
    return spread(transposed(rounded(kernel)))


def kernel_gradient(kernel, dz, *operands):
    """The gradient of a kernel, as one product over all time steps.

    `kernel`: `[A, ≥ K, M]`; if it has more than K rows, its first ones were multiplied with zeros; `dz`: the gradient
    of the products, `[A, T, B, M]`; `operands`: what the kernel was multiplied with, side by side `[A, T, B, K]`.
    """
    _, rows, _ = kernel.shape
    joined = frames_as_rows(ops.concatenate(operands, axis=-1))
    product = matmul(transposed(joined), frames_as_rows(dz))
    without = rows - joined.shape[-1]
    return ops.pad(product, ((0, 0), (without, 0), (0, 0))) if without else product


@fused
def bias_gradient(dz):
    """The gradient of a bias `[A, M]` from that of the pre-activations `[A, T, B, M]`.

    Steps are added to each other before sequences are: a GPU would sum each step over its sequences on its own.
    """
    return ops.sum(sum(ops.unstack(dz, axis=1)), axis=1)


@fused
def lstm_cell(cell, *parts):
    """One LSTM step after its products.

    `cell`: the cell's previous state c `[A, B, U]`; `parts`: products and bias, whose sum are the pre-activations,
    gates i, j, f, o side by side: the first 4U columns of each `[A, B, ≥ 4U]`. Returns the new c and h, and the
    activated gates i, j, f, o, each `[A, B, U]`: six arrays of one shape are one pass over memory on a GPU.
    """
    # sigmoid(z) = (1 + tanh(z / 2)) / 2: one function for all four gates.
    i, j, f, o = activated(parts, cell.shape[-1], slopes=(0.5, 1.0, 0.5, 0.5), shifts=(0.0, 0.0, FORGET_BIAS / 2, 0.0))
    cell = f * cell + i * j
    return cell, o * ops.tanh(cell), i, j, f, o


@fused
def lstm_cell_gradient(taped, d_cell, *d_states, later=None, start=0):
    """The gradient of `lstm_cell`.

    Gradients of a joined operand come as they are: slicing them here costs nothing.

    `taped`: of this step, see `taped_cells`; `d_cell`: gradient of the new c; `d_states`: what adds up to the gradient
    of the new h: the first U columns of each `[A, B, ≥ U]`; `later`: U columns of `[A, B, ≥ start + U]` are added as
    well, if given: what comes from the next step; `start`: the first of them. Returns gradients of the pre-activations
    `[A, B, 4U]` and of the previous c `[A, B, U]`.
    """
    i, j, f, o, cell_before, cell = taped
    units = cell.shape[-1]
    tanh = ops.tanh(cell)
    d_state = sum(part[..., :units] for part in d_states)
    if later is not None:
        d_state = d_state + later[..., start : start + units]
    d_cell = d_cell + d_state * o * (1 - tanh * tanh)
    dz = [
        d_cell * j * i * (1 - i),
        d_cell * i * (1 + j) * (1 - j),
        d_cell * cell_before * f * (1 - f),
        d_state * tanh * o * (1 - o),
    ]
    return ops.concatenate(dz, axis=-1), d_cell * f


def taped_cells(kept: tuple, start) -> tuple:
    """What `lstm_cell_gradient` takes of each step, by time: i, j, f, o, c before and c after it.

    `kept`: what `lstm_cell` gave, by time; `start`: c before the first step `[A, B, U]`.
    """
    cells, _, *gates = kept
    return *gates, delayed(start, cells), cells


def lstm_layer(frames, kernel, bias, start: tuple = ()):
    """One LSTM layer over a sequence.

    `frames`: inputs `[A, T, B, K]`; `kernel`: `[A, K + U, 4U]`; `bias`: `[A, 4U]`; `start`: (c, h) before the first
    frame, each `[A, B, U]`; zero if left out. Returns the states h `[A, T, B, U]` and the last (c, h).
    """
    states, *last = with_gradient(_layer, _layer_gradient)(frames, kernel, bias, *start)
    return states, tuple(last)


def _layer(frames, kernel, bias, *start):
    """(states, last c, last h), and what the gradient needs."""
    width, by_unit = frames.shape[-1], bias[:, None]
    inputs, state_kernel = project(frames, forward_kernel(kernel[:, :width])), forward_kernel(kernel[:, width:])
    zero = ops.tile(ops.zeros_like(frames[:, 0, :, :1]), (1, 1, bias.shape[-1] // 4))

    def step(carry, frame):
        if carry is None and not start:
            return lstm_cell(zero, *frame, by_unit)
        cell, state, *_ = carry or start
        return lstm_cell(cell, *frame, matmul(state, state_kernel), by_unit)

    (cell, state, *_), kept = recur(step, (by_time(inputs),), keep=tuple(range(6)))
    return (stacked(kept[1]), cell, state), (frames, kernel, start, kept)


def _layer_gradient(tape, d_states, d_last_cell, d_last_state):
    """The gradients of `_layer`'s arguments from those of its results."""
    frames, kernel, start, kept = tape
    start_cell, start_state = start or (ops.zeros_like(d_last_cell),) * 2
    width, units = frames.shape[-1], d_states.shape[-1]
    input_kernel, state_kernel = kernel[:, :width], backward_kernel(kernel[:, width:])

    def step(carry, frame):
        *taped, d_output = frame
        d_cell, later = (d_last_cell, d_last_state) if carry is None else carry[1:]
        dz, d_cell = lstm_cell_gradient(tuple(taped), d_cell, d_output, later)
        return dz, d_cell, matmul(dz, state_kernel)

    (_, d_cell, d_state), (dz,) = recur(step, (*taped_cells(kept, start_cell), by_time(d_states)), (0,), reverse=True)
    dz = stacked(dz)
    d_frames = project(dz, backward_kernel(input_kernel))[..., :width]
    d_kernel = kernel_gradient(kernel, dz, frames, stacked(delayed(start_state, kept[1])))
    d_start = (d_cell, d_state[..., :units]) if start else ()
    return d_frames, d_kernel, bias_gradient(dz), *d_start
