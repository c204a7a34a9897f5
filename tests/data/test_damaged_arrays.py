"""Damaged arrays and ids: one sentence with the name of the file."""

import numpy as np
import pytest

from sge_la.data import load
from sge_la.data.layout import dataset_files
from sge_la.data.write import write_ids
from sge_la.errors import UserError
from tests.data.array_cases import change, put

LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n'


DAMAGES = {
    'source': [
        (lambda path: path.write_bytes(LFS), 'Git LFS pointer'),
        (lambda path: path.write_bytes(b''), 'is empty'),
        (lambda path: path.write_bytes(b'hello world, not an array'), 'should be a .npy file'),
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), 'is cut short'),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), 'no header'),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'20)', b'99)')), 'cut short'),
        (lambda path: (path.unlink(), path.mkdir()), 'found a folder'),
        (lambda path: change(path, lambda a: a[:-1]), 'whole sequences of 6 frames, but has'),
        (
            lambda path: change(path, lambda a: a.reshape(-1, 4, 20)),
            'whole sequences of 6 frames, but has sequences of 4',
        ),
        (lambda path: change(path, lambda a: a[:0]), r'found an array \[0, 20\]'),
        (lambda path: change(path, np.ravel), 'found an array'),
        (lambda path: change(path, lambda a: a > 0), 'of bool'),
        (lambda path: change(path, lambda a: a.astype(complex)), 'integers or floats'),
        (lambda path: np.save(path, np.array([{}], object), allow_pickle=True), 'Python objects'),
        (lambda path: change(path, lambda a: a[:, :19]), 'joints|same shape'),
        (lambda path: change(path, lambda a: a[:-6]), 'same shape|beyond|hold'),
        (
            lambda path: change(path, lambda a: put(a, (13, 2), np.nan)),
            'row 13 has nan at joint 2 .sequence 2, frame 1',
        ),
        (lambda path: change(path, lambda a: put(a, (7, 19), -np.inf)), 'row 7 has -inf at joint 19'),
        (lambda path: change(path, lambda a: put(a, (0, 0), 1e300)), r'row 0 has 1e\+300 at joint 0'),
        (
            lambda path: change(path, lambda a: np.asfortranarray(put(a, (13, 2), np.nan))),
            'row 13 has nan at joint 2 .sequence 2, frame 1',
        ),
        (
            lambda path: change(path, lambda a: np.asfortranarray(put(a, (13, 2), np.nan).reshape(-1, 6, 20))),
            'row 13 has nan at joint 2 .sequence 2, frame 1',
        ),
    ],
    'target': [
        (lambda path: change(path, lambda a: put(a, (13, 2), 5.0)), 'sequence 2 .from 0. is not; delete the target'),
        (lambda path: change(path, lambda a: a[::-1]), 'sequence 0 .from 0. is not'),
        (lambda path: change(path, lambda a: a[:-6]), 'sequence 0 .from 0. is not'),
        (lambda path: change(path, lambda a: np.asfortranarray(put(a, (13, 2), 5.0))), 'sequence 2 .from 0. is not'),
        (lambda path: change(path, lambda a: put(a, (13, 2), np.nan)), 'sequence 2 .from 0. is not'),
        (lambda path: path.write_bytes(LFS), 'Git LFS pointer'),
    ],
    'ids': [
        (lambda path: path.write_bytes(LFS), 'Git LFS pointer'),
        (lambda path: path.write_bytes(b''), 'is empty'),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), 'is refused'),
        (lambda path: np.save(path, np.arange(20)), 'should hold a dictionary'),
        (lambda path: np.save(path, [[0, 1], [2]][:1]), 'should hold a dictionary'),
        (lambda path: write_ids(path, {0: [0], 3: [99], 6: [1], 9: [2]}), 'identity 3 has the sequence 99'),
        (
            lambda path: write_ids(path, {0: [0, 1], 3: [1], 6: [2], 9: [3]}),
            'sequence 1 is named twice, by identities 0 a',
        ),
        (
            lambda path: write_ids(path, {0: [0, 1, 0], 3: [5], 6: [2], 9: [3]}),
            'sequence 0 is named twice, by identity 0',
        ),
        (lambda path: write_ids(path, {0: [0], 3: [], 6: [2], 9: [3]}), 'identity 3 has none'),
    ],
    'recording': [
        (lambda path: change(path, lambda a: a[:-1]), 'one whole number for each'),
        (lambda path: change(path, lambda a: a * 1.0), 'one whole number for each'),
        (lambda path: path.write_bytes(b''), 'is empty'),
    ],
}


@pytest.mark.parametrize('side', ['train', 'test'])
@pytest.mark.parametrize('kind, damage, message', [(kind, *case) for kind, cases in DAMAGES.items() for case in cases])
def test_bad_files_are_one_sentence_with_their_name(write_tiny, side, kind, damage, message):
    data_dir = write_tiny('X', recordings=True)
    files = dataset_files(data_dir, 'X', 6, 2)
    part = files.train if side == 'train' else files.tests['test']
    path = {'source': part.source('y'), 'target': part.target('y'), 'ids': part.ids, 'recording': part.recording}[kind]
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        load('X', 6, data_dir)
    text = str(caught.value)
    assert str(path) in text and '\n' not in text and text.isprintable()
