"""The rooms of the house: who imports whom, how many modules lie in the root, how long files and functions are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / 'sge_la').rglob('*.py'))


def functions() -> list[tuple[str, int]]:
    """Name and number of lines of every function."""
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.FunctionDef):
                found.append((f'{path.relative_to(ROOT)}:{node.name}', node.end_lineno - node.lineno + 1))
    return found


def test_imports_keep_the_contracts():
    """Those of pyproject.toml; `lint-imports` shows which imports break them."""
    code = 'from importlinter.cli import lint_imports_command; lint_imports_command()'
    command = [sys.executable, '-c', code, '--no-cache']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_few_modules_lie_in_the_root():
    assert len(list((ROOT / 'sge_la').glob('*.py'))) <= 10


def test_files_and_functions_fit_a_screen():
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > 350} == {}
    lengths = functions()
    assert [name for name, lines in lengths if lines > 80 and not name.endswith('_refuse_nonsense')] == []
    assert np.percentile([lines for _, lines in lengths], 90) <= 27


@pytest.mark.parametrize('package', ['tensorflow', 'keras', 'jax'])
def test_flags_are_read_without_a_backend(package):
    """Rooms that run before the first epoch must not wait for one."""
    heavy = {'files', 'settings', 'data', 'errors.py', 'ablation.py', 'compare.py', 'cost.py'}
    for path in MODULES:
        if path.relative_to(ROOT / 'sge_la').parts[0] not in heavy:
            continue
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            names = [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split('.')[0] == package for name in names), path
