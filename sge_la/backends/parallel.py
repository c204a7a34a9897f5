"""Training on several devices, of one process or of many: JAX alone.

Each batch is split over the devices, in its order; parameters are on all of them. Process 0 carries the command out.
The others lend it their devices (`sge_la.backends.lending`): they read no data and write no files, and are sent
compiled programs, arrays, and which to run on which.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sge_la.errors import UserError, counted

if TYPE_CHECKING:
    import numpy as np  # which --help should not wait for

_COMPILING_MS = 24 * 3600 * 1000
GO_ON = 'start all of them again, and the run goes on after its last finished epoch'


@dataclass
class Orders:
    """What process 0 tells the others to do, through JAX' coordination service, in order."""

    client: Any
    _count: int = 0
    _kept: list[str] = field(default_factory=list)

    def send(self, what: Mapping[str, Any], content: bytes = b'') -> None:
        """Tells the other processes what to do next."""
        key = order_key(self._count)
        self.client.key_value_set_bytes(key, json.dumps(what).encode() + b'\n' + content)
        self._kept.append(key)
        self._count += 1

    def done(self) -> None:
        """Removes orders that everybody has read."""
        for key in self._kept:
            self.client.key_value_delete(key)
        self._kept.clear()


@dataclass
class Group:
    """The devices that share each batch.

    `mesh`: of one axis, 'batch'; `orders`: to the other processes, None in a single one.
    """

    mesh: Any
    orders: Orders | None = None
    processes: int = 1
    _slots: int = 0
    _programs: int = 0

    def __str__(self) -> str:
        return counted(self.size, 'device') + f' in {counted(self.processes, "process", "processes")}'

    @property
    def size(self) -> int:
        """How many devices."""
        return self.mesh.size

    @property
    def whole(self):
        """The sharding of what every device has all of."""
        return _shardings(self.mesh)[0]

    def share(self, arrays: Sequence[Any]) -> list[Slot]:
        """Puts arrays on every device."""
        arrays = [_narrow(_as_array(array)) for array in arrays]
        slots = [Slot(self._slots + number, None) for number in range(len(arrays))]
        self._slots += len(arrays)
        with self.reached():
            if self.orders:
                self.orders.send(
                    {'share': [[slot.number, a.shape, a.dtype.str] for slot, a in zip(slots, arrays, strict=True)]}
                )
                broadcast(arrays)
            for slot, array in zip(slots, arrays, strict=True):
                slot.array = on_all(self.mesh, array)
        return slots

    def program(self, function: Callable, kept: int, options: Mapping[str, str] | None = None) -> Callable:
        """Compiles a function of arrays for all devices, once for each combination of shapes.

        `function`: `(*arrays) -> (*arrays)`; its first `kept` results replace its first `kept` arguments; `options`:
        of the compiler. Returns `(slots, drop) -> results`: the kept ones are slots again, the others arrays; `drop`:
        arguments that are not needed afterwards.
        """
        made: dict[tuple, tuple[int, Callable]] = {}

        def run(slots: Sequence[Slot], drop: Sequence[Slot] = ()) -> list:
            shapes = tuple((slot.array.shape, slot.array.dtype) for slot in slots)
            with self.reached():
                if shapes not in made:
                    made[shapes] = self._made(function, slots, kept, options)
                number, compiled = made[shapes]
                if self.orders:
                    names = {'args': [slot.number for slot in slots], 'drop': [slot.number for slot in drop]}
                    self.orders.send({'run': number, 'kept': kept, **names})
                found = compiled(*(slot.array for slot in slots))
            for slot, array in zip(slots[:kept], found[:kept], strict=True):
                slot.array = array
            return [*slots[:kept], *found[kept:]]

        return run

    def _made(self, function: Callable, slots: Sequence[Slot], kept: int, options) -> tuple[int, Callable]:
        import jax.export

        def traced(*arrays):
            with _splitting(self.mesh):
                return function(*arrays)

        number, self._programs = self._programs, self._programs + 1
        shapes = [jax.ShapeDtypeStruct(slot.array.shape, slot.array.dtype) for slot in slots]
        text, order = traced, {'program': number, 'kept': kept, 'options': options}
        if self.orders:
            shardings = {'in_shardings': self.whole, 'out_shardings': self.whole}
            content = bytes(jax.export.export(jax.jit(traced, **shardings))(*shapes).serialize())
            self.orders.send(order, content)
            text = jax.export.deserialize(bytearray(content)).call
        compiled = compiled_for(self.mesh, text, shapes, order)
        if self.orders:
            wait_for_all(self.orders.client, number)
        return number, compiled

    def local(self, slots: Sequence[Slot]) -> list:
        """The arrays on one device of this process, where single devices can compute with them."""
        return [slot.array.addressable_data(0) for slot in slots]

    def fetch(self, array) -> np.ndarray:
        """An array in memory; when it is here, everybody has done what was ordered before."""
        with self.reached():
            found = _as_array(array.addressable_data(0))
            if self.orders:
                self.orders.done()
        return found

    def forget_all(self) -> None:
        """Lets the other processes give back what they hold: arrays and programs of before are not used any more."""
        if self.orders:
            self.orders.send({'forget': True})

    @contextlib.contextmanager
    def reached(self) -> Iterator[None]:
        """Says in a sentence that another process has ended."""
        import jax

        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if not self.orders:
                raise
            raise UserError(
                f'the {self.processes} processes of this training should all be there, and one cannot be reached any '
                f'more ({str(error).splitlines()[0].rpartition(": ")[2]:.150}): {GO_ON}'
            ) from error


