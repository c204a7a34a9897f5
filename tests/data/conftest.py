"""Raw recordings that several modules prepare."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.data.generators import body, write_kgbd


@pytest.fixture
def small_kgbd(tmp_path) -> tuple[Path, dict[int, list[np.ndarray]]]:
    """Persons 3 and 12: 5 and 2 recordings of 35 to 39 frames, of which 15 to 19 are left after clipping."""
    recordings = {
        3: [body(35 + number, 20, number) for number in range(5)],
        12: [body(35 + number, 20, 10 + number) for number in range(2)],
    }
    return write_kgbd(tmp_path / 'raw', recordings), recordings


@pytest.fixture
def kgbd_sample(reference, tmp_path) -> Path:
    """Two people of the real KGBD, byte for byte as published, where they are at hand beside the reference."""
    archive = reference.parent / 'data' / 'kgbd' / 'exact_sample.tar.xz'
    if not archive.exists():
        pytest.skip(f'the real recordings are not in {archive}')
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.isfile() and '..' not in member.name]
        for member in members:
            (tmp_path / member.name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / member.name).write_bytes(tar.extractfile(member).read())
    return tmp_path
