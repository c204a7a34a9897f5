"""Bad input of train.py and evaluate.py: one sentence, exit status 2, no traceback, and nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from sge_la.errors import run_command
from tests.command_line_cases import CAGES, ENCODERS, USUAL, refused, write_people

ROOT = Path(__file__).resolve().parents[2]
SIZES = ['--epochs', '1', '--rn_epochs', '1', '--batch_size', '12', '--rn_batch_size', '128', '--gpu', '-1']
ENCODER = 'KGBD_LA_{}_6_0.5_0pre_rev_rec'


@pytest.mark.parametrize(
    'flags', ['--length 0', '--epochs -1', '--t warm', '--view 2', '--transfer KGBD --model rev_rec_plus']
)
def test_impossible_flags(commands, flags):
    """Through the command, with its exit status; tests/settings/test_options.py has all of them."""
    assert run_command(train.main, ['--dataset', 'BIWI', *flags.split()]) == 2
    error = refused(commands.capsys.readouterr().err)
    assert flags.split()[0] in error and not commands.models_dir.exists()


@pytest.mark.parametrize('main', [train.main, evaluate.main])
def test_no_words_of_tensorflow_before_a_wrong_flag_is_told(capsys, main):
    assert run_command(main, ['--dataset']) == 2
    script = 'train.py' if main is train.main else 'evaluate.py'
    expected = f'error: --dataset: expected one argument; see `python {script} --help`'
    assert refused(capsys.readouterr().err) == expected


def test_a_missing_data_set_names_folder_files_and_command(commands):
    assert commands.try_train('--dataset KS20 --length 8') == 2
    error = refused(commands.err)
    assert str(commands.data_dir / 'KS20' / '8') in error and 'source_x_KS20_8.npy' in error
    assert 'python -m sge_la.data.prepare KS20 --raw FOLDER --length 8' in error
    assert not commands.models_dir.exists()


def test_a_wrong_length_names_those_that_are_there(commands):
    assert commands.try_train('--dataset KGBD --length 4') == 2
    assert '(lengths that are there: 6)' in refused(commands.err)


def damage(folder: Path, kind: str) -> str:
    """Damages the training set of KGBD in a copy of the data; returns a word of the error."""
    place = folder / 'KGBD' / '6' / 'KGBD_train_npy_data'
    x = place / 'source_x_KGBD_6.npy'
    if kind == 'pointer':
        x.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n')
        return 'Git LFS'
    if kind == 'empty':
        x.write_bytes(b'')
        return 'source_x_KGBD_6.npy'
    if kind == 'short':
        x.write_bytes(x.read_bytes()[:-100])
        return 'source_x_KGBD_6.npy'
    if kind == 'nan':
        array = np.load(x)
        array[7, 3] = np.nan
        np.save(x, array)
        return 'row 7 has nan at joint 3 (sequence 1, frame 1'
    if kind == 'rows':
        np.save(x, np.load(x)[:-1])
        return 'whole sequences of 6 frames'
    if kind == 'stranger':
        (place / 'ids_KGBD_6.npy').unlink()
        from sge_la.data.write import write_dataset
        from tests.conftest import tiny_split

        shutil.rmtree(folder / 'KGBD')
        write_dataset(folder, 'KGBD', tiny_split([0] * 20, 6, 20, 0), {'probe': tiny_split([0, 5], 6, 20, 1)})
        return 'every test identity should be in the training set'
    raise ValueError(kind)


@pytest.mark.parametrize('kind', ['pointer', 'empty', 'short', 'nan', 'rows', 'stranger'])
def test_damaged_data(commands, tmp_path, kind):
    shutil.copytree(commands.data_dir, tmp_path / 'Damaged')
    commands.data_dir = tmp_path / 'Damaged'
    words = damage(commands.data_dir, kind)
    assert commands.try_train('--dataset KGBD') == 2
    assert words in refused(commands.err) and not commands.models_dir.exists()


def test_fewer_sequences_than_a_batch(commands):
    assert commands.try_train('--dataset KGBD --batch_size 37') == 2
    assert 'found 36 sequences: use --batch_size 36 or less' in refused(commands.err)
    assert not list(commands.models_dir.rglob('*.ckpt*'))


def test_absurd_coordinates_stop_training_with_step_and_axis(commands, tmp_path):
    commands.data_dir = tmp_path / 'Absurd'
    write_people(commands.data_dir, 'KGBD')
    for path in (commands.data_dir / 'KGBD' / '6' / 'KGBD_train_npy_data').glob('*_y_KGBD_6.npy'):
        np.save(path, np.load(path) * 1e30)
    assert commands.try_train('--dataset KGBD') == 2
    error = refused(commands.err)
    assert 'of axis y became NaN or infinite in epoch 1, step 1' in error
    assert not list(commands.models_dir.rglob('*.ckpt*'))
    assert commands.try_evaluate('--dataset KGBD') == 2
    assert 'should hold a trained recognition network' in refused(commands.err)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('Nowhere_LA_RN_ap', 'names no folder'),
        ('KGBD_best', "the folder name 'KGBD_best' cannot be read"),
        ('KGBD_LA_x_6_0.5_0pre_rev_rec', 'names a gait encoder'),
        ('KGBD_LA_RN_ap_6_0.5_0pre_rev_rec_7', 'cannot be read'),
    ],
)
def test_rn_dir_that_cannot_be_read(after, name, words):
    if name != 'Nowhere_LA_RN_ap':
        shutil.copytree(after.network(USUAL), after.network(USUAL).with_name(name))
        (after.network(USUAL).with_name(name) / 'config.json').unlink()
    assert after.try_evaluate(f'--RN_dir {name}') == 2
    assert words in refused(after.err)


def test_a_path_that_is_not_there_names_no_run_elsewhere(after, tmp_path):
    assert after.try_evaluate(f'--RN_dir {tmp_path / "backup" / USUAL}') == 2
    assert 'names no folder' in refused(after.err)


def test_rn_dir_beside_what_contradicts_it(after):
    assert after.try_evaluate(f'--RN_dir {USUAL} --manner sc') == 2
    assert '--manner sc contradicts --RN_dir' in refused(after.err)


def test_a_file_in_the_models_folders_place(commands):
    commands.models_dir.write_text('')
    assert commands.try_train('--dataset KGBD') == 2
    assert str(commands.models_dir) in refused(commands.err)
    assert commands.models_dir.read_text() == ''


def test_a_models_folder_that_cannot_be_written(commands):
    if os.geteuid() == 0:
        pytest.skip('root may write everywhere')
    commands.models_dir.mkdir(mode=0o500)
    assert commands.try_train('--dataset KGBD') == 2
    assert 'permission' in refused(commands.err)


LIMITED = """
import resource, sys
sys.path.insert(0, {root!r})
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from tests.command_line_cases import uncompiled
import train
from sge_la.errors import run_command
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
with uncompiled():
    sys.exit(run_command(train.main, sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(('limit', 'flag'), [(200_000, 1), (3_000_000, 0)], ids=['encoders', 'features'])
def test_no_room(trained, data_dir, tmp_path, limit, flag):
    """A limit on file sizes: too little for an encoder's checkpoint (11 MB), then for the training features (7 MB).

    What a later run would read is either whole or not there, and with room the same command finishes.
    """
    models = tmp_path / 'Models'
    if flag == 0:
        shutil.copytree(trained / ENCODERS, models / ENCODERS)
    flags = [
        *SIZES,
        '--dataset',
        'KGBD',
        '--train_flag',
        str(flag),
        '--data_dir',
        str(data_dir),
        '--models_dir',
        str(models),
    ]
    code = LIMITED.format(root=str(ROOT), limit=limit)
    found = subprocess.run([sys.executable, '-c', code, *flags], capture_output=True, text=True, check=False)
    errors = [line for line in found.stderr.splitlines() if line.startswith('error: ')]
    assert found.returncode == 2 and len(errors) == 1 and 'Traceback' not in found.stderr, found.stderr
    assert 'larger than is allowed' in errors[0]
    assert not list(models.rglob('*.partial')) and not list((models / CAGES).rglob('*.ckpt*'))
    if flag == 0:
        assert not list(models.rglob('train_X.npy')) and not list(models.rglob('features.json'))
    assert run_command(train.main, flags) == 0
    assert (models / CAGES / USUAL / 'trained_model.ckpt.index').exists()


@pytest.mark.parametrize('script', ['train.py', 'evaluate.py'])
def test_help_loads_nothing_heavy(script):
    """NumPy, Keras and TensorFlow take seconds, so --help must not import them."""
    command = [sys.executable, '-X', 'importtime', str(ROOT / script), '--help']
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = {line.rsplit('|', 1)[1].strip() for line in found.stderr.splitlines() if '|' in line}
    assert 'argparse' in loaded and not {'numpy', 'keras', 'tensorflow', 'sklearn', 'tqdm'} & loaded
    assert '--dataset DATASET' in found.stdout and 'BIWI, IAS, KGBD' in found.stdout


def test_a_wrong_flag_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, str(ROOT / 'train.py'), '--length', '0']
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 2 and found.stdout == '' and list(tmp_path.iterdir()) == []
    assert found.stderr.startswith('error: --length: expected a number of frames') and found.stderr.count('\n') == 1
