"""What cannot be prepared, and stops in the middle of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sge_la.data import load
from sge_la.data.layout import dataset_files
from sge_la.data.prepare import main
from sge_la.errors import UserError
from tests.data.generators import body, casia_b_text, write_kgbd
from tests.data.prepare_cases import REPOSITORY, command, prepare, prepared


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['NOBODY'], 'NOBODY is none of BIWI, IAS, KGBD, KS20, CASIA_B, DEMO'),
        (['KGBD'], '--raw is missing'),
        (['KGBD', '--raw', 'nowhere'], 'there is no such folder'),
        (['NOBODY', '--raw', '.'], r'has no recordings\.csv'),
        (['DEMO', '--raw', '.'], '--raw means nothing for DEMO'),
        (['DEMO', '--simulate'], '--simulate means nothing for DEMO'),
        (['BIWI', '--holdout', 'last'], '--holdout means nothing for BIWI'),
        (['BIWI', '--people', '30'], 'should be 28 .* or 50'),
        (['IAS', '--people', '28'], '--people means nothing for IAS'),
        (['CASIA_B', '--people', '28'], 'add --simulate'),
        (['CASIA_B', '--simulate', '--raw', '.'], 'leave out --raw or --simulate'),
        (['CASIA_B', '--simulate', '--layout', '3'], 'never published in layout 3'),
        (['KGBD', '--view', '1'], '--view means nothing for KGBD'),
        (['KS20', '--raw', '.', '--layout', '3', '--view', '1'], '--view names folders of single views'),
        (['KS20', '--raw', '.', '--holdout', 'tail:0.2', '--view', '1'], '--view names folders of single views'),
        (['CASIA_B', '--simulate', '--protocol', 'CME', '--view', '1'], '--view names folders of single views'),
        (['KS20', '--raw', '.', '--seed', '1'], '--seed changes nothing of KS20'),
        (['CASIA_B', '--raw', '.', '--seed', '1'], '--seed changes nothing of CASIA_B'),
        (['DEMO', '--length', '1'], 'a whole number from 2 to 1000'),
        (['DEMO', '--length', '1001'], 'a whole number from 2 to 1000'),
        (['DEMO', '--length', '6', '-1'], 'error|expected'),
        (['DEMO', '--length', '9' * 5000], 'a whole number from 2 to 1000'),
        (['DEMO', '--length', '500'], 'no recording of DEMO has 500 frames in a row'),
        (['DEMO', '--layout', '1', '--length', '6', '8'], 'layout 1 has room for one length'),
        (['DEMO', '--step', '0'], 'a whole number from 1 on'),
        (['DEMO', '--offsets', 'all', '1'], "'all' alone"),
        (['DEMO', '--center', 'Nose'], "no joint 'Nose'"),
        (['DEMO', '--layout', '4'], '--layout'),
        (['DEMO', '--holdout', 'nowhere.txt'], 'there is no file nowhere'),
        (['../DEMO', '--raw', '.'], "a data set's name"),
        (['KS20', '--raw', '.'], "should hold KS20's folders"),
    ],
)
def test_impossible_wishes_are_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_one_recording_a_person_leaves_nothing_to_test_on(tmp_path):
    write_kgbd(tmp_path / 'raw', {1: [body(40, 20, 0)], 2: [body(40, 20, 1)]})
    with pytest.raises(UserError, match='nobody in KGBD has a second recording'):
        prepare('KGBD', '--raw', tmp_path / 'raw', '--data_dir', tmp_path / 'Datasets')
    assert not (tmp_path / 'Datasets').exists()


def test_a_person_who_is_only_tested_on_is_refused(tmp_path):
    """The training recording of person 1 is too short for an offset of 20 frames."""
    raw = write_kgbd(tmp_path / 'raw', {1: [body(35, 20, 0), body(35, 20, 1)], 2: [body(60, 20, 2), body(60, 20, 3)]})
    with pytest.raises(UserError, match='Person001 is in the test set'):
        prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'Datasets', '--length', 4, '--offsets', 20)


def test_what_others_have_written_is_kept(small_kgbd, write_tiny, tmp_path):
    """Released arrays are not replaced unasked; what an earlier `prepare` wrote is."""
    raw, _ = small_kgbd
    data_dir = write_tiny('KGBD', length=4, data_dir=tmp_path / 'Datasets')
    before = {path: path.read_bytes() for path in data_dir.rglob('*.npy')}
    with pytest.raises(UserError, match='nothing is overwritten unasked'):
        prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', data_dir)
    assert {path: path.read_bytes() for path in data_dir.rglob('*.npy')} == before
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', data_dir, '--overwrite')
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', data_dir, '--clip', 0, 0)
    assert prepared(dataset_files(data_dir, 'KGBD', 4, 2))['settings']['clip'] == [0, 0]


def test_a_bad_recording_leaves_the_old_arrays(small_kgbd, tmp_path):
    raw, _ = small_kgbd
    prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'Datasets')
    before = {path: path.read_bytes() for path in (tmp_path / 'Datasets').rglob('*') if path.is_file()}
    (raw / 'Person012' / '2.txt').write_text('Head;1;2;3\n')
    with pytest.raises(UserError, match=r'2\.txt, line 2: the last frame has 1 of 20 joints'):
        prepare('KGBD', '--raw', raw, '--length', 4, '--data_dir', tmp_path / 'Datasets')
    assert {path: path.read_bytes() for path in (tmp_path / 'Datasets').rglob('*') if path.is_file()} == before


# Processes


def test_help_answers_without_numpy():
    code = (
        "import sys; from sge_la.data import prepare; prepare.parser().format_help(); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, check=False).returncode == 0


def test_mistakes_end_with_status_2_and_one_line(tmp_path):
    process = command('KGBD', '--raw', tmp_path)
    output, errors = process.communicate()
    assert process.returncode == 2 and output == ''
    assert errors.startswith('error: ') and errors.count('\n') == 1


def test_a_target_that_is_no_folder_is_told(tmp_path):
    (tmp_path / 'Datasets').write_text('')
    process = command('DEMO', '--people', 2, '--data_dir', tmp_path / 'Datasets')
    _, errors = process.communicate()
    assert process.returncode == 2 and 'cannot make the folder' in errors and errors.count('\n') == 1


@pytest.mark.skipif(sys.platform == 'win32' or os.geteuid() == 0, reason='permissions do not hold here')
def test_a_read_only_target_is_told(tmp_path):
    (tmp_path / 'Datasets').mkdir(mode=0o500)
    with pytest.raises(UserError, match='no permission'):
        prepare('DEMO', '--people', 2, '--data_dir', tmp_path / 'Datasets')


@pytest.mark.skipif(sys.platform == 'win32' or os.geteuid() == 0, reason='permissions do not hold here')
def test_unreadable_raw_data_are_told(small_kgbd, tmp_path):
    raw, _ = small_kgbd
    (raw / 'Person003').chmod(0)
    try:
        with pytest.raises(UserError, match=r'cannot read .* no permission'):
            prepare('KGBD', '--raw', raw, '--data_dir', tmp_path / 'Datasets')
    finally:
        (raw / 'Person003').chmod(0o700)


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows has no such limit')
def test_no_room_leaves_nothing(tmp_path):
    """Files may have 50 kB here, and the arrays need more: as on a full disk, writing fails half way."""
    # Set by the process itself: JAX, which other tests load, warns of forks of this one.
    code = (
        'import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); '
        "import runpy; runpy.run_module('sge_la.data.prepare', run_name='__main__')"
    )
    process = command('DEMO', '--people', 4, '--data_dir', tmp_path / 'Datasets', python=('-c', code))
    _, errors = process.communicate()
    assert process.returncode == 2 and 'cannot write' in errors and errors.count('\n') == 1
    assert [path for path in (tmp_path / 'Datasets').rglob('*') if path.is_file()] == []
    assert list((tmp_path / 'Datasets').rglob('*.partial')) == []


@pytest.mark.skipif(sys.platform == 'win32', reason='Windows sends no SIGINT to one process')
def test_ctrl_c_while_writing_leaves_whole_data_sets_only(tmp_path):
    """Stopped while the first of many lengths is written: what is there loads, and no piece is left behind."""
    lengths = range(2, 42)
    process = command('DEMO', '--length', *lengths, '--data_dir', tmp_path)
    while not list(tmp_path.glob('DEMO/.*.partial')):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and errors == 'stopped by Ctrl-C\n'
    assert list(tmp_path.rglob('*.partial')) == []
    written = [int(path.name) for path in (tmp_path / 'DEMO').iterdir()]
    assert len(written) < len(lengths)
    for length in written:
        assert len(load('DEMO', length, tmp_path, warn=lambda text: None).train.skeletons)


def runs(process: str) -> bool:
    """Whether a process runs; one that has ended may wait for somebody to ask for its status."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='child processes are looked up in /proc')
def test_ctrl_c_while_several_processes_read_stops_all_of_them(tmp_path):
    """A terminal sends Ctrl-C to all of its processes: one line is printed, and none of them goes on."""
    text = casia_b_text(body(1000, 14, 0)) * 10
    for person in range(1, 11):
        (tmp_path / f'{person:03}-nm-01-090.txt').write_text(text)
    process = command('CASIA_B', '--raw', tmp_path, '--data_dir', tmp_path / 'Datasets', start_new_session=True)
    children = Path(f'/proc/{process.pid}/task/{process.pid}/children')
    while len(found := children.read_text().split()) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and errors == 'stopped by Ctrl-C\n'
    # The pipes are closed by now, which is almost the end of a process.
    until = time.monotonic() + 60
    while any(runs(child) for child in found):
        assert time.monotonic() < until, 'a process goes on'
        time.sleep(0.01)
    assert not (tmp_path / 'Datasets').exists()
