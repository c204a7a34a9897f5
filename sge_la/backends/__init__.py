"""What Keras' operations do not offer on every backend: compilation, and loops on the device.

Each backend's file has the same functions; `current()` gives the one that Keras runs on.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import keras


def current() -> ModuleType:
    """The module for Keras' backend: `sge_la.backends.tensorflow` or `sge_la.backends.jax`."""
    return importlib.import_module(f'sge_la.backends.{keras.backend.backend()}')
