"""Run folders: configurations, histories, locks between real processes, and states that survive kills and damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sge_la.errors import UserError
from sge_la.files import locks
from sge_la.files.locks import claim
from sge_la.runs import records, state_files
from sge_la.runs.state_files import RunState

REPOSITORY = Path(__file__).resolve().parents[2]


def start(code: str, *arguments: object, **options) -> subprocess.Popen:
    """Starts another Python in the repository; its output is read line by line."""
    command = [sys.executable, '-c', code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


# Configurations and results ------------------------------------------------------------------------------------------


def test_configurations_come_back(tmp_path):
    config = {'dataset': 'BIWI', 'length': 6, 't': 0.1, 'view': None, 'sizes': (1, 2), 'folder': Path('Models')}
    assert records.read_config(tmp_path) is None
    records.write_config(tmp_path, config)
    assert records.read_config(tmp_path) == {**config, 'sizes': [1, 2], 'folder': 'Models'}
    records.write_results(tmp_path, {'rank_1': np.float64(0.5), 'n': np.int64(3)})
    assert records.read_results(tmp_path) == {'rank_1': 0.5, 'n': 3}


def test_differences_name_both_sides(tmp_path):
    asked = {'length': 8, 't': 0.1, 'sizes': (1, 2), 'seed': 1, 'new': None, 'folder': Path('a')}
    records.write_config(tmp_path, {**asked, 'length': 6, 'seed': 2})
    there = records.read_config(tmp_path)
    keys = ['length', 't', 'sizes', 'new', 'folder', 'unheard']
    assert records.differences(there, asked, keys) == ['length: 6 there, 8 asked']
    assert records.differences({}, {'task': 'sorting'}, ['task']) == ['task: null there, "sorting" asked']
    # A terminal obeys control characters, and the names are those of a file.
    foreign = {'a\x1b[2J': '\n'}
    assert records.differences(foreign, {}, foreign) == [r'a\u001b[2J: "\n" there, null asked']


@pytest.mark.parametrize('content', ['', '{', '[1]', '"text"', '{"a": 1', '\x00', '[' * 100_000])
def test_a_configuration_that_is_none_is_refused(tmp_path, content):
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(UserError, match=r'config\.json should'):
        records.read_config(tmp_path)


@pytest.mark.parametrize('content', [{'options': []}, {'record': 'x'}, {'environment': 3}])
def test_parts_of_a_configuration_are_objects(tmp_path, content):
    records.write_config(tmp_path, content)
    with pytest.raises(UserError, match='should be a JSON object'):
        records.read_config(tmp_path)


SCORES = {'rank1': 0.5, 'nauc': None, 'sequences': 3}


@pytest.mark.parametrize(
    'kinds',
    [
        {},
        {'selected': {'epoch': 3, 'select': 'val'}, 'last': {**SCORES, 'epoch': 4}},
        {'selected': SCORES, 'all_sequences': {**SCORES, 'nauc': 0.5}, 'tasks': {'sorting': SCORES}},
        {'all_sequences': {**SCORES, 'rank_n': [0.5, 1], 'intervals': {'rank1': [0.1, None]}}},
    ],
)
def test_results_come_back(tmp_path, kinds):
    records.write_results(tmp_path, {'test_sets': {'Still': kinds}, 'other': 1})
    assert records.read_results(tmp_path) == {'test_sets': {'Still': kinds}, 'other': 1}


@pytest.mark.parametrize(
    'test_sets',
    [
        [],
        {'Still': []},
        {'Still': {'last': []}},
        {'Still': {'last': SCORES}},
        {'Still': {'last': {**SCORES, 'epoch': 'x'}}},
        {'Still': {'selected': {'select': 'else'}}},
        {'Still': {'selected': {**SCORES, 'rank1': 'x'}}},
        {'Still': {'all_sequences': {'rank1': 1}}},
        {'Still': {'tasks': {'sorting': {}}}},
        {'Still': {'tasks': []}},
        {'Still': {'all_sequences': {**SCORES, 'rank_n': 'x'}}},
        {'Still': {'all_sequences': {**SCORES, 'intervals': {'rank1': [1]}}}},
        {'Still': {'all_sequences': {**SCORES, 'rank1': 10**400}}},
    ],
)
def test_results_that_are_none_are_refused(tmp_path, test_sets):
    records.write_results(tmp_path, {'test_sets': test_sets})
    with pytest.raises(UserError, match=r'results\.json: .* should hold scores .* delete the file'):
        records.read_results(tmp_path)


# Histories -----------------------------------------------------------------------------------------------------------


def test_histories_come_back_with_columns_that_come_later(tmp_path):
    rows = [
        {'epoch': 1, 'loss': 0.1},
        {'epoch': 2, 'loss': 1e-30, 'note': 'best, so far'},
        {'epoch': 3, 'loss': float('inf')},
    ]
    assert records.read_history(tmp_path) == []
    for row in rows:
        records.append_history(tmp_path, row)
    assert records.read_history(tmp_path) == rows
    assert (tmp_path / 'history.csv').read_text().splitlines()[:2] == ['epoch,loss,note', '1,0.1,']


@given(
    st.lists(
        st.dictionaries(
            st.text('abc', min_size=1, max_size=3),
            st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text('xyz ,"\n', min_size=1, max_size=5),
            min_size=1,
            max_size=4,
        ),
        max_size=8,
    )
)
def test_any_history_comes_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp('run')
    records.write_history(folder, rows)
    assert records.read_history(folder) == rows


@pytest.mark.parametrize('content', [b'a,b\n1\n', b'a\n1,2\n', b'a\n"open\n', b'\xff\xfe', b'a\n1\n\n2\n'])
def test_a_table_that_is_no_history_is_refused(tmp_path, content):
    (tmp_path / 'history.csv').write_bytes(content)
    with pytest.raises(UserError, match=r'history\.csv.*repair or delete'):
        records.append_history(tmp_path, {'a': 1})
    assert (tmp_path / 'history.csv').read_bytes() == content


# Locks ---------------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from sge_la.files.locks import claim
lock = claim(sys.argv[1])
print('held', flush=True)
time.sleep(600)
"""


