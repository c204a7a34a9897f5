"""Keras' first import, which starts TensorFlow or JAX and takes seconds: refused in a sentence, and without chatter."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader, find_spec

from sge_la.backends.kept import keep_programs
from sge_la.errors import UserError, say

TENSORFLOW, JAX, NUMPY = 'tensorflow', 'jax', 'numpy'
KERAS_BACKENDS = (TENSORFLOW, JAX)
_SPELT = {TENSORFLOW: 'TensorFlow', JAX: 'JAX'}
NAMES = (*KERAS_BACKENDS, NUMPY)
# What TensorFlow says on stderr as it starts, whatever its log level: instructions, missing drivers, and the like.
_CHATTER = re.compile(
    rb'WARNING: All log messages before absl|To enable the following|'
    rb'[IWE]\d{4} .*(oneDNN|cuda|cuInit|cpu_feature_guard|computation_placer)'
)
# Parts of Keras that nothing here uses, and that bring scikit-learn and Matplotlib along: 1.5 s together.
_LATER = ('keras.wrappers', 'keras.visualization', 'keras.src.visualization')


class _Later:
    """Finds these modules as Python does, and has each loaded when something of it is first used."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in _LATER else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextlib.contextmanager
def _some_parts_later() -> Iterator[None]:
    sys.meta_path.insert(0, _Later)
    try:
        yield
    finally:
        sys.meta_path.remove(_Later)


@contextlib.contextmanager
def _without_jax() -> Iterator[None]:
    """TensorFlow imports JAX, where it is installed, for its converters: 100 MiB and 0.25 s for nothing."""
    if JAX in sys.modules:
        yield
        return
    sys.modules[JAX] = None  # type: ignore[assignment]  # as Python marks what cannot be imported
    try:
        yield
    finally:
        del sys.modules[JAX]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Lets TensorFlow start inside without its chatter on stderr; any other line there appears at the end."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            os.write(2, b''.join(line for line in file if not _CHATTER.match(line)))


def wish() -> str | None:
    """What KERAS_BACKEND says, or None.

    Raises UserError: it is no backend that we know.
    """
    name = os.environ.get('KERAS_BACKEND') or None
    if name not in (None, *NAMES):
        raise UserError(f'KERAS_BACKEND is {name!r}, and one of {", ".join(NAMES)} was expected; set it to one of them')
    return name


def refuse_missing(name: str) -> None:
    """Keras would end in a traceback where the package of its backend is not there."""
    if name == NUMPY:
        raise UserError(
            f'on numpy models are used and not trained, and KERAS_BACKEND names it: set it to one of '
            f'{", ".join(KERAS_BACKENDS)} here'
        )
    if name not in sys.modules and find_spec(name) is None:
        raise UserError(f'the package {name}, which computes here, is not installed: pip install {name}')


def keras_backend() -> str:
    """The backend that Keras runs on; imports Keras.

    Raises UserError: KERAS_BACKEND names no backend for it, or the backend's package is not there.
    """
    if 'keras' not in sys.modules:
        name = wish() or TENSORFLOW
        refuse_missing(name)
        say(f'Loading {_SPELT[name]} ...')  # which takes seconds
        if name == JAX:
            keep_programs()
        with quietly(), _some_parts_later(), _without_jax() if name == TENSORFLOW else contextlib.nullcontext():
            import keras
    import keras

    return keras.backend.backend()
