"""Compilation, gradients and the loop over steps on JAX."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from sge_la.backends import ahead, as_slice
from sge_la.backends.parallel import Group, group, split
from sge_la.backends.room import fits_device

ops = keras.ops
# Sequences that are encoded at once; and the sizes that smaller numbers of them are filled up to, since each size is
# compiled for itself.
BLOCK, COMPILED_SIZES = 512, (64, 512)

# A step is a long chain of small kernels: those that do not wait for each other run side by side.
_GPU_OPTIONS = {'xla_gpu_command_buffer_scheduling_mode': 'CONCURRENT'}
# With Triton's variants of the products to choose from, a strict step had not been compiled after 100 s on an H200;
# whether cuBLAS alone mends that has not been measured.
_STRICT_OPTIONS = {'xla_gpu_enable_triton_gemm': False}
_STRICT = ('highest', 'float32')
_FIRST_WITH_OPTIONS = (0, 10)


def device() -> jax.Device:
    """Where JAX computes when it is not told where."""
    chosen = jax.config.jax_default_device  # None, a device, or a platform's name
    return jax.devices(chosen)[0] if chosen is None or isinstance(chosen, str) else chosen


def _options() -> dict[str, str | bool] | None:
    """How steps are compiled, besides what XLA does by itself."""
    if jax.__version_info__ < _FIRST_WITH_OPTIONS or device().platform != 'gpu':
        return None
    return _GPU_OPTIONS | (_STRICT_OPTIONS if jax.config.jax_default_matmul_precision in _STRICT else {})


def compiled(function: Callable) -> Callable:
    """Compiles a function of arrays with XLA."""
    return jax.jit(function)


def fused(function: Callable) -> Callable:
    """The function itself: JAX compiles whole steps."""
    return function


def each(function: Callable, items: Iterable) -> Iterator[Any]:
    """See `sge_la.backends.each`: one after the other, since an operation has all cores."""
    return map(function, items)


def spread(matrices):
    """The matrices themselves: XLA lays them out as it likes."""
    return matrices


@jax.custom_vjp
def bfloat16_product(left, right):
    """See `sge_la.backends.bfloat16_product`."""
    left, right = jnp.asarray(left, jnp.bfloat16), jnp.asarray(right, jnp.bfloat16)
    return jnp.matmul(left, right, preferred_element_type=jnp.float32)


def _bfloat16_gradients(operands, gradient):
    """The same products; JAX by itself would leave the gradient in float32."""
    left, right = operands
    return bfloat16_product(gradient, right.mT), bfloat16_product(left.mT, gradient)


bfloat16_product.defvjp(lambda left, right: (bfloat16_product(left, right), (left, right)), _bfloat16_gradients)


def with_gradient(forward: Callable, backward: Callable) -> Callable:
    """See `sge_la.backends.with_gradient`."""
    run = jax.custom_vjp(lambda *arrays: forward(*arrays)[0])
    run.defvjp(forward, lambda tape, gradients: backward(tape, *gradients))
    return run


def gradients(function: Callable, params: dict) -> tuple[dict, object]:
    """See `sge_la.backends.gradients`."""
    return jax.grad(function, has_aux=True)(params)


def at_hand(array: np.ndarray):
    """See `sge_la.backends.at_hand`."""
    return array if device().platform == 'cpu' else jax.device_put(array[:], device())


def epoch_runner(step: Callable, pair: Callable, steps_a_dispatch: int = 1) -> Callable:
    """The loop over the batches of an epoch: the data lies on the device and the whole epoch is one dispatch.

    Data that the device should not hold (`room.fits_device`) are sent to it, some batches at a time, while the batches
    before are worked on. Args and result are those of `sge_la.backends.tensorflow.epoch_runner`; `steps_a_dispatch` has
    no say here.
    """
    if group():
        return _shared_runner(group(), _loop(step), pair(slice(None)))
    chosen: list[Callable] = []

    def run(state, batches, tick):
        if not chosen:
            fits = fits_device(_bytes_a_row(pair) * (int(batches.max()) + 1))
            chosen.append(_held(step, pair(slice(None))) if fits else _streamed(step, pair))
        return chosen[0](state, batches, tick)

    return run


def _bytes_a_row(pair: Callable) -> int:
    return sum(array.nbytes for array in pair(slice(0, 1)))


def _held(step: Callable, data: Sequence) -> Callable:
    """`epoch_runner` on data that lie on the device."""
    data, dispatch = jax.device_put(tuple(data)), _epoch(step)

    def run(state, batches, tick):
        state, terms = dispatch(jax.device_put(state), batches, *data)
        terms = np.asarray(terms)
        tick(len(batches))
        return state, terms

    return run


# Bytes of batches that are sent at once.
_SENT_AT_ONCE = 8 << 20


def _streamed(step: Callable, pair: Callable) -> Callable:
    """`epoch_runner` on data that are read and sent some batches at a time, those after them meanwhile."""
    dispatch = _several(step)

    def run(state, batches, tick):
        count, size = batches.shape
        group = min(max(1, _SENT_AT_ONCE // (size * _bytes_a_row(pair))), count)

        def sent(start: int) -> tuple[int, tuple]:
            rows = batches[start : start + group]
            # One shape for all groups: the last one is filled up with its own first batch, which is not worked on.
            filled = np.concatenate([rows, np.repeat(rows[:1], group - len(rows), axis=0)]).reshape(-1)
            arrays = (np.reshape(array, (group, size, *array.shape[1:])) for array in pair(as_slice(filled)))
            return len(rows), jax.device_put(tuple(arrays))

        state, collected = jax.device_put(state), []
        for steps, data in ahead(sent, range(0, count, group)):
            state, terms = dispatch(state, np.int32(steps), *data)
            collected.append(np.asarray(terms)[:steps])
            tick(steps)
        return state, np.concatenate(collected)

    return run


@cache
def _several(step: Callable) -> Callable:
    """The first so many of some batches, in one compiled function."""

    def several(state, steps, inputs, targets):
        terms = jax.eval_shape(step, state, inputs[0], targets[0])[1]

        def body(number, carry):
            state, found = step(carry[0], inputs[number], targets[number])
            return state, carry[1].at[number].set(found)

        return jax.lax.fori_loop(0, steps, body, (state, jnp.zeros((len(inputs), *terms.shape), terms.dtype)))

    return jax.jit(several, donate_argnums=0, compiler_options=_options())


def _loop(step: Callable) -> Callable:
    """The step for each batch of an epoch, `(state, batches, inputs, targets) -> (state, terms)`."""

    def epoch(state, batches, inputs, targets):
        def body(state, rows):
            return step(state, split(inputs[rows]), split(targets[rows]))

        return jax.lax.scan(body, state, batches)

    return epoch


@cache
def _epoch(step: Callable) -> Callable:
    """All batches of an epoch in one compiled function; kept, since compiling takes longer than many an epoch."""
    return jax.jit(_loop(step), donate_argnums=0, compiler_options=_options())


def epochs_runner(
    step: Callable, pairs: Sequence[Callable], steps_a_dispatch: int = 1, *, stacked: bool | None = None
) -> Callable:
    """The loops over the batches of an epoch of several runs.

    Args and result are those of `sge_la.backends.tensorflow.epochs_runner`. Not `stacked`, the runs take turns, epoch
    by epoch: on a CPU, which one run keeps busy, nothing is faster.
    """
    data = _on_device([pair(slice(None)) for pair in pairs])
    if not (device().platform != 'cpu' if stacked is None else stacked):
        alone = [_held(step, own) for own in data]
        return lambda states, batches, tick: [
            run(*of_run, tick) for run, *of_run in zip(alone, states, batches, strict=True)
        ]
    dispatch = _stacked_epochs(step)

    def run(states, batches, tick):
        steps = [len(rows) for rows in batches]
        padded = np.stack([np.pad(rows, ((0, max(steps) - len(rows)), (0, 0))) for rows in batches], axis=1)
        works = None if min(steps) == max(steps) else np.arange(max(steps))[:, None] < np.array(steps)
        found = dispatch(jax.device_put(states), padded, works, data)
        answers = [(state, np.asarray(terms)[:own]) for (state, terms), own in zip(found, steps, strict=True)]
        tick(sum(steps))
        return answers

    return run


@cache
def _stacked_epochs(step: Callable) -> Callable:
    """All batches of an epoch of several runs in one compiled function, in which all arrays have an axis of runs."""

    def one(state, inputs, targets, works):
        def work():
            return step(state, inputs, targets)

        if works is None:
            return work()
        nothing = jax.tree.map(lambda terms: jnp.zeros(terms.shape, terms.dtype), jax.eval_shape(work)[1])
        return jax.lax.cond(works, work, lambda: (state, nothing))

    def epochs(states, batches, works, data):
        def body(states, frame):
            rows, works = frame
            chosen = [[array[own] for array in arrays] for arrays, own in zip(data, rows, strict=True)]
            return jax.vmap(one)(states, *map(jnp.stack, zip(*chosen, strict=True)), works)

        states, terms = jax.lax.scan(body, jax.tree.map(lambda *arrays: jnp.stack(arrays), *states), (batches, works))
        found = states, terms.swapaxes(0, 1)
        return [jax.tree.map(operator.itemgetter(number), found) for number in range(len(data))]

    return jax.jit(epochs, donate_argnums=0, compiler_options=_options())


def _on_device(data: Sequence[Sequence[np.ndarray]]) -> list[list[jax.Array]]:
    """Arrays by run; what is the same memory in several runs is there once."""
    held: dict[tuple, jax.Array] = {}

    def put(array: np.ndarray) -> jax.Array:
        place = array.__array_interface__['data'][0], array.shape, array.strides
        return held[place] if place in held else held.setdefault(place, jax.device_put(array))

    return [[put(array) for array in arrays] for arrays in data]


def _shared_runner(devices: Group, epoch: Callable, data: tuple) -> Callable:
    """`epoch_runner` on devices that share batches."""
    devices.forget_all()
    data, programs = devices.share(data), {}
    last: dict[int, tuple] = {}  # what the last epoch gave, by its id, and its slot on all devices

    def program(tree, count: int) -> Callable:
        def flat(*arrays):
            state, terms = epoch(jax.tree.unflatten(tree, arrays[:count]), *arrays[count:])
            return (*jax.tree.leaves(state), terms)

        return devices.program(flat, count, _options())

    def run(state, batches, tick):
        nonlocal last
        leaves, tree = jax.tree.flatten(state)
        new = iter(devices.share([*(leaf for leaf in leaves if id(leaf) not in last), batches]))
        slots = [last.pop(id(leaf))[1] if id(leaf) in last else next(new) for leaf in leaves]
        if tree not in programs:
            programs[tree] = program(tree, len(leaves))
        rows, stale = next(new), [slot for _, slot in last.values()]
        *slots, terms = programs[tree]([*slots, rows, *data], drop=[rows, *stale])
        terms = devices.fetch(terms)
        tick(len(batches))
        found = devices.local(slots)
        last = {id(leaf): (leaf, slot) for leaf, slot in zip(found, slots, strict=True)}
        return jax.tree.unflatten(tree, found), terms

    return run