@dataclass(eq=False)
class Slot:
    """An array that is on all devices, under a number that the other processes know it by."""

    number: int
    array: Any


_current: Group | None = None
_SPLIT: contextvars.ContextVar[Any] = contextvars.ContextVar('split', default=None)


def group() -> Group | None:
    """The devices that share batches; None where one device computes."""
    return _current


@contextlib.contextmanager
def _splitting(mesh) -> Iterator[None]:
    token = _SPLIT.set(mesh)
    try:
        yield
    finally:
        _SPLIT.reset(token)


@contextlib.contextmanager
def shared_by(devices: Group) -> Iterator[None]:
    """Inside, training shares its batches over these devices."""
    global _current
    _current = devices
    try:
        yield
    finally:
        _current = None


def splits() -> bool:
    """Whether what is being compiled splits its batches over devices."""
    return _SPLIT.get() is not None


def split(array):
    """An array whose first axis is a batch, split over the devices, where batches are."""
    return _placed(array, 1)


def whole(array):
    """An array that every device needs all of, gathered, where batches are split."""
    return _placed(array, 0)


def _placed(array, which: int):
    if not splits():
        return array
    import jax

    return jax.lax.with_sharding_constraint(array, _shardings(_SPLIT.get())[which])


def _shardings(mesh) -> tuple:
    from jax.sharding import NamedSharding, PartitionSpec

    return NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec('batch'))


def _as_array(values: Any) -> np.ndarray:
    import numpy as np

    return np.asarray(values)


def _narrow(array: np.ndarray) -> np.ndarray:
    """JAX has numbers of 32 bits."""
    return array.astype(array.dtype.str[:2] + '4') if array.dtype.itemsize == 8 else array


def broadcast(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The arrays of process 0, in all processes; the others give some of the same shapes."""
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(arrays)


def on_all(mesh, array: np.ndarray):
    """One array of all devices, each with a copy of what is here."""
    import jax

    return jax.make_array_from_process_local_data(_shardings(mesh)[0], array, array.shape)


def compiled_for(mesh, text: Callable, shapes: Sequence[Any], order: Mapping[str, Any]) -> Callable:
    """A program of an order, compiled for all devices; `shapes`: of its arguments."""
    import jax

    everywhere = _shardings(mesh)[0]
    settings = {'donate_argnums': tuple(range(order['kept'])), 'compiler_options': order['options']}
    return jax.jit(text, in_shardings=everywhere, out_shardings=everywhere, **settings).lower(*shapes).compile()


def wait_for_all(client, program: int) -> None:
    """Returns when all processes have compiled a program: none waits for long for one that has not begun to run it."""
    client.wait_at_barrier(f'sge_la/compiled/{program}', _COMPILING_MS)


def order_key(number: int) -> str:
    """What the coordination service keeps an order under."""
    return f'sge_la/{number}'


def mesh_of(devices: Sequence[Any]):
    """Devices side by side, along the axis 'batch'."""
    import numpy as np
    from jax.sharding import Mesh

    return Mesh(np.array(devices), ('batch',))
