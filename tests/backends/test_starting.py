"""How Keras and its backend are started: without what nothing here uses, and with programs that are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sge_la.backends import kept

LATER = """
import sys
from sge_la.backends.starting import keras_backend
keras_backend()
import keras
early = {'sklearn', 'matplotlib.pyplot'} & set(sys.modules)
print(sorted(early), keras.wrappers.SKLearnClassifier.__name__, 'sklearn' in sys.modules, 'Later' in str(sys.meta_path))
"""
COMPUTED = """
from sge_la.backends.starting import keras_backend
keras_backend()
import sys
import jax
from sge_la.backends.runtime import start
assert start('-1', 0) == 'CPU' and 'tensorflow' not in sys.modules
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
print(float(jax.jit(lambda x: x * 3 + 1)(2.0)))
"""
jax_only = pytest.mark.skipif(find_spec('jax') is None, reason='JAX is not installed: pip install jax')


def last_line(code: str, **environment: str) -> str:
    """What a process of its own prints last; nothing of this one's JAX_COMPILATION_CACHE_DIR reaches it."""
    inherited = {name: value for name, value in os.environ.items() if name != 'JAX_COMPILATION_CACHE_DIR'}
    done = subprocess.run(
        [sys.executable, '-c', code], env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()[-1]


def on_jax(**environment: str) -> None:
    assert last_line(COMPUTED, KERAS_BACKEND='jax', JAX_PLATFORMS='cpu', **environment) == '7.0'


def written(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in folder.rglob('*') if file.is_file()}


def test_what_nothing_uses_is_loaded_when_it_is_first_used():
    assert last_line(LATER, KERAS_BACKEND='tensorflow') == '[] SKLearnClassifier True False'


@jax_only
def test_tensorflow_starts_without_jax_which_can_be_imported_later():
    start = 'import sys; from sge_la.backends.starting import keras_backend; keras_backend()'
    code = f"{start}; early = 'jax' in sys.modules; import jax; print(early, jax.__name__)"
    assert last_line(code, KERAS_BACKEND='tensorflow') == 'False jax'


@jax_only
def test_programs_lie_in_the_cache_of_the_user_and_are_used_again(tmp_path):
    on_jax(XDG_CACHE_HOME=str(tmp_path))
    first = written(tmp_path)
    assert first
    assert {file.relative_to(tmp_path).parts[0] for file in first} == {'sge-la'}
    on_jax(XDG_CACHE_HOME=str(tmp_path))
    assert written(tmp_path) == first


@jax_only
def test_another_folder_counts_and_one_that_cannot_be_written_does_no_harm(tmp_path):
    on_jax(XDG_CACHE_HOME=str(tmp_path / 'not'), JAX_COMPILATION_CACHE_DIR=str(tmp_path / 'here'))
    assert written(tmp_path / 'here')
    assert not (tmp_path / 'not').exists()
    (tmp_path / 'file').write_text('')
    on_jax(XDG_CACHE_HOME=str(tmp_path / 'file'), HOME=str(tmp_path))
    assert not (tmp_path / '.cache').exists()


def test_the_oldest_programs_go_where_there_are_too_many(tmp_path, monkeypatch):
    for age, name in enumerate(('newest', 'middle', 'oldest')):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    monkeypatch.setattr(kept, '_MOST', 250)
    kept._trim(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ['middle', 'newest']
