"""Reads the pickle inside `ids_*.npy` without running it.

A pickle is a program: Python's own unpickler calls what it names, and some of its instructions take as much memory as
they ask for. `pickletools` takes the instructions apart; this machine knows the few that a dictionary of integers
needs, builds integers, text, lists and dictionaries, never calls anything that the file names, and stops when it has
made more than a multiple of the file's size.

The names that NumPy puts into such a file are `numpy.dtype`, `numpy.ndarray`, `_reconstruct`, `scalar` and, in old
protocols, `_codecs.encode`. Each stands for a rule in `pickled_numpy`; every other name is refused.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.pickled_numpy import CALLS, NAMES, Array, DType, Name, PickleError, set_array, set_dtype
from sge_la.errors import UserError
from sge_la.files.arrays import read_any_header, shown_shape
from sge_la.files.atomic import os_errors

_MAX_IDS_BYTES = 64 * 2**20
_MAX_LABEL = 2**31 - 1
# Bytes that may be made of a pickle: so many times its size, and so many besides.
MADE_TIMES, MADE_BESIDES = 10, 48 * 2**20
# What Python takes for an object and a place in a container, about.
_OBJECT, _PLACE = 56, 8
_MARK = object()


def read_ids(path: Path | str) -> dict[int, np.ndarray]:
    """Reads `ids_*.npy`: which sequences belong to which identity.

    In the wild these files are pickles, which could run any code; see the module for how they are read here.

    Returns label → int64 indices of its sequences in the file's order; labels in rising order. Whether the indices fit
    the arrays is not known here. Raises UserError: the file is missing, a Git LFS pointer, empty, cut short, asks for
    anything but NumPy's own names, or is no dictionary of lists of whole numbers from 0.
    """
    path = Path(path)
    header = read_any_header(path)
    if not header.dtype.hasobject or header.shape != ():
        found = f'an array {shown_shape(header.shape)} of {header.dtype}'
        raise UserError(f'{path} should hold a dictionary of identities, found {found}; get or make the file again')
    if header.size > _MAX_IDS_BYTES:
        raise UserError(
            f'{path} should hold a dictionary of identities in at most {_MAX_IDS_BYTES} bytes, '
            f'found {header.size}; check which file it is'
        )
    with os_errors(path, 'read'):
        content = path.read_bytes()[header.offset :]
    try:
        value = load_object(content)
    except PickleError as error:
        raise UserError(f'{path} is refused, because its pickle {error}; get or make the file again') from error
    return _checked_ids(value, path)


def _checked_ids(value: object, path: Path) -> dict[int, np.ndarray]:
    def refuse(found: str) -> UserError:
        return UserError(
            f'{path} should hold a dictionary label → list of indices, {found}; get or make the file again'
        )

    if not isinstance(value, dict):
        raise refuse(f'found a {type(value).__name__}')
    if not value:
        raise refuse('found an empty one')
    # A list can be shared by labels: read naively, it would be copied for each.
    if sum(len(indices) for indices in value.values() if hasattr(indices, '__len__')) > path.stat().st_size:
        raise refuse('but it names more sequences than it has bytes')
    ids = {}
    for label in sorted(value):
        if not 0 <= label <= _MAX_LABEL:
            raise refuse(f'but one label is {str(label)[:40]}, not from 0 to {_MAX_LABEL}')
        indices = value[label]
        if isinstance(indices, np.ndarray) and indices.dtype.kind in 'iu':
            indices = indices.tolist()
        if not isinstance(indices, (list, tuple)):
            raise refuse(f'but identity {label} has a {type(indices).__name__}')
        for index in indices:
            if type(index) is not int or not 0 <= index <= _MAX_LABEL:
                shown = str(index)[:40] if type(index) in (int, float) else f'a {type(index).__name__}'
                raise refuse(f'but identity {label} has {shown} among its indices')
        ids[label] = np.array(indices, np.int64)
    return ids


def load_object(content: bytes) -> Any:
    """Reads the pickle of a 0-d object array.

    `content`: the pickle, of protocol 2 to 5. Returns the object in the array: made of dictionaries with integer keys,
    lists, tuples, integers, floats, text, bytes, None and, as values of the outermost dictionary, NumPy arrays of
    numbers. Containers can hold themselves: take care with recursion. Raises PickleError: it is damaged, larger than
    the limits, or asks for anything else.
    """
    array = _Machine(content).run()
    if not isinstance(array, Array) or isinstance(array.value, (np.ndarray, Array)) or array.value is None:
        raise PickleError('holds no NumPy array of one object')
    if isinstance(array.value, dict):
        return {key: value.value if isinstance(value, Array) else value for key, value in array.value.items()}
    return array.value


class _Machine:
    """Runs the instructions of one pickle."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.left = MADE_TIMES * len(content) + MADE_BESIDES
        self.frame_end: int | None = None
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self.content[:1] != b'\x80':
            raise PickleError('does not start as a pickle of protocol 2 to 5')
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of damaged names
                return self._run()
        except (IndexError, KeyError, ValueError, UnicodeError) as error:
            raise PickleError('is damaged or cut short') from error

    def _run(self) -> Any:
        for code, argument, position in pickletools.genops(self.content):
            self._keep_frame(code.name, argument, position)
            if code.name == 'STOP':
                if len(self.stack) != 1 or position != len(self.content) - 1:
                    raise PickleError('is damaged')
                return self.stack[0]
            self._do(code.name, argument)
        raise PickleError('is damaged or cut short')

    def _keep_frame(self, name: str, argument: Any, position: int) -> None:
        """Refuses a frame that ends within an instruction, and another protocol than those of NumPy."""
        if self.frame_end is not None and position >= self.frame_end:
            if position > self.frame_end:
                raise PickleError('is damaged')
            self.frame_end = None
        if name == 'FRAME':
            self.frame_end = position + 9 + argument
        wrong = (name == 'STOP' and self.frame_end not in (None, position + 1)) or (
            name == 'PROTO' and not 2 <= argument <= 5
        )
        if wrong or (self.frame_end or 0) > len(self.content):
            raise PickleError('is damaged')

    def _do(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self._made(_OBJECT if type(argument) is int else _OBJECT + len(str(argument or '')))
            self.stack.append(_VALUES[name](argument))
            return
        instruction = _INSTRUCTIONS.get(name)
        if instruction is None:
            raise PickleError(f'has the instruction {name}, which no dictionary of integers needs')
        instruction(self, argument)

    def _made(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise PickleError(f'makes more than {MADE_TIMES} times its size')

    def _pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError('is damaged or cut short')
        return value

    def _pop_to_mark(self) -> list[Any]:
        items = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(value)
        items.reverse()
        return items

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise PickleError('is damaged or cut short')
        return self.stack[-1]

    def mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def push_tuple(self, count: int | None) -> None:
        items = self._pop_to_mark() if count is None else [self._pop() for _ in range(count)][::-1]
        self._made(_OBJECT + _PLACE * len(items))
        self.stack.append(tuple(items))

    def empty(self, kind: type) -> None:
        self._made(_OBJECT + _PLACE)
        self.stack.append(kind())

    def append(self, _: Any) -> None:
        value = self._pop()
        self._made(_PLACE)
        self._top(list).append(value)

    def appends(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._made(_PLACE * len(items))
        self._top(list).extend(items)

    def set_item(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def set_items(self, _: Any) -> None:
        self._set_items(self._pop_to_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            raise PickleError('is damaged or cut short')
        self._made(8 * _PLACE * len(items))
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a deeply nested tuple would overflow the C stack.
            if type(key) is not int:
                raise PickleError(f'has a dictionary with a key of the kind {type(key).__name__}, not an integer')
            if key in target:
                raise PickleError(f'names identity {key} twice')
            target[key] = value

    def memoize(self, _: Any) -> None:
        self.put(len(self.memo))

    def put(self, index: int) -> None:
        value = self.stack[-1]
        if value is _MARK:
            raise PickleError('is damaged or cut short')
        self._made(2 * _OBJECT)
        self.memo[index] = value

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def _push_name(self, module: Any, name: Any) -> None:
        rule = NAMES.get((module, name)) if type(module) is type(name) is str else None
        if rule is None:
            raise PickleError(f'asks for {f"{module}.{name}"[:100]!r}, which no list of identities needs')
        self._made(_OBJECT)
        self.stack.append(Name(rule))

    def global_lines(self, argument: str) -> None:
        self._push_name(*argument.split(' ', 1))

    def global_stack(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._push_name(module, name)

    def instance(self, argument: str) -> None:
        """An old way to name a class and call it at once."""
        self.global_lines(argument)
        raise PickleError('calls something that is not a name of NumPy')

    def reduce(self, _: Any) -> None:
        args, name = self._pop(), self._pop()
        if type(name) is not Name or type(args) is not tuple:
            raise PickleError('calls something that is not a name of NumPy')
        self._made(2 * _OBJECT + sum(len(arg) for arg in args if type(arg) in (str, bytes)))
        self.stack.append(CALLS[name.rule](args))

    def build(self, _: Any) -> None:
        state = self._pop()
        target = self.stack[-1]
        if type(target) is DType and type(state) is tuple:
            set_dtype(target, state)
        elif type(target) is Array and type(state) is tuple:
            set_array(target, state)
        else:
            raise PickleError('sets the state of something that is not an array')


# Instructions that push a value, as pickletools gives it; Python 2's str is bytes to us.
_VALUES: dict[str, Callable[[Any], Any]] = {
    **{'NONE': lambda _: None, 'NEWTRUE': lambda _: True, 'NEWFALSE': lambda _: False},
    **dict.fromkeys(('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT'), lambda value: value),
    **dict.fromkeys(('SHORT_BINUNICODE', 'BINUNICODE', 'SHORT_BINBYTES', 'BINBYTES'), lambda value: value),
    **dict.fromkeys(('SHORT_BINSTRING', 'BINSTRING'), lambda value: value.encode('latin-1')),
}
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(('PROTO', 'FRAME'), lambda machine, argument: None),
    'MARK': _Machine.mark,
    'EMPTY_TUPLE': lambda machine, _: machine.push_tuple(0),
    'TUPLE1': lambda machine, _: machine.push_tuple(1),
    'TUPLE2': lambda machine, _: machine.push_tuple(2),
    'TUPLE3': lambda machine, _: machine.push_tuple(3),
    'TUPLE': lambda machine, _: machine.push_tuple(None),
    'EMPTY_LIST': lambda machine, _: machine.empty(list),
    'EMPTY_DICT': lambda machine, _: machine.empty(dict),
    'APPEND': _Machine.append,
    'APPENDS': _Machine.appends,
    'SETITEM': _Machine.set_item,
    'SETITEMS': _Machine.set_items,
    'MEMOIZE': _Machine.memoize,
    **dict.fromkeys(('BINPUT', 'LONG_BINPUT'), _Machine.put),
    **dict.fromkeys(('BINGET', 'LONG_BINGET'), _Machine.get),
    'GLOBAL': _Machine.global_lines,
    'INST': _Machine.instance,
    'STACK_GLOBAL': _Machine.global_stack,
    'REDUCE': _Machine.reduce,
    'BUILD': _Machine.build,
}
