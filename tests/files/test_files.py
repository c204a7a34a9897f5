"""Tests of writing whole or not at all, on a real full disk and a real read-only folder where they can be had."""

import errno
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sge_la.errors import UserError
from sge_la.files import atomic, write_arrays
from sge_la.files.npz import read_npz
from sge_la.files.text import read_json, write_json, write_text
from sge_la.files.write_arrays import NpyWriter
from tests.fuzz.bounds import MEMORY_BESIDES, memory_limit


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    mount = tmp_path / 'disk'
    mount.mkdir()
    made = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', mount], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f'no small disk can be mounted here: {made.stderr.decode().strip()}')
    yield mount
    subprocess.run(['umount', mount], check=True)


def limited(size: int, code: str) -> subprocess.CompletedProcess:
    """Runs Python code in a process whose files cannot grow beyond `size` bytes."""
    start = (
        'import resource, signal\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        f'resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n'
        'import numpy as np\n'
        'from sge_la.errors import UserError\n'
        'from sge_la.files.text import write_text\n'
        'from sge_la.files.write_arrays import new_npy, save_npy\n'
    )
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, '-c', start + code], capture_output=True, text=True, cwd=root, check=False)


def test_text_and_json_round_trip(tmp_path):
    write_text(tmp_path / 'a.txt', 'Größe\n')
    assert (tmp_path / 'a.txt').read_bytes() == 'Größe\n'.encode()
    value = {'a': [1, 2.5, None, True], 'Größe': {'b': 'c'}}
    write_json(tmp_path / 'a.json', value)
    assert read_json(tmp_path / 'a.json') == value
    assert left_over(tmp_path) == ['a.json', 'a.txt']


def test_json_of_numpy_values_tuples_and_paths(tmp_path):
    value = {
        'a': np.float32(0.5),
        'b': np.arange(3),
        'c': (1, np.int64(2)),
        'd': Path('x/y'),
        'e': np.bool_(True),
        3: 4,
    }
    write_json(tmp_path / 'a.json', value)
    expected = {'a': 0.5, 'b': [0, 1, 2], 'c': [1, 2], 'd': 'x/y', 'e': True, '3': 4}
    assert read_json(tmp_path / 'a.json') == expected


def test_json_has_null_for_what_it_cannot_say(tmp_path):
    write_json(tmp_path / 'a.json', [float('nan'), np.float32('inf'), np.array([1.0, np.nan])])
    text = (tmp_path / 'a.json').read_text()
    assert json.loads(text) == [None, None, [1.0, None]]
    assert 'NaN' not in text


def test_unknown_kind_of_value_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / 'a.json', {'a': object()})
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'should be JSON'),
        (b'{"a": 1', 'should be JSON'),
        (b'\xff\xfe{}', 'should be JSON'),
        (b'[' * 100_000, 'nested too deep'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'should be JSON'),
    ],
)
def test_bad_json_is_a_user_error(tmp_path, content, message):
    path = tmp_path / 'a.json'
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_json_with_byte_order_mark_is_read(tmp_path):
    (tmp_path / 'a.json').write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n')
    assert read_json(tmp_path / 'a.json') == {'a': 1}


def test_large_json_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / 'a.json'
    with open(path, 'wb') as file:
        file.truncate(10**12)
    with pytest.raises(UserError, match='is larger'):
        read_json(path)


@pytest.mark.parametrize('make, message', [(Path.mkdir, 'a folder'), (os.mkfifo, 'a pipe'), (None, 'does not exist')])
def test_what_is_no_file_is_refused(tmp_path, make, message):
    path = tmp_path / 'a.json'
    if make is not None:
        make(path)
    with pytest.raises(UserError, match=message):
        read_json(path)


def test_an_error_in_the_body_keeps_the_old_file(tmp_path):
    path = tmp_path / 'a.bin'
    path.write_bytes(b'old')
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as file:
        file.write(b'new')
        raise KeyboardInterrupt
    assert path.read_bytes() == b'old'
    assert left_over(tmp_path) == ['a.bin']


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    """Else a power cut could leave an empty file under the name."""
    calls = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, real=real: (calls.append(name), real(*given)))
    write_text(tmp_path / 'a.txt', 'x')
    assert calls[:2] == ['fsync', 'replace']


def test_new_files_have_the_usual_permissions(tmp_path):
    write_text(tmp_path / 'a.txt', 'x')
    (tmp_path / 'b.txt').write_text('x')
    assert (tmp_path / 'a.txt').stat().st_mode == (tmp_path / 'b.txt').stat().st_mode


def test_vanished_folder_and_file_in_the_path_are_user_errors(tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        write_text(tmp_path / 'gone' / 'a.txt', 'x')
    (tmp_path / 'file').write_text('x')
    with pytest.raises(UserError, match='is a file and not a folder'):
        write_text(tmp_path / 'file' / 'a.txt', 'x')
    with pytest.raises(UserError, match=r'already|is a file'):
        atomic.make_folder(tmp_path / 'file')


def test_a_folder_in_the_place_of_the_file_is_a_user_error(tmp_path):
    (tmp_path / 'a').mkdir()
    with pytest.raises(UserError, match='is a folder'):
        write_text(tmp_path / 'a', 'x')
    assert left_over(tmp_path) == ['a']


def test_vanishing_folder_while_writing_is_a_user_error(tmp_path):
    folder = atomic.make_folder(tmp_path / 'a' / 'b')
    with pytest.raises(UserError, match='does not exist'), atomic.replacing(folder / 'x.bin') as file:
        file.write(b'x')
        next(folder.iterdir()).unlink()
        folder.rmdir()


def test_read_only_folder_is_a_user_error(tmp_path):
    if os.geteuid() == 0:
        # Permissions do not bind root, but nobody can make a file in /proc.
        with pytest.raises(UserError, match=r'cannot write /proc/a\.txt'):
            write_text('/proc/a.txt', 'x')
        return
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match='permission'):
        write_text(tmp_path / 'a.txt', 'x')
    tmp_path.chmod(0o700)


