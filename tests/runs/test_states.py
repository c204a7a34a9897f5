"""States of unfinished runs: kept in two generations, whatever stops or damages them."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest

from sge_la.errors import UserError
from sge_la.files.locks import claim
from sge_la.runs import records, state_files
from sge_la.runs.state_files import RunState
from tests.runs.processes import start


def state_of(epoch: int) -> dict:
    rng = np.random.default_rng(epoch)
    arrays = {'rnn/kernel': rng.standard_normal((3, 40, 50), np.float32), 'b': np.float32(epoch)}
    return {'params': arrays, 'first': {'b': rng.integers(0, 9, 4)}}


def assert_state(state: RunState, epoch: int) -> None:
    assert state.meta['epoch'] == epoch
    expected = state_of(epoch)
    assert state.parts.keys() == expected.keys()
    for part, arrays in expected.items():
        assert state.parts[part].keys() == arrays.keys()
        for name, value in arrays.items():
            np.testing.assert_array_equal(state.parts[part][name], value)
            assert state.parts[part][name].dtype == np.asarray(value).dtype


def test_states_come_back(tmp_path):
    assert state_files.load_state(tmp_path) is None
    for epoch in (1, 2, 3):
        state_files.save_state(tmp_path, state_of(epoch), {'epoch': epoch, 'rows': [1, 2]})
        state = state_files.load_state(tmp_path)
        assert_state(state, epoch)
        assert state.warning == '' and state.meta['rows'] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['resume.npz', 'resume.previous.npz']
    state_files.clear_state(tmp_path)
    state_files.clear_state(tmp_path)
    assert state_files.load_state(tmp_path) is None and not any(tmp_path.iterdir())


def test_equal_states_are_equal_files(tmp_path):
    """Whatever the clock says: a file's bytes depend on nothing but the state."""
    for name in 'ab':
        (tmp_path / name).mkdir()
        state_files.save_state(tmp_path / name, state_of(1), {'epoch': 1})
        time.sleep(2.1 if name == 'a' else 0)  # ZIP files know two seconds
    assert (tmp_path / 'a' / 'resume.npz').read_bytes() == (tmp_path / 'b' / 'resume.npz').read_bytes()


DAMAGES = {
    'cut': lambda path: os.truncate(path, path.stat().st_size - 100),
    'emptied': lambda path: path.write_bytes(b''),
    'flipped': lambda path: path.write_bytes(path.read_bytes()[:5000] + b'!' + path.read_bytes()[5001:]),
    'zeros': lambda path: path.write_bytes(bytes(path.stat().st_size)),
    'a folder': lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_newest_state_is_named_and_the_one_before_is_used(tmp_path, damage):
    for epoch in (1, 2, 3):
        state_files.save_state(tmp_path, state_of(epoch), {'epoch': epoch})
    DAMAGES[damage](tmp_path / 'resume.npz')
    state = state_files.load_state(tmp_path)
    assert_state(state, 2)
    assert str(tmp_path / 'resume.npz') in state.warning and 'resume.previous.npz' in state.warning
    DAMAGES[damage](tmp_path / 'resume.previous.npz')
    with pytest.raises(UserError, match=r'no state to go on from .*resume\.npz.*resume\.previous\.npz.*start anew'):
        state_files.load_state(tmp_path)


def test_a_stop_between_the_renames_loses_nothing(tmp_path):
    """The three moments: new one complete; old one moved; new one moved."""
    for epoch in (1, 2):
        state_files.save_state(tmp_path, state_of(epoch), {'epoch': epoch})
    (tmp_path / 'other').mkdir()
    state_files.save_state(tmp_path / 'other', state_of(3), {'epoch': 3})
    shutil.copy(tmp_path / 'other' / 'resume.npz', tmp_path / 'resume.new.npz')
    assert_state(state_files.load_state(tmp_path), 3)
    os.replace(tmp_path / 'resume.npz', tmp_path / 'resume.previous.npz')
    assert_state(state_files.load_state(tmp_path), 3)
    state_files.save_state(tmp_path, state_of(4), {'epoch': 4})
    assert_state(state_files.load_state(tmp_path), 4)


SAVE = """
import sys
from tests.runs.test_states import state_of
from sge_la.runs.state_files import save_state
for epoch in range(int(sys.argv[2]), 10_000):
    save_state(sys.argv[1], state_of(epoch), {'epoch': epoch})
    print(epoch, flush=True)
"""


def test_a_kill_at_any_moment_costs_nothing_that_was_saved(tmp_path):
    """kill -9 at random moments: the state is always whole, and never older than the last that was reported saved."""
    moments = np.random.default_rng(3).uniform(0, 0.03, 6)
    epoch = 0
    for moment in moments:
        with start(SAVE, tmp_path, epoch) as other:
            first = other.stdout.readline()
            time.sleep(moment)
            other.kill()
            reported = [int(line) for line in [first, *other.stdout] if line.endswith('\n')]
            assert reported, other.stderr.read()
        state = state_files.load_state(tmp_path)
        assert_state(state, state.meta['epoch'])
        assert state.warning == '' and state.meta['epoch'] in (reported[-1], reported[-1] + 1)
        epoch = state.meta['epoch'] + 1


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from tests.runs.test_states import state_of
from sge_la.checkpoints import save_recognition, recognition_shapes
from sge_la.errors import UserError
from sge_la.runs.state_files import save_state
import numpy as np
params = {name: np.ones(shape, np.float32) for name, shape in recognition_shapes(768, 28).items()}
for write, what in ((save_state, state_of(2)), (save_recognition, params)):
    try:
        write(sys.argv[1], what)
    except UserError as error:
        print(error)
"""


def test_no_room_leaves_the_old_files_as_they_were(tmp_path):
    """The system refuses files beyond 4 KiB, as it refuses any on a full disk."""
    pytest.importorskip('resource')
    state_files.save_state(tmp_path, state_of(1), {'epoch': 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    out, error = start(LIMITED, tmp_path).communicate(timeout=60)
    assert out.count('cannot write') == 2 and out.count('would be larger than is allowed') == 2, error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    'write',
    [
        lambda folder: state_files.save_state(folder, state_of(1)),
        lambda folder: records.write_config(folder, {}),
        lambda folder: records.write_history(folder, [{'epoch': 1}]),
    ],
)
def test_a_vanished_folder_is_named(tmp_path, write):
    with pytest.raises(UserError, match=r'cannot write .*does not exist'):
        write(tmp_path / 'gone')


def test_a_file_in_the_folder_s_place_is_named(tmp_path):
    (tmp_path / 'run').write_text('')
    with pytest.raises(UserError, match='cannot make the folder'):
        claim(tmp_path / 'run')


def test_a_history_of_other_epochs_is_refused(tmp_path):
    for rows in ('1,0.5\n3,0.5', '1,0.5\n,0.5', 'x,0.5', '1.5,1', f'{10**400},1', f'1,{10**400}', '1,1e999'):
        (tmp_path / 'history.csv').write_text(f'epoch,loss\n{rows}\n')
        with pytest.raises(UserError, match=r'history\.csv, row \d: expected the numbers of epoch [12], found'):
            records.read_epochs(tmp_path)


@pytest.mark.parametrize('seconds', [[], 'x', {'all': 'x'}, {'all': None}])
def test_times_that_are_none_are_refused(tmp_path, seconds):
    records.write_results(tmp_path, {'test_sets': {}, 'seconds': seconds})
    with pytest.raises(UserError, match='seconds should hold the times'):
        records.read_results(tmp_path)
