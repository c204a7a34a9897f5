"""Bad input of train.py and evaluate.py: one sentence, exit status 2, no traceback, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from sge_la import checkpoints
from sge_la.errors import run_command
from tests.command_line_cases import CAGES, ENCODERS, Commands, refused, uncompiled, write_people

ROOT = Path(__file__).resolve().parents[2]
SIZES = ['--epochs', '1', '--rn_epochs', '1', '--batch_size', '12', '--rn_batch_size', '128', '--gpu', '-1']
NETWORK = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec'
ENCODER = 'KGBD_LA_{}_6_0.5_0pre_rev_rec'


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('errors') / 'Datasets'
    write_people(folder, 'KGBD')
    return folder


@pytest.fixture(scope='module')
def trained(data_dir, tmp_path_factory) -> Path:
    models = tmp_path_factory.mktemp('trained') / 'Models'
    flags = [*SIZES, '--dataset', 'KGBD', '--data_dir', str(data_dir), '--models_dir', str(models)]
    assert run_command(train.main, flags) == 0
    return models


@pytest.fixture
def commands(capsys, data_dir, tmp_path) -> Commands:
    """Commands without any models."""
    return Commands(capsys, data_dir, tmp_path / 'Models')


@pytest.fixture
def after(capsys, data_dir, trained, tmp_path) -> Commands:
    """Commands on a copy of a run's models."""
    shutil.copytree(trained, tmp_path / 'Models')
    return Commands(capsys, data_dir, tmp_path / 'Models')


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


# ---- flags and data --------------------------------------------------------------------------------------------------


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


# ---- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['cut', 'empty', 'no index', 'encoder', 'classes', 'inputs', 'noise'])
def test_a_recognition_network_that_does_not_fit(after, kind):
    """What is wrong is told with both sides where there are two."""
    folder = after.network(NETWORK)
    data = folder / 'trained_model.ckpt.data-00000-of-00001'
    words = str(folder)
    if kind == 'cut':
        data.write_bytes(data.read_bytes()[:1000])
    elif kind == 'empty':
        data.write_bytes(b'')
    elif kind == 'noise':
        data.write_bytes(bytes(len(data.read_bytes())))
    elif kind == 'no index':
        (folder / 'trained_model.ckpt.index').unlink()
        words = 'should hold a trained recognition network'
    elif kind == 'encoder':
        for path in (after.models_dir / ENCODERS / ENCODER.format('x')).glob('trained_model.ckpt*'):
            shutil.copy(path, folder)
        words = 'holds a gait encoder'
    else:
        rng = np.random.default_rng(0)
        shapes = checkpoints.recognition_shapes(700 if kind == 'inputs' else 768, 5 if kind == 'classes' else 3)
        checkpoints.save_recognition(folder, {name: rng.standard_normal(shape) for name, shape in shapes.items()})
        words = 'expected W1 [768, 256]; found W1 [700, 256]' if kind == 'inputs' else 'found W [256, 5], Variable [5]'
    assert after.try_evaluate('--dataset KGBD') == 2
    assert words in refused(after.err)


def test_a_network_of_another_class_count_is_refused_without_features_too(after):
    """The data set has 3 identities, the network answers 5."""
    shapes = checkpoints.recognition_shapes(768, 5)
    params = {name: np.zeros(shape) for name, shape in shapes.items()}
    checkpoints.save_recognition(after.network(NETWORK), params)
    (after.network(NETWORK) / 'val_X.npy').unlink()
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'expected W [256, 3]' in refused(after.err)


@pytest.mark.parametrize('kind', ['cut', 'joints', 'length', 'head', 'network', 'missing'])
def test_an_encoder_that_does_not_fit(after, kind):
    """Encoders are asked for by --train_flag 0, and by evaluate.py where features are missing."""
    folder = after.models_dir / ENCODERS / ENCODER.format('z')
    settings = {'joints': 25 if kind == 'joints' else 20, 'length': 8 if kind == 'length' else 6}
    shapes = checkpoints.encoder_shapes(**settings, contrastive=kind != 'head')
    if kind == 'cut':
        path = folder / 'trained_model.ckpt.data-00000-of-00001'
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == 'network':
        for path in after.network(NETWORK).glob('trained_model.ckpt*'):
            shutil.copy(path, folder)
    elif kind == 'missing':
        shutil.rmtree(folder)
    else:
        checkpoints.save_encoder([folder], {name: np.zeros((1, *shape)) for name, shape in shapes.items()})
    expected = {
        'joints': 'lstm_cell/kernel [276, 1024]',
        'length': 'expected W1 [1536, 256]; found W1 [2048, 256]',
        'head': 'no W1',
        'network': 'does not fit this gait encoder',
    }
    assert after.try_train('--dataset KGBD --train_flag 0 --manner sc') == 2
    error = refused(after.err)
    assert expected.get(kind, str(folder)) in error
    assert (
        not (after.models_dir / CAGES / NETWORK.replace('_ap_', '_sc_')).joinpath('trained_model.ckpt.index').exists()
    )
    (after.network(NETWORK) / 'val_X.npy').unlink()
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'test features are needed' in refused(after.err) if kind == 'missing' else refused(after.err) == error


