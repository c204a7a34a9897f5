"""Compilation, gradients and the loop over steps on TensorFlow."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import zip_longest
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sge_la.backends import as_slice

ops = keras.ops
# Sequences that are encoded at once; and the sizes that smaller numbers of them are filled up to, since each size is
# compiled for itself.
BLOCK, COMPILED_SIZES = 512, (64, 512)


def compiled(function: Callable, **settings: Any) -> Callable:
    """Compiles a function of arrays: with XLA on a GPU; on a CPU only the parts that are marked as `fused`.

    TensorFlow's own matrix products are faster on a CPU than XLA's, and compiling a few small pieces takes a second
    or two where the whole of an unrolled step takes ten, or minutes. `settings` are further ones of `tf.function`.
    """
    if _on_gpu():
        return tf.function(function, jit_compile=True, autograph=False, **settings)

    @functools.wraps(function)
    def traced(*args):
        with _inside(_FUSING):
            return function(*args)

    return tf.function(traced, autograph=False, **settings)


# Float32 columns: rows that are multiples of the first meet in the caches; the second is one line of them.
_SAME_PLACE, _SPREAD = 256, 16
_FUSING = contextvars.ContextVar('fusing', default=False)
_DIFFERENTIATING = contextvars.ContextVar('differentiating', default=False)


@contextlib.contextmanager
def _inside(state: contextvars.ContextVar[bool]) -> Iterator[None]:
    """Inside, `fused` functions are compiled, or functions have their own gradients."""
    token = state.set(True)
    try:
        yield
    finally:
        state.reset(token)


def fused(function: Callable) -> Callable:
    """A piece of a function that is being compiled, as `sge_la.backends.fused` describes it."""
    return _compiled_piece(function) if _FUSING.get() else function


def each(function: Callable, items: Iterable) -> Iterator[Any]:
    """See `sge_la.backends.each`: one after the other, since an operation has all cores."""
    return map(function, items)


def spread(matrices):
    """See `sge_la.backends.spread`; only for functions that are being compiled."""
    if not _FUSING.get() or matrices.shape[-1] % _SAME_PLACE:
        return matrices
    return tf.pad(matrices, ((0, 0), (0, 0), (0, _SPREAD)))


def bfloat16_product(left, right):
    """See `sge_la.backends.bfloat16_product`; no kernel of TensorFlow's gives float32 for bfloat16 operands."""
    return tf.cast(tf.matmul(tf.cast(left, tf.bfloat16), tf.cast(right, tf.bfloat16)), tf.float32)


def with_gradient(forward: Callable, backward: Callable) -> Callable:
    """See `sge_la.backends.with_gradient`; outside of `gradients` the plain function, which can be exported."""

    @tf.custom_gradient
    def taped(*arrays):
        # Nothing inside is differentiated, and a tape that watched it would keep all that lies between.
        results, tape = forward(*map(tf.stop_gradient, arrays))
        return results, lambda *gradients: backward(tape, *gradients)

    return lambda *arrays: taped(*arrays) if _DIFFERENTIATING.get() else forward(*arrays)[0]


def gradients(function: Callable, params: dict) -> tuple[dict, object]:
    """See `sge_la.backends.gradients`."""
    params = {name: tf.convert_to_tensor(value) for name, value in params.items()}
    with _inside(_DIFFERENTIATING), tf.GradientTape() as tape:
        tape.watch(params)
        cost, others = function(params)
    return tape.gradient(cost, params, unconnected_gradients='zero'), others


@cache
def _compiled_piece(function: Callable) -> Callable:
    return tf.function(function, jit_compile=True, autograph=False)


def at_hand(array: np.ndarray):
    """See `sge_la.backends.at_hand`; on a CPU batches are read from memory, or from the file."""
    return tf.convert_to_tensor(array[:]) if _on_gpu() else array


def epoch_runner(step: Callable, pair: Callable, steps_a_dispatch: int = 1, *, at_once: bool | None = None) -> Callable:
    """The loop over the batches of an epoch.

    `step`: `(state, inputs, targets) -> (state, terms)`, all arrays. `pair`: `(rows) -> (inputs, targets)` as NumPy
    arrays; `rows` is a slice or int64 `[B]`. `steps_a_dispatch`: batches that one call of the compiled function works
    through. Steps that are small enough for several are compiled whole: between their small products, starting the next
    piece takes longest. `at_once`: the data lies on the device and the whole epoch is one call, whatever
    `steps_a_dispatch` says (usual on a GPU). Returns `run(state, batches [steps, B], tick) -> (state, terms [steps,
    ...])`; `tick(n)` is called after n more steps.
    """
    if _on_gpu() if at_once is None else at_once:
        return _epochs_at_once(step, pair)
    together = epochs_runner(step, [pair], steps_a_dispatch)
    return lambda state, batches, tick: together([state], [batches], tick)[0]


