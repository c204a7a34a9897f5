"""Seven people for open sets, of whom runs leave some out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sge_la.data.write import write_dataset
from tests.conftest import tiny_split

SEVEN = range(0, 21, 3)


@pytest.fixture(scope='module')
def places(tmp_path_factory) -> Path:
    """A KGBD of seven people, each with two recordings of six sequences to train on, and two of four to test."""
    folder = tmp_path_factory.mktemp('openset')
    train, probe = (tiny_split(list(np.repeat(SEVEN, each)), 6, 20, each, True) for each in (12, 8))
    write_dataset(folder / 'Datasets', 'KGBD', train, {'probe': probe}, layout=2)
    return folder