def test_other_variables_are_named_and_ignored(after):
    """One line on stderr without a place in the code; Adam's moments and its powers are known."""
    after.evaluate('--dataset KGBD')
    expected = after.parsed()
    folder = after.network(NETWORK)
    tensors = checkpoints.read_checkpoint(folder)
    known = {'W1/Adam3': tensors['W1'], 'new_train/beta1_power': np.float32(0.9), 'learning_rate': np.float32(0.0005)}
    checkpoints.write_bundle(folder / 'trained_model.ckpt', {**tensors, **known, 'stranger': np.ones(3, np.float32)})
    after.evaluate('--dataset KGBD')
    assert after.parsed() == expected
    lines = [line for line in after.err.splitlines() if 'identities here' not in line]
    assert lines == [f'warning: {folder / "trained_model.ckpt"} also holds stranger: ignored']


def test_train_flag_0_without_encoders_names_the_folder(commands):
    assert commands.try_train('--dataset KGBD --train_flag 0') == 2
    assert ENCODER.format('x') in refused(commands.err)


def test_train_flag_2_without_a_network(commands):
    assert commands.try_train('--dataset KGBD --train_flag 2') == 2
    refused(commands.err)


# ---- folders and names -----------------------------------------------------------------------------------------------


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
        shutil.copytree(after.network(NETWORK), after.network(NETWORK).with_name(name))
        (after.network(NETWORK).with_name(name) / 'config.json').unlink()
    assert after.try_evaluate(f'--RN_dir {name}') == 2
    assert words in refused(after.err)


def test_rn_dir_beside_what_contradicts_it(after):
    assert after.try_evaluate(f'--RN_dir {NETWORK} --manner sc') == 2
    assert '--manner sc contradicts --RN_dir' in refused(after.err)


def test_features_of_another_shape(after):
    np.save(after.network(NETWORK) / 'val_X.npy', np.zeros((144, 700), np.float32))
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'W1 [700, 256]' in refused(after.err)
    np.save(after.network(NETWORK) / 'val_X.npy', np.zeros((143, 768), np.float32))
    assert after.try_evaluate('--dataset KGBD') == 2
    assert '(143, 768) and (144, 3)' in refused(after.err)


@pytest.mark.parametrize('cut', [0, 100, 5000])
def test_features_that_are_cut_short(after, cut):
    path = after.network(NETWORK) / 'val_X.npy'
    path.write_bytes(path.read_bytes()[:cut])
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'val_X.npy' in refused(after.err)


def test_features_of_any_number_of_rows_are_good_input(after):
    """143 rows fit neither 128 nor 6: 128 rows are scored in the lines, 21 windows; 23 whole ones in all."""
    folder = after.network(NETWORK)
    for name in ('val_X.npy', 'val_y.npy'):
        np.save(folder / name, np.load(folder / name)[:143])
    after.evaluate('--dataset KGBD')
    found = after.results(NETWORK)['probe']
    assert (found['selected']['sequences'], found['all_sequences']['sequences']) == (21, 23)
    assert 'the data set at hand has other sequences' in after.out


def test_a_foreign_checkpoint_is_not_overwritten(after):
    """Somebody's published network lies there, without config.json."""
    for name in ('config.json', 'results.json'):
        (after.network(NETWORK) / name).unlink()
    before = snapshot(after.network(NETWORK))
    assert after.try_train('--dataset KGBD') == 2
    assert 'says nothing of its options' in refused(after.err)
    assert {name: content for name, content in snapshot(after.network(NETWORK)).items() if name in before} == before


def test_an_unfinished_run_is_not_scored(after):
    path = after.network(NETWORK) / 'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'finished': False}))
    assert after.try_evaluate('--dataset KGBD') == 2
    assert 'has not come to its end' in refused(after.err)
    assert after.try_train('--dataset KGBD --train_flag 2') == 2
    assert 'has not come to its end' in refused(after.err)
    after.train('--dataset KGBD')  # goes on, from the beginning since no state is left
    after.evaluate('--dataset KGBD')


@pytest.mark.parametrize('content', ['{"options": ', '[]', '{"record": 3, "options": {"dataset": "KGBD"}}'])
def test_a_damaged_config(after, content):
    (after.network(NETWORK) / 'config.json').write_text(content)
    assert after.try_train('--dataset KGBD') == 2
    assert 'config.json' in refused(after.err)


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
    assert (models / CAGES / NETWORK / 'trained_model.ckpt.index').exists()


# ---- the commands as a user starts them ------------------------------------------------------------------------------


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
