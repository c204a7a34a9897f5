"""Raw folders that others have packed: links and names that lead out of them, and numbers that are too long."""

import os

import numpy as np
import pytest

from sge_la.data.prepare import main
from sge_la.data.raw.text import natural
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError, run_command
from tests.data.generators import body, kgbd_text, own_csv, read_table, skel_text, write_own

STICK = Skeleton('own', ('Hip', 'Head'), (-1, 0), ())


@pytest.fixture
def strangers(tmp_path):
    """A folder `raw` of recordings, and a folder `mine` beside it with the same: two people, two recordings each."""
    for place in ('raw', 'mine'):
        rows = [(f'{person}{take}.npy', person, str(take), '') for person in 'ab' for take in (1, 2)]
        frames = [body(12, 2, seed) for seed in range(4)]
        write_own(tmp_path / place, STICK, [(*row, array) for row, array in zip(rows, frames, strict=True)])
    return tmp_path


def prepare(folder, name='Own', raw='raw') -> int:
    return run_command(main, [name, '--raw', str(folder / raw), '--data_dir', str(folder / 'Datasets')])


@pytest.mark.parametrize('name', ['a1.npy', 'recordings.csv', 'skeleton.json'])
def test_a_file_that_is_a_link_out_of_the_folder_is_refused(strangers, capsys, name):
    (strangers / 'raw' / name).unlink()
    (strangers / 'raw' / name).symlink_to(strangers / 'mine' / name)
    assert prepare(strangers) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and name in error and str(strangers / 'raw') in error
    assert not (strangers / 'Datasets').exists()


def test_frame_numbers_behind_a_link_are_refused(strangers, capsys):
    np.save(strangers / 'mine' / 'numbers.npy', np.arange(12))
    (strangers / 'raw' / 'a1_frames.npy').symlink_to(strangers / 'mine' / 'numbers.npy')
    assert prepare(strangers) == 2
    assert f'but leads to {strangers / "mine" / "numbers.npy"}; put the file itself there' in capsys.readouterr().err


def test_links_within_the_folder_and_to_all_of_it_are_followed(strangers):
    (strangers / 'raw' / 'files').mkdir()
    (strangers / 'raw' / 'a1.npy').rename(strangers / 'raw' / 'files' / 'first.npy')
    (strangers / 'raw' / 'a1.npy').symlink_to('files/first.npy')
    (strangers / 'linked').symlink_to(strangers / 'raw')
    assert prepare(strangers, raw='linked') == 0


def test_linked_recordings_and_people_of_kgbd_are_refused(tmp_path, capsys):
    for person in range(3):
        folder = tmp_path / ('mine' if person == 2 else 'raw') / f'Person00{person}'
        folder.mkdir(parents=True)
        for take in (1, 2):
            (folder / f'{take}.txt').write_text(kgbd_text(body(40, 20, 10 * person + take)))
    assert prepare(tmp_path, 'KGBD') == 0
    (tmp_path / 'raw' / 'Person000' / '3.txt').symlink_to(tmp_path / 'mine' / 'Person002' / '1.txt')
    assert prepare(tmp_path, 'KGBD') == 2
    (tmp_path / 'raw' / 'Person000' / '3.txt').unlink()
    (tmp_path / 'raw' / 'Person002').symlink_to(tmp_path / 'mine' / 'Person002')
    assert prepare(tmp_path, 'KGBD') == 2
    assert capsys.readouterr().err.count('but leads to') == 2


def test_linked_frames_of_biwi_are_refused(tmp_path, capsys):
    for part in ('Training/000', 'Testing/Walking/000'):
        (tmp_path / 'raw' / part).mkdir(parents=True)
        for at, frame in enumerate(body(40, 20, len(part))):
            (tmp_path / 'raw' / part / f'{at:06d}-a_skel.txt').write_text(skel_text(frame))
    assert prepare(tmp_path, 'BIWI') == 0
    frame = tmp_path / 'raw' / 'Training' / '000' / '000005-a_skel.txt'
    os.rename(frame, tmp_path / 'elsewhere.txt')
    frame.symlink_to(tmp_path / 'elsewhere.txt')
    assert prepare(tmp_path, 'BIWI') == 2
    assert f'{frame} should lie in ' in capsys.readouterr().err


def test_numbers_too_long_for_a_number_sort_and_are_refused():
    """Python turns no text of more than 4300 digits into a number."""
    long = '1' + '0' * 5000
    assert sorted([long, '9', 'x10', long[:-1] + '1', '010', 'x9', ''], key=natural) == [
        *('', '9', '010', long, long[:-1] + '1', 'x9', 'x10')
    ]
    for number in (long, '9' * 17, '-1', '1_0', '²', ''):
        text = own_csv(body(2, 2, 0), STICK, ['1', number])
        with pytest.raises(UserError, match='line 3: a frame number was expected'):
            read_table(text, STICK)


@pytest.mark.parametrize('person', ['9' * 30, '٣'])
def test_people_of_biwi_are_small_numbers(tmp_path, capsys, person):
    (tmp_path / 'raw' / 'Training' / person).mkdir(parents=True)
    (tmp_path / 'raw' / 'Training' / person / '000001-a_skel.txt').write_text(skel_text(body(1, 20, 0)[0]))
    assert prepare(tmp_path, 'BIWI') == 2
    assert 'a folder named by the number of a person' in capsys.readouterr().err
