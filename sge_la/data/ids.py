"""Reads the pickle inside `ids_*.npy` without running it.

A pickle is a program: Python's own unpickler calls what it names, and some of its instructions take as much memory as
they ask for. This reader knows the few instructions that a dictionary of integers needs, builds integers, text, lists
and dictionaries, never calls anything that the file names, and stops after a fixed number of instructions.

The names that NumPy puts into such a file are `numpy.dtype`, `numpy.ndarray`, `_reconstruct`, `scalar` and, in old
protocols, `_codecs.encode`. Each stands for a rule in `pickled_numpy`; every other name is refused.
"""

from __future__ import annotations

import struct
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
# Each instruction takes about 100 bytes at most, so that memory stays below half a gigabyte.
MAX_INSTRUCTIONS = 5_000_000
_MAX_NAME = 256
# Instructions that would fetch, make or call something in another way: refused whatever they name.
_DANGEROUS = {
    b'o': 'OBJ',
    b'P': 'PERSID',
    b'Q': 'BINPERSID',
    b'\x81': 'NEWOBJ',
    b'\x92': 'NEWOBJ_EX',
    b'\x82': 'EXT1',
    b'\x83': 'EXT2',
    b'\x84': 'EXT4',
}
_MARK = object()


def read_ids(path: Path | str) -> dict[int, np.ndarray]:
    """Reads `ids_*.npy`: which sequences belong to which identity.

    In the wild these files are pickles, which could run any code; see `pickles` for how they are read here.

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
        self.position = 0
        self.frame_end: int | None = None
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        try:
            return self._run()
        except (IndexError, KeyError, struct.error, UnicodeDecodeError, UnicodeEncodeError) as error:
            raise PickleError('is damaged or cut short') from error

    def _run(self) -> Any:
        if self.content[:1] != b'\x80':
            raise PickleError('does not start as a pickle of protocol 2 to 5')
        for _ in range(MAX_INSTRUCTIONS):
            code = self._take(1)
            if code == b'.':
                if len(self.stack) != 1 or self.position != len(self.content):
                    raise PickleError('is damaged')
                if self.frame_end is not None:
                    self._end_frame()
                return self.stack[0]
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise PickleError(
                    f'has the instruction {_DANGEROUS.get(code, code)}, which a list of numbers needs not'
                )
            instruction(self)
            if self.frame_end is not None and self.position >= self.frame_end:
                self._end_frame()
        raise PickleError(f'has more than {MAX_INSTRUCTIONS} instructions')

    def _take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > len(self.content):
            raise PickleError('is damaged or cut short')
        return self.content[start : self.position]

    def _number(self, form: str) -> int | float:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self.content.find(b'\n', self.position, self.position + _MAX_NAME)
        if end < 0:
            raise PickleError('is damaged or cut short')
        line = self.content[self.position : end].decode('utf-8')
        self.position = end + 1
        return line

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

    def push_tuple(self, count: int | None) -> None:
        items = self._pop_to_mark() if count is None else [self._pop() for _ in range(count)][::-1]
        self.stack.append(tuple(items))

    def append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def appends(self) -> None:
        items = self._pop_to_mark()
        self._top(list).extend(items)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def set_items(self) -> None:
        self._set_items(self._pop_to_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            raise PickleError('is damaged or cut short')
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a deeply nested tuple would overflow the C stack.
            if type(key) is not int:
                raise PickleError(f'has a dictionary with a key of the kind {type(key).__name__}, not an integer')
            if key in target:
                raise PickleError(f'names identity {key} twice')
            target[key] = value

    def protocol(self) -> None:
        if not 2 <= self._number('<B') <= 5:
            raise PickleError('is of a protocol other than 2 to 5')

    def start_frame(self) -> None:
        size = self._number('<Q')
        if self.frame_end is not None or size > len(self.content) - self.position:
            raise PickleError('is damaged')
        self.frame_end = self.position + size

    def _end_frame(self) -> None:
        if self.position != self.frame_end:
            raise PickleError('is damaged')
        self.frame_end = None

    def memoize(self) -> None:
        self.put(len(self.memo))

    def put(self, index: int) -> None:
        value = self.stack[-1]
        if value is _MARK:
            raise PickleError('is damaged or cut short')
        self.memo[index] = value

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def push_global(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise PickleError('is damaged or cut short')
        rule = NAMES.get((module, name))
        if rule is None:
            raise PickleError(f'asks for {f"{module}.{name}"[:100]!r}, which no list of identities needs')
        self.stack.append(Name(rule))

    def global_lines(self) -> None:
        module = self._line()
        self.push_global(module, self._line())

    def instance(self) -> None:
        """An old way to name a class and call it at once."""
        self.global_lines()
        raise PickleError('calls something that is not a name of NumPy')

    def global_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self.push_global(module, name)

    def reduce(self) -> None:
        args, name = self._pop(), self._pop()
        if type(name) is not Name or type(args) is not tuple:
            raise PickleError('calls something that is not a name of NumPy')
        self.stack.append(CALLS[name.rule](args))

    def build(self) -> None:
        state = self._pop()
        target = self.stack[-1]
        if type(target) is DType and type(state) is tuple:
            set_dtype(target, state)
        elif type(target) is Array and type(state) is tuple:
            set_array(target, state)
        else:
            raise PickleError('sets the state of something that is not an array')


_INSTRUCTIONS: dict[bytes, Callable[[_Machine], None]] = {
    b'\x80': _Machine.protocol,  # PROTO
    b'\x95': _Machine.start_frame,  # FRAME
    b'(': lambda m: m.stack.append(_MARK),  # MARK
    b'N': lambda m: m.stack.append(None),  # NONE
    b'\x88': lambda m: m.stack.append(True),  # NEWTRUE
    b'\x89': lambda m: m.stack.append(False),  # NEWFALSE
    b'J': lambda m: m.stack.append(m._number('<i')),  # BININT
    b'K': lambda m: m.stack.append(m._number('<B')),  # BININT1
    b'M': lambda m: m.stack.append(m._number('<H')),  # BININT2
    b'\x8a': lambda m: m.stack.append(int.from_bytes(m._take(m._number('<B')), 'little', signed=True)),  # LONG1
    b'G': lambda m: m.stack.append(m._number('>d')),  # BINFLOAT
    b'U': lambda m: m.stack.append(m._take(m._number('<B'))),  # SHORT_BINSTRING: Python 2's str
    b'T': lambda m: m.stack.append(m._take(m._number('<I'))),  # BINSTRING
    b'C': lambda m: m.stack.append(m._take(m._number('<B'))),  # SHORT_BINBYTES
    b'B': lambda m: m.stack.append(m._take(m._number('<I'))),  # BINBYTES
    b'\x8c': lambda m: m.stack.append(m._take(m._number('<B')).decode('utf-8')),  # SHORT_BINUNICODE
    b'X': lambda m: m.stack.append(m._take(m._number('<I')).decode('utf-8')),  # BINUNICODE
    b')': lambda m: m.push_tuple(0),  # EMPTY_TUPLE
    b'\x85': lambda m: m.push_tuple(1),  # TUPLE1
    b'\x86': lambda m: m.push_tuple(2),  # TUPLE2
    b'\x87': lambda m: m.push_tuple(3),  # TUPLE3
    b't': lambda m: m.push_tuple(None),  # TUPLE
    b']': lambda m: m.stack.append([]),  # EMPTY_LIST
    b'a': _Machine.append,  # APPEND
    b'e': _Machine.appends,  # APPENDS
    b'}': lambda m: m.stack.append({}),  # EMPTY_DICT
    b's': _Machine.set_item,  # SETITEM
    b'u': _Machine.set_items,  # SETITEMS
    b'\x94': _Machine.memoize,  # MEMOIZE
    b'q': lambda m: m.put(m._number('<B')),  # BINPUT
    b'r': lambda m: m.put(m._number('<I')),  # LONG_BINPUT
    b'h': lambda m: m.get(m._number('<B')),  # BINGET
    b'j': lambda m: m.get(m._number('<I')),  # LONG_BINGET
    b'c': _Machine.global_lines,  # GLOBAL
    b'i': _Machine.instance,  # INST
    b'\x93': _Machine.global_stack,  # STACK_GLOBAL
    b'R': _Machine.reduce,  # REDUCE
    b'b': _Machine.build,  # BUILD
}