def test_full_disk_is_a_user_error_and_leaves_nothing(full_disk):
    rows = np.zeros((1000, 20))
    with pytest.raises(UserError, match='no room left'):
        write_arrays.save_npy(full_disk / 'a.npy', rows)
    with pytest.raises(UserError, match='no room left'), NpyWriter(full_disk / 'b.npy', (20,)) as writer:
        for _ in range(10):
            writer.append(rows[:100])
    with (
        pytest.raises(UserError, match='no room left'),
        write_arrays.new_npy(full_disk / 'c.npy', rows.shape, float) as array,
    ):
        array[:] = 1
    assert left_over(full_disk) == []
    write_arrays.save_npy(full_disk / 'd.npy', rows[:100])
    assert left_over(full_disk) == ['d.npy']


def test_file_too_large_is_a_user_error_and_leaves_nothing(tmp_path):
    """The size limit of a process stands in for a full disk where none can be mounted."""
    writes = {
        'text': "write_text(path, 'x' * 5000)",
        'array': 'save_npy(path, np.zeros(1000))',
        'map': 'new_npy(path, (1000,), float).__enter__()',
    }
    for name, write in writes.items():
        code = f'path = {str(tmp_path / name)!r}\ntry:\n    {write}\nexcept UserError as error:\n    print(error)'
        result = limited(4096, code)
        assert result.stdout.startswith(f'cannot write {tmp_path / name}: '), result
    assert left_over(tmp_path) == []


def test_an_unknown_cause_is_told_in_the_systems_words():
    with pytest.raises(UserError, match='cannot write x: Input/output error'), atomic.os_errors('x', 'write'):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize('blocks', [[], [0], [3], [1, 0, 5], [1000, 1000, 1]])
def test_npy_writer_equals_one_array(tmp_path, blocks):
    path = tmp_path / 'a.npy'
    everything = np.arange(sum(blocks) * 4, dtype=np.float32).reshape(-1, 2, 2)
    with NpyWriter(path, (2, 2), np.float64) as writer:
        start = 0
        for count in blocks:
            writer.append(everything[start : start + count])
            start += count
        assert not path.exists()
    read = np.load(path)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, everything)
    assert left_over(tmp_path) == ['a.npy']


def test_npy_writer_takes_views_and_refuses_other_shapes(tmp_path):
    rows = np.arange(24.0).reshape(4, 6)[:, ::2]
    with NpyWriter(tmp_path / 'a.npy', (3,)) as writer:
        writer.append(rows[::-1])
        with pytest.raises(ValueError, match='rows of shape'):
            writer.append(rows[:, :2])
    np.testing.assert_array_equal(np.load(tmp_path / 'a.npy'), rows[::-1])


def test_npy_writer_leaves_nothing_after_an_error(tmp_path):
    with pytest.raises(OSError, match='other file'), NpyWriter(tmp_path / 'a.npy', (3,)) as writer:
        writer.append(np.zeros((2, 3)))
        # An error of reading something else must not be told as one of writing this file.
        raise OSError('other file')
    assert left_over(tmp_path) == []


@pytest.mark.parametrize('shape', [(5,), (3, 4), (0, 4), (2, 3, 4)])
def test_new_npy_is_filled_in_place(tmp_path, shape):
    with write_arrays.new_npy(tmp_path / 'a.npy', shape, np.float32) as array:
        assert array.shape == shape
        array[...] = np.arange(array.size).reshape(shape)
    read = np.load(tmp_path / 'a.npy')
    np.testing.assert_array_equal(read, np.arange(read.size).reshape(shape))
    assert read.dtype == np.float32


def test_new_npy_leaves_nothing_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), write_arrays.new_npy(tmp_path / 'a.npy', (5,), float):
        raise ZeroDivisionError
    assert left_over(tmp_path) == []


def test_save_npy_refuses_objects(tmp_path):
    with pytest.raises(ValueError, match=r'[Oo]bject'):
        write_arrays.save_npy(tmp_path / 'a.npy', np.array([{}], object))
    assert left_over(tmp_path) == []


def test_a_meta_that_grows_when_it_is_read_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.npz', 'w') as archive:
        archive.writestr('meta.json', '{"a": [' + '[],' * (4 * 2**20) + '[]]}')
    with memory_limit(MEMORY_BESIDES), pytest.raises(UserError, match='more lists and objects than'):
        read_npz(tmp_path / 'x.npz')


def test_a_directory_of_members_is_bounded_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.npz', 'w') as archive:
        for number in range(45_000):
            archive.writestr(str(number), '')
    with pytest.raises(UserError, match='more than 10000 members need'):
        read_npz(tmp_path / 'x.npz')
