"""What reaches a terminal, and what is refused because it could not be written or read again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest

from sge_la.errors import UserError, plain, run_command, say
from sge_la.files.text import read_json, write_json
from sge_la.files.write_arrays import save_npy
from sge_la.runs import records
from tests.fuzz.bounds import MEMORY_BESIDES, memory_limit


def test_control_characters_are_shown_and_not_obeyed():
    assert plain('a\x1b[1mb\nc\u202e') == r'a\x1b[1mb\nc\u202e'
    assert plain('José 人') == 'José 人'


def test_long_values_and_long_messages_are_shortened():
    """A value keeps its ends; a message too."""
    assert len(plain('x' * 100_000)) <= 300 and plain('x' * 300) == 'x' * 300
    shown = plain(f'{"word " * 100_000}end')
    assert len(shown) <= 2000 and shown.startswith('word word') and shown.endswith('end')


def test_no_message_of_a_command_escapes_the_one_place(capsys):
    def main(argv):
        say('a line\nanother \x07')
        say('of stderr \x1b', error=True)
        raise UserError('a name: \x1b]0;title\x07')

    assert run_command(main) == 2
    said = capsys.readouterr()
    assert said.out == 'a line\nanother \\x07\n'
    assert said.err == 'of stderr \\x1b\nerror: a name: \\x1b]0;title\\x07\n'


@pytest.mark.skipif(os.name == 'nt', reason='needs a shell that closes streams')
@pytest.mark.parametrize('closed', ['<&-', '>&-', '2>&-', '<&- >&- 2>&-'])
def test_closed_streams_lead_nowhere(tmp_path, closed):
    """No file has their numbers, under which TensorFlow prints."""
    code = (
        'import os, sys; from sge_la.errors import run_command, say\n'
        'def main(argv):\n'
        '    say("a line"); say("a warning", error=True); open(argv[0], "w")\n'
        '    for number in (1, 2): os.write(number, b"printed")\n'
        'sys.exit(run_command(main, sys.argv[1:]))'
    )
    command = shlex.join([sys.executable, '-c', code, str(tmp_path / 'file')])
    assert subprocess.run(f'exec {command} {closed}', shell=True, check=False, timeout=60).returncode == 0
    assert (tmp_path / 'file').read_text() == ''


def test_too_little_memory_is_told(capsys):
    def main(argv):
        np.empty(2**62, np.int8)

    assert run_command(main) == 2
    told = capsys.readouterr().err
    assert told.startswith('error: there is not enough memory (Unable to allocate 4.00 EiB') and told.count('\n') == 1


@pytest.mark.parametrize(
    'text',
    ['{"a": ' * 600 + '1' + '}' * 600, '[' * 101 + ']' * 101, '{"name": "\\ud800"}', '{"\\udfff": 1}', '[' * 9000],
)
def test_json_that_could_not_be_written_is_not_read(tmp_path, text):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(UserError, match=r'nested|half of a letter'):
        read_json(tmp_path / 'a.json')


@pytest.mark.parametrize('part', ['[],', '{},', '{"a":1},', '[[]],'])
def test_json_that_is_small_and_grows_when_it_is_read_is_refused(tmp_path, part):
    (tmp_path / 'x.json').write_text('[' + (part * (6 * 2**20 // len(part)))[:-1] + ']')
    with memory_limit(MEMORY_BESIDES), pytest.raises(UserError, match='more lists and objects than'):
        read_json(tmp_path / 'x.json')


def test_what_is_written_can_be_read(tmp_path):
    deep: list = []
    for _ in range(99):
        deep = [deep]
    write_json(tmp_path / 'a.json', {'a': deep[0], 'b': [1.5, None, 'x']})
    assert read_json(tmp_path / 'a.json')['b'] == [1.5, None, 'x']
    with pytest.raises(UserError, match='a half of a letter that no file can hold'):
        write_json(tmp_path / 'a.json', {'name': 'walk\udcff.csv'})
    assert json.loads((tmp_path / 'a.json').read_text())['b'] == [1.5, None, 'x']


@pytest.mark.parametrize('kind', ['link', 'pipe', 'dangling link'])
def test_nothing_but_a_plain_file_is_replaced(tmp_path, kind):
    path, other = tmp_path / 'a.npy', tmp_path / 'other'
    if kind == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to(other)
        if kind == 'link':
            other.write_text('kept')
    before = path.lstat()
    with pytest.raises(UserError, match='a plain file was expected there'):
        save_npy(path, np.zeros(3))
    assert path.lstat() == before and sorted(tmp_path.iterdir()) == sorted({path, *([other] if kind == 'link' else [])})


@pytest.mark.parametrize(
    'gallery', [[], {'euclidean': 1}, {'euclidean': {'a → b': {'mAP': 0.5}}}, {'euclidean': {'a → b': {'mAP': 'x'}}}]
)
def test_a_gallery_entry_that_is_none_is_told(tmp_path, gallery):
    (tmp_path / 'results.json').write_text(json.dumps({'test_sets': {}, 'gallery': gallery}))
    with pytest.raises(UserError, match='gallery'):
        records.read_results(tmp_path)


def test_an_epoch_may_be_written_with_a_point(tmp_path):
    (tmp_path / 'history.csv').write_text('epoch,loss\n1.0,0.5\n2,0.25\n')
    assert [type(row['epoch']) for row in records.read_epochs(tmp_path)] == [int, int]


@pytest.mark.parametrize('text', ['epoch\n' + '1' * 200_000, 'epoch,loss\n' + '1,2\n' * 300_000])
def test_a_history_takes_bounded_memory(tmp_path, text):
    (tmp_path / 'history.csv').write_text(text)
    with pytest.raises(UserError, match='has more than'):
        records.read_history(tmp_path)