def _on_gpu() -> bool:
    return bool(tf.config.get_visible_devices('GPU'))


def _epochs_at_once(step: Callable, pair: Callable) -> Callable:
    data = [tf.convert_to_tensor(array[:]) for array in pair(slice(None))]

    def run(state, batches, tick):
        state = tf.nest.map_structure(tf.convert_to_tensor, state)
        state, terms = _epoch(step)(state, tf.convert_to_tensor(batches), *data)
        terms = terms.numpy()
        tick(len(batches))
        return state, terms

    return run


@cache
def _epoch(step: Callable) -> Callable:
    """All batches of an epoch in one function that XLA compiles; kept, as `_several_runs` is."""

    def epoch(state, batches, inputs, targets):
        def batch(number):
            return tf.gather(inputs, batches[number]), tf.gather(targets, batches[number])

        # XLA wants to know the shape of the terms before the loop.
        shape = tf.function(step, autograph=False).get_concrete_function(state, *batch(0)).structured_outputs[1].shape
        steps = batches.shape[0]
        collected = tf.TensorArray(tf.float32, steps, element_shape=shape)

        def work(number, state, collected):
            state, terms = step(state, *batch(number))
            return number + 1, state, collected.write(number, terms)

        _, state, collected = tf.while_loop(lambda number, *rest: number < steps, work, (0, state, collected))
        return state, collected.stack()

    return tf.function(epoch, jit_compile=True, autograph=False)


def epochs_runner(
    step: Callable, pairs: Sequence[Callable], steps_a_dispatch: int = 1, *, stacked: bool | None = None
) -> Callable:
    """The loops over the batches of an epoch of several runs in one: each call works on a batch of every run.

    Args as of `epoch_runner`, `pairs` by run. `stacked`: every operation has an axis of runs (usual on a GPU, compiled
    whole); else the runs' operations stand side by side in one graph (on a CPU), and each run's bits are those of the
    run alone. Returns `run(states, batches, tick) -> [(state, terms), ...]`, by run; runs may have different numbers of
    batches, and `tick` counts those of all.
    """
    dispatch = _several_runs(step, steps_a_dispatch > 1, len(pairs) > 1 and (_on_gpu() if stacked is None else stacked))

    def run(states, batches, tick):
        states = [tf.nest.map_structure(tf.convert_to_tensor, state) for state in states]
        collected: list[list[np.ndarray]] = [[] for _ in states]
        for groups in zip_longest(*(_groups(rows, steps_a_dispatch) for rows in batches)):
            at_work = [number for number, rows in enumerate(groups) if rows is not None]
            found = dispatch([(states[number], *_batches(pairs[number], groups[number])) for number in at_work])
            for number, (state, terms) in zip(at_work, found, strict=True):
                states[number] = state
                collected[number].append(terms.numpy())
            tick(sum(len(groups[number]) for number in at_work))
        return [(state, np.concatenate(terms)) for state, terms in zip(states, collected, strict=True)]

    return run


def _batches(pair: Callable, rows: np.ndarray) -> list[np.ndarray]:
    """Inputs and targets of some batches, each `[steps, B, ...]`; `rows`: `[steps, B]`."""
    return [array.reshape(*rows.shape, *array.shape[1:]) for array in pair(as_slice(rows.reshape(-1)))]


@cache
def _several_runs(step: Callable, whole: bool, stacked: bool) -> Callable:
    """Several batches of each of several runs in one compiled function; kept, since compiling takes longer than many
    an epoch."""

    def several(state, inputs, targets):
        terms = []
        for batch_inputs, batch_targets in zip(tf.unstack(inputs), tf.unstack(targets), strict=True):
            state, found = step(state, batch_inputs, batch_targets)
            terms.append(found)
        return state, tf.stack(terms)

    if stacked:
        return tf.function(partial(_along_an_axis, several), jit_compile=True, autograph=False)
    # Traced once for all runs, and optimised apart: in one graph TensorFlow would add numbers in another order.
    apart = {'experimental_attributes': {'_noinline': True}}
    one = tf.function(several, jit_compile=True, autograph=False) if whole else compiled(several, **apart)
    return tf.function(lambda runs: [one(*run) for run in runs], autograph=False)


def _along_an_axis(function: Callable, runs: list[tuple]) -> list:
    """`function` of each run's arrays, in operations that have an axis of runs."""
    stacked = tf.nest.map_structure(lambda *arrays: tf.stack(arrays), *runs)
    found = tf.vectorized_map(lambda run: function(*run), stacked)
    return [tf.nest.map_structure(operator.itemgetter(number), found) for number in range(len(runs))]


def _groups(batches: np.ndarray, size: int):
    """Full groups of `size` batches, then single ones, so that only two shapes are ever compiled."""
    full = len(batches) // size * size
    yield from (batches[start : start + size] for start in range(0, full, size))
    yield from (batches[start : start + 1] for start in range(full, len(batches)))
