"""Data sets of which one file is damaged: loaded rightly, or refused; and looked through without a crash."""

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.layout import dataset_files
from sge_la.data.quality.arrays import check
from sge_la.errors import UserError
from tests.conftest import part
from tests.fuzz.bounds import hold_to_its_word
from tests.fuzz.mutation import cases


def ignore(text: str) -> None:
    pass


def damage_each_file(write_tiny, fuzz_cases, read, check_result) -> None:
    """Damages each file of a small data set in turn; an eighth of the cases, since each reads a dozen files."""
    data_dir = write_tiny('X', joints=3, people=2, each=2, length=4, recordings=True)
    files = dataset_files(data_dir, 'X', 4, 2)
    paths = [path for part in (files.train, files.tests['test']) for path in sorted(part.folder.glob('*.npy'))]
    assert len(paths) == 18
    check_result(read(data_dir), b'')  # what is imported on first use does not count
    for number, path in enumerate(paths):
        content = path.read_bytes()
        damaged = cases([content], part(fuzz_cases, 8 * len(paths)), seed=number, focus=128)
        hold_to_its_word(damaged, path, lambda _: read(data_dir), check_result)
        path.write_bytes(content)
    check_result(read(data_dir), b'')


def test_loading(write_tiny, fuzz_cases):
    def right(dataset, content):
        for split in (dataset.train, *dataset.tests.values()):
            assert split.skeletons.dtype == np.float32 and split.skeletons.shape[1:] == (4, 3, 3)
            assert np.isfinite(split.skeletons).all()
            assert set(split.labels[split.labels >= 0]) == set(split.ids) <= set(dataset.identities)
            assert sum(map(len, split.ids.values())) == (split.labels >= 0).sum()

    damage_each_file(write_tiny, fuzz_cases, lambda data_dir: load('X', 4, data_dir, warn=ignore), right)


def test_looking_through(write_tiny, fuzz_cases):
    """What `check` finds good can be loaded, and what it finds bad cannot, unless it is one of its own rules."""
    found = []

    def read(data_dir):
        found[:] = [data_dir, check('X', 4, data_dir)]
        return found[1]

    def right(report, content):
        own_rules = (
            'training set too',
            'those of another identity',
            'repeats recording',
            'has sequences of identities',
            'which is trained on',
            'bring all recordings to one unit',
            'the body is upright along',
        )
        bad = [finding for finding in report.bad if not any(rule in finding.text for rule in own_rules)]
        # The label of a sequence in spite of its name is not read by `load`, only checked.
        bad = [finding for finding in bad if 'frame_id' not in finding.path.name]
        if not bad:
            load('X', 4, found[0], warn=ignore)
            return
        with pytest.raises(UserError):
            load('X', 4, found[0], warn=ignore)

    damage_each_file(write_tiny, fuzz_cases, read, right)
