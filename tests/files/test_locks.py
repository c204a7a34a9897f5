"""The lock that keeps two runs out of one folder."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from sge_la.errors import UserError
from sge_la.files import locks
from sge_la.files.locks import claim
from tests.runs.processes import start

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
