"""NumPy's part in pickles: what its five names stand for, without calling NumPy's own functions.

NumPy's own unpickling of types and arrays can crash on damaged states, and make arrays of any size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NAMES = {
    ('numpy', 'dtype'): 'dtype',
    ('numpy', 'ndarray'): 'ndarray',
    ('numpy.core.multiarray', '_reconstruct'): 'reconstruct',
    ('numpy._core.multiarray', '_reconstruct'): 'reconstruct',
    ('numpy.core.multiarray', 'scalar'): 'scalar',
    ('numpy._core.multiarray', 'scalar'): 'scalar',
    ('_codecs', 'encode'): 'encode',
}


class PickleError(Exception):
    """The pickle is damaged, or asks for what no dictionary of integers needs; the text completes 'it ...'."""


@dataclass(eq=False)
class Name:
    """A name that the file may use; `rule` says what it stands for."""

    rule: str


@dataclass(eq=False)
class DType:
    """A NumPy data type: its code, such as 'i8', and its byte order."""

    code: str
    order: str = '<'

    def numpy(self) -> np.dtype:
        if not re.fullmatch(r'[iu][1248]|f[248]|b1', self.code):
            raise PickleError(f'holds values of the type {self.code[:20]!r}')
        return np.dtype(self.order + self.code)


@dataclass(eq=False)
class Array:
    """A NumPy array; `value` comes with the BUILD instruction: an array of numbers, or a lone object."""

    value: Any = None


def _kinds(args: tuple, *kinds: type) -> bool:
    return len(args) == len(kinds) and all(type(arg) is kind for arg, kind in zip(args, kinds, strict=True))


def _text(value: Any) -> str:
    """Text that Python 2 may have stored as bytes."""
    return value.decode('latin-1') if type(value) is bytes else value


def _call_dtype(args: tuple) -> DType:
    code = _text(args[0])
    if type(code) is not str:
        raise PickleError('has a damaged data type')
    return DType(code)


def _call_reconstruct(args: tuple) -> Array:
    if not _kinds(args, Name, tuple, bytes) or args[0].rule != 'ndarray':
        raise PickleError('has a damaged array')
    return Array()


def _call_scalar(args: tuple) -> int | float | bool:
    if not _kinds(args, DType, bytes) or len(args[1]) != args[0].numpy().itemsize:
        raise PickleError('has a damaged number')
    return np.frombuffer(args[1], args[0].numpy())[0].item()


def _call_encode(args: tuple) -> bytes:
    if not _kinds(args, str, str) or args[1] != 'latin1':
        raise PickleError('has damaged bytes')
    return args[0].encode('latin-1')


def _refuse_call(args: tuple) -> Any:
    raise PickleError('makes an array in a way that NumPy does not')


CALLS: dict[str, Callable[[tuple], Any]] = {
    'dtype': _call_dtype,
    'ndarray': _refuse_call,
    'reconstruct': _call_reconstruct,
    'scalar': _call_scalar,
    'encode': _call_encode,
}


def set_dtype(target: DType, state: tuple) -> None:
    """The state of a plain data type is (version, byte order, nothing that matters ...)."""
    order = _text(state[1])
    if type(order) is not str or order not in ('<', '>', '|', '='):
        raise PickleError('has a damaged data type')
    target.order = order


def set_array(target: Array, state: tuple) -> None:
    """The state of an array is (version, shape, data type, Fortran order, bytes or list of objects)."""
    if len(state) != 5 or type(state[1]) is not tuple or type(state[2]) is not DType:
        raise PickleError('has a damaged array')
    shape, dtype, data = state[1], state[2], state[4]
    if dtype.code in ('O8', 'O4', 'O'):
        if shape or type(data) is not list or len(data) != 1:
            raise PickleError('holds an array of several objects, not one dictionary')
        target.value = data[0]
        return
    kind = dtype.numpy()
    if len(shape) != 1 or type(shape[0]) is not int or type(data) is not bytes or len(data) != shape[0] * kind.itemsize:
        raise PickleError('has a damaged array')
    target.value = np.frombuffer(data, kind)
