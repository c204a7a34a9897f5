"""Runs the notebooks of the documentation and keeps what they show: `python docs/run_notebooks.py [FOLDER]`.

With a folder the results are written there, else into the notebooks themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parent.glob('*.ipynb'))
_SECONDS = 600


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs of now, without times and other traces of the machine.

    Raises nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=_SECONDS, kernel_name='python3').execute()
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == 'code':
            # Progress bars and warnings of libraries are of one machine.
            cell.outputs = [one for one in cell.outputs if one.get('name') != 'stderr']
    kernel = {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}
    notebook.metadata = {'kernelspec': kernel, 'language_info': {'name': 'python'}}
    return notebook


if __name__ == '__main__':
    for place in NOTEBOOKS:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else place.parent
        nbformat.write(run(place), folder / place.name)