@pytest.fixture(params=['flock', 'content'])
def way(request, monkeypatch):
    """Both ways of locking: by the system, and by the lock file's content where the system cannot."""
    if request.param == 'flock':
        pytest.importorskip('fcntl')
        return ''
    monkeypatch.setattr(locks, 'fcntl', None)
    return 'import sge_la.files.locks; sge_la.files.locks.fcntl = None\n'


def test_a_second_live_run_is_refused_by_name(tmp_path, way):
    with start(way + HOLD, tmp_path) as other:
        try:
            assert other.stdout.readline() == 'held\n'
            with pytest.raises(UserError, match=rf'in use by process {other.pid} on {socket.gethostname()}; wait'):
                claim(tmp_path)
        finally:
            other.kill()


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path, way):
    with start(way + HOLD, tmp_path) as other:
        assert other.stdout.readline() == 'held\n'
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (tmp_path / 'run.lock').exists()
    with claim(tmp_path) as lock:
        assert f'process {other.pid} on {socket.gethostname()}, which ended' in lock.note
    assert not (tmp_path / 'run.lock').exists()


def test_a_folder_is_free_after_the_release(tmp_path, way):
    for _ in range(3):
        with claim(tmp_path / 'new' / 'run') as lock:
            assert lock.note == ''
            with pytest.raises(UserError, match=f'process {os.getpid()}'):
                claim(tmp_path / 'new' / 'run')
        lock.release()


def write_owner(folder: Path, **changes) -> dict:
    """A lock file of a process that is alive (this one), with changes."""
    owner = {**locks._ourselves(), **changes}
    (folder / 'run.lock').write_text(json.dumps(owner))
    return owner


@pytest.mark.parametrize(
    ('changes', 'taken'),
    [
        ({}, False),
        ({'boot': 'another start of this machine'}, True),
        ({'started': 1}, True),  # the number was given to another process
        ({'started': None, 'boot': None}, False),
        ({'host': 'elsewhere'}, False),
        ({'host': 'elsewhere', 'boot': 'of elsewhere'}, False),
    ],
)
def test_content_tells_whether_a_run_is_alive(tmp_path, monkeypatch, changes, taken):
    """Without the system's lock. What cannot be told from here (another host) counts as alive."""
    monkeypatch.setattr(locks, 'fcntl', None)
    if locks._boot() is None:
        pytest.skip('this system tells no start of processes')
    owner = write_owner(tmp_path, **changes)
    if taken:
        with claim(tmp_path) as lock:
            assert f'process {owner["pid"]} on {owner["host"]}' in lock.note
    else:
        with pytest.raises(UserError, match=f'process {owner["pid"]} on {owner["host"]}.*delete run.lock'):
            claim(tmp_path)


@pytest.mark.parametrize('content', ['', 'x', '[]', '{"pid": "1", "host": 2}', '{"pid": -1, "host": "a"}', '[' * 4000])
def test_a_lock_file_that_tells_nothing(tmp_path, monkeypatch, content):
    """The system's lock decides alone; without it the user has to."""
    (tmp_path / 'run.lock').write_text(content)
    if locks.fcntl is not None:
        with claim(tmp_path) as lock:
            assert lock.note == ''
    (tmp_path / 'run.lock').write_text(content)
    monkeypatch.setattr(locks, 'fcntl', None)
    with pytest.raises(UserError, match=r'in use by another run; wait for it, or delete run\.lock'):
        claim(tmp_path)


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path):
    target = tmp_path / 'precious'
    target.write_text('keep me')
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'run.lock').symlink_to(target)
    with pytest.raises(UserError, match=r'cannot lock .*run\.lock'):
        claim(tmp_path / 'run')
    assert target.read_text() == 'keep me'


RACE = """
import sys, os, pathlib
from sge_la.errors import UserError
from sge_la.files.locks import claim
folder, held, done = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), 0
while done < 100:
    try:
        with claim(folder):
            os.close(os.open(held, os.O_CREAT | os.O_EXCL))  # fails if another process is here too
            held.unlink()
            done += 1
    except UserError as error:
        assert 'in use' in str(error), error
print('done')
"""


def test_no_two_of_many_runs_hold_a_folder_at_once(tmp_path):
    """Three processes take and leave one folder 100 times each; a file that must be new stands for the work."""
    pytest.importorskip('fcntl')
    others = [start(RACE, tmp_path / 'run', tmp_path / 'held') for _ in range(3)]
    for other in others:
        out, error = other.communicate(timeout=120)
        assert out == 'done\n', error


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / '.resume.npz.abc.partial').write_bytes(b'half')
    (tmp_path / 'my.partial').write_bytes(b'a user keeps this')
    with claim(tmp_path):
        assert sorted(path.name for path in tmp_path.iterdir()) == ['my.partial', 'run.lock']


# States to go on from ------------------------------------------------------------------------------------------------


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
sys.path.insert(0, 'tests')
from test_runs import state_of
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
sys.path.insert(0, 'tests')
from test_runs import state_of
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
        lambda folder: records.append_history(folder, {'epoch': 1}),
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
