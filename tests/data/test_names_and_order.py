"""Names of people and files: every order is total, likeness is told, and one walk is one person's."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from sge_la.data import load
from sge_la.data.check import main as check
from sge_la.data.prepare import main as prepare
from sge_la.data.raw.text import alike_people, in_order
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError, run_command
from sge_la.files.locks import claim
from sge_la.settings.papers import is_dataset_name
from tests.data.generators import body, own_csv, write_own

REPOSITORY = Path(__file__).resolve().parents[2]
STICK = Skeleton('stick', ('Hip', 'Head', 'HandLeft', 'HandRight'), (-1, 0, 1, 1), ((2, 3),))
JOSE = unicodedata.normalize('NFC', 'José'), unicodedata.normalize('NFD', 'José')


def raw_of(folder: Path, people: list[str], shared: bool = False) -> Path:
    """Two recordings a person; with `shared` the first two people have one walk in common."""
    folder.mkdir()
    rows = []
    for number, person in enumerate(people):
        for take in (1, 2):
            file = f'{number}_{take}.csv'
            frames = body(18, 4, 1000 if shared and take == 1 and number < 2 else 10 * number + take)
            (folder / file).write_text(own_csv(frames, STICK))
            rows.append((file, person, str(take), '', frames))
    write_own(folder, STICK, rows)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def test_equal_names_under_natural_sorting_have_one_order(tmp_path):
    """Whatever seed Python hashes text with."""
    raw = raw_of(tmp_path / 'raw', ['007', '7', 'b', 'B'])
    found = []
    for seed in ('1', '2', '7'):
        flags = ['Own', '--raw', str(raw), '--data_dir', str(tmp_path / seed)]
        command = [sys.executable, '-m', 'sge_la.data.prepare', *flags]
        environment = {**os.environ, 'PYTHONHASHSEED': seed, 'PYTHONPATH': str(REPOSITORY)}
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
        found.append(files_of(tmp_path / seed))
    assert found[0] == found[1] == found[2]
    assert sorted(['7', '007', '10', '9'], key=in_order) == ['007', '7', '9', '10']


@pytest.mark.parametrize(
    'pair', [('007', '7'), ('bo', 'Bo'), ('bo', 'bo '), JOSE, ('walker 01', 'walker 1')], ids=ascii
)
def test_names_that_are_alike_are_told(pair):
    [told] = alike_people([*pair, 'somebody else'])
    assert all(name in told for name in pair)
    assert alike_people(['a', 'b', 'ab', '70', '7']) == []


def test_prepare_and_loading_tell_of_them(tmp_path, capsys):
    raw = raw_of(tmp_path / 'raw', ['007', '7'])
    assert run_command(prepare, ['Own', '--raw', str(raw), '--data_dir', str(tmp_path / 'Datasets')]) == 0
    assert "note: '007' and '7' are two people here" in capsys.readouterr().out
    told: list[str] = []
    load('Own', data_dir=tmp_path / 'Datasets', warn=told.append)
    assert any("'007' and '7'" in text for text in told)
    assert run_command(check, ['Own', '--data_dir', str(tmp_path / 'Datasets')]) == 0
    assert "'007' and '7' are two people here" in capsys.readouterr().out


def test_one_walk_under_two_names_is_refused_unless_confirmed(tmp_path, capsys):
    flags = ['Own', '--raw', str(raw_of(tmp_path / 'raw', ['a', 'b'], shared=True)), '--data_dir', str(tmp_path / 'D')]
    assert run_command(prepare, flags) == 2
    assert '1_1.csv of b is, frame by frame, 0_1.csv of a' in capsys.readouterr().err
    assert not (tmp_path / 'D').exists()
    assert run_command(prepare, [*flags, '--accept']) == 0
    assert 'left out: 1_1.csv repeats 0_1.csv' in capsys.readouterr().out
    assert run_command(prepare, [*flags, '--accept', '--keep_copies']) == 0  # keeps those of one person
    assert 'left out: 1_1.csv repeats 0_1.csv' in capsys.readouterr().out


def test_files_are_found_in_either_unicode_form(tmp_path):
    raw = raw_of(tmp_path / 'raw', ['a', 'b'])
    composed, apart = (f'{form}.csv' for form in JOSE)
    os.rename(raw / '0_1.csv', raw / apart)
    table = raw / 'recordings.csv'
    table.write_text(table.read_text().replace('0_1.csv', composed), encoding='utf-8')
    assert run_command(prepare, ['Own', '--raw', str(raw), '--data_dir', str(tmp_path / 'D')]) == 0


@pytest.mark.parametrize('name', ['My_set', '', '.x', '-x', 'a/b', 'x' * 65, 'a b'])
def test_prepare_check_and_train_know_one_rule_for_names_of_data_sets(tmp_path, name, capsys):
    import train

    assert not is_dataset_name(name)
    raw = raw_of(tmp_path / 'raw', ['a', 'b'])
    places = ['--data_dir', str(tmp_path / 'D')]
    assert run_command(prepare, ['--raw', str(raw), *places, '--', name]) == 2
    assert run_command(check, [*places, '--', name]) == 2
    assert run_command(train.main, [f'--dataset={name}', *places]) == 2
    assert capsys.readouterr().err.count('error: ') == 3


def test_what_a_killed_prepare_left_is_removed_unless_it_is_alive(tmp_path):
    raw = raw_of(tmp_path / 'raw', ['a', 'b'])
    home = tmp_path / 'D' / 'Own'
    dead, alive, others = (home / f'.{stem}.partial' for stem in ('Own_6.00', 'Own_6.11', 'Other_6.22'))
    for folder in (dead, alive, others):
        folder.mkdir(parents=True)
        (folder / 'half.npy').write_bytes(b'x')
    with claim(alive):
        assert run_command(prepare, ['Own', '--raw', str(raw), '--data_dir', str(tmp_path / 'D')]) == 0
        assert (alive / 'half.npy').exists() and others.exists() and not dead.exists()


def test_links_in_a_circle_are_told(tmp_path):
    raw = raw_of(tmp_path / 'raw', ['a', 'b'])
    (raw / '0_1.csv').unlink()
    (raw / '0_1.csv').symlink_to('0_1.csv')
    with pytest.raises(UserError):
        prepare(['Own', '--raw', str(raw), '--data_dir', str(tmp_path / 'D')])


@pytest.mark.parametrize(
    ('main', 'flags', 'words'),
    [
        (prepare, ['KGBD', '--raw', 'x', '--seed', '5'], '--seed changes nothing of KGBD'),
        (check, ['KGBD', '--view', '2'], '--view is for KS20 and CASIA_B alone'),
    ],
)
def test_flags_without_effect_are_refused(main, flags, words):
    with pytest.raises(UserError, match=words):
        main(flags)
