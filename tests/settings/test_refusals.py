"""Training and scoring where the system or the numbers refuse: one sentence, status 2, nothing half-written, and on."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from sge_la import checkpoints
from sge_la.checkpoints.names import MEMORY_KERNEL
from sge_la.data import check, prepare
from sge_la.data.loading import load
from sge_la.data.write import NewSplit, write_dataset
from sge_la.errors import run_command
from sge_la.runs import records, state_files
from tests.conftest import small_flags, training_flags
from tests.disturbance import doing, mount, nobody, outcome, small_disk, stopping

NETWORK = 'CAGEs_RN_models/BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'
ENCODER = 'Gait_Encoding_models/BIWI_LA_{}_6_0.1_0pre_rev_rec'


@pytest.fixture(scope='module')
def small_run(untouched_run, compiled_steps) -> Path:
    """A run that nobody has scored: every file of it is compared with."""
    return untouched_run


@pytest.fixture
def told(capsys):
    """Runs train.py, or another command, and gives its error, one line, or else what it said on stdout."""

    def told(flags: list[str], status: int = 2, main=train.main) -> str:
        capsys.readouterr()
        assert run_command(main, flags) == status
        said = capsys.readouterr()
        if status == 2:
            *before, error = said.err.splitlines()
            assert error.startswith('error: ') and all(line.startswith('warning: ') for line in before)
            return error
        return said.out

    return told


def flags_of(folder: Path, models: Path, data_dir: Path | None = None) -> list[str]:
    flags = [*training_flags(folder), '--models_dir', str(models), '--epochs', '2', '--rn_epochs', '2']
    return [*flags, '--data_dir', str(data_dir)] if data_dir else flags


def leavings(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob('*') if not path.is_dir()}


def copied(folder: Path, target: Path, part: str = '') -> Path:
    """The models of a run, or a part of them, under another name; nothing of them is ever written in place."""
    shutil.copytree(folder / 'Models' / part, target / part, copy_function=os.link)
    return target


def test_a_full_disk_while_encoders_train(small_run, tmp_path, told):
    """First there is no room for a state, then none for the checkpoints; then there is, and nothing was lost."""
    with small_disk(tmp_path / 'Models', '4m') as change:
        flags = flags_of(small_run, tmp_path / 'Models')
        assert 'cannot write' in (error := told(flags)) and 'no room left on the disk; free some' in error
        assert leavings(tmp_path / 'Models') == {'config.json'}
        change('size=100m')
        assert 'no room left on the disk' in told(flags)
        assert 'resume.npz' in leavings(tmp_path / 'Models') and 'finished": true' not in ''.join(
            path.read_text() for path in tmp_path.rglob('config.json')
        )
        change('size=400m')
        assert 'going on after epoch 1 of 2' in told(flags, 0)
        assert outcome(tmp_path / 'Models') == outcome(small_run / 'Models')


def test_a_full_disk_while_features_are_written(small_run, tmp_path, told):
    models = copied(small_run, tmp_path / 'Models', 'Gait_Encoding_models')
    flags = flags_of(small_run, models)
    with small_disk(models / 'CAGEs_RN_models', '100k') as change:
        assert 'train_X.npy: there is no room left on the disk' in told(flags)
        assert leavings(models / 'CAGEs_RN_models') == {'config.json'}
        change('size=100m')
        assert 'Generate CAGEs' in told(flags, 0)
        assert outcome(models) == outcome(small_run / 'Models')


def test_a_read_only_folder(small_run, tmp_path, told):
    """Nothing can be trained there, but scored."""
    models = copied(small_run, tmp_path / 'Models')
    before = outcome(models)
    mount('--bind', models, models)
    try:
        mount('-o', 'remount,bind,ro', models)
        assert 'cannot lock' in (error := told(flags_of(small_run, models))) and 'the disk is read-only' in error
        said = told([*small_flags(small_run), '--models_dir', str(models)], 0, evaluate.main)
        assert '### Rank-1 Accuracy' in said and 'warning: the scores were not kept: cannot write' in said
    finally:
        os.system(f'umount {models}')
    assert outcome(models) == before


def test_no_permission(tmp_path, told):
    """Neither to read nor to write; the data set is not even looked for where nobody may look."""
    (tmp_path / 'locked').mkdir(mode=0o000)
    with nobody():
        for main, flags in (
            (prepare.main, ['DEMO', '--people', '2', '--recordings', '2']),
            (check.main, ['DEMO']),
            (train.main, ['--dataset', 'DEMO']),
            (evaluate.main, ['--dataset', 'DEMO', '--models_dir', str(tmp_path / 'locked')]),
        ):
            error = told([*flags, '--data_dir', str(tmp_path / 'locked' / 'Datasets')], 2, main)
            assert 'ermission' in error and str(tmp_path / 'locked') in error
    assert not any((tmp_path / 'locked').iterdir())


def test_what_has_vanished(small_run, tmp_path, told):
    """Test features and features that were cut are made again, checkpoints and folders are named."""
    models = copied(small_run, tmp_path / 'Models')
    flags = flags_of(small_run, models)
    (models / NETWORK / 'val_X.npy').unlink()
    assert 'val_X.npy is not there: encoding the test sequences' in told(flags, 0)

    os.truncate(_own_copy(models / NETWORK / 'train_X.npy'), 1000)
    records.write_config(models / NETWORK, {**records.read_config(models / NETWORK), 'finished': False})
    said = told(flags, 0)
    assert 'warning: ' in said and 'train_X.npy is cut short' in said and 'they are made again' in said
    assert outcome(models) == outcome(small_run / 'Models')

    records.write_config(models / NETWORK, {**records.read_config(models / NETWORK), 'finished': False})
    with doing(lambda: _remove(models / NETWORK), lambda: (models / NETWORK / 'resume.npz').exists()):
        assert 'does not exist (any more)' in told(flags)

    (models / ENCODER.format('z') / 'trained_model.ckpt.data-00000-of-00001').unlink()
    error = told([*flags, '--train_flag', '0'])
    assert ENCODER.format('z') in error and 'copy both files of the checkpoint' in error


def _remove(folder: Path) -> None:
    """Removes a folder into which a run may write meanwhile: what it adds in between goes too."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def _own_copy(path: Path) -> Path:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    return path


def test_weights_that_run_away(small_run, tmp_path, told):
    """The encoder of y is given absurd weights after its first epoch: the second cannot be computed, and the run can
    be ended with the first; the network is then not trained with such encoders.
    """
    flags = flags_of(small_run, tmp_path)
    home = tmp_path / ENCODER.format('x')
    with stopping(signal.SIGINT, (home / 'resume.npz').exists):
        told(flags, 130)
    state = state_files.load_state(home)
    state.parts['params'][MEMORY_KERNEL][1] = 3e38  # finite, and the attention's scores are not
    state_files.clear_state(home)
    state_files.save_state(home, state.parts, state.meta)
    error = told(flags)
    assert 'of axis y became NaN or infinite in epoch 2, step 1: ' in error
    assert f'; {home} keeps the state after epoch 1, and the same command with --epochs 1 ends there' in error
    assert checkpoints.has_checkpoint(home) is False

    flags[flags.index('--epochs') + 1] = '1'
    error = told(flags)
    assert checkpoints.has_checkpoint(home) and records.read_config(home)['finished']
    assert 'NaN or infinite' in error


def test_absurd_coordinates(small_run, tmp_path, told):
    """A sequence that no batch holds, but the validation loss: the encoders train on 21 sequences, 16 of them in
    batches of 8.
    """
    dataset = load('BIWI', 6, small_run / 'Datasets')
    skeletons = dataset.train.skeletons.copy()
    skeletons[18, :, :, 2] = 1e30
    train_split = NewSplit(skeletons, dataset.train.ids, recordings=dataset.train.recordings)
    tests = {name: NewSplit(split.skeletons, split.ids) for name, split in dataset.tests.items()}
    write_dataset(tmp_path / 'Datasets', 'BIWI', train_split, tests, layout=3)
    error = told(flags_of(small_run, tmp_path / 'Models', tmp_path / 'Datasets'))
    assert 'the validation reconstruction loss of axis z became NaN or infinite in epoch 1, step 2: ' in error
    assert 'resume.npz' not in leavings(tmp_path / 'Models')


def test_a_network_that_tells_nobody_apart_is_said(small_run, tmp_path, told):
    models = copied(small_run, tmp_path / 'Models')
    params = checkpoints.load_recognition(models / NETWORK, slots=False).params
    checkpoints.save_recognition(models / NETWORK, {name: np.zeros_like(value) for name, value in params.items()})
    said = told([*small_flags(small_run), '--models_dir', str(models)], 0, evaluate.main)
    assert 'warning: the scores are the same for every sequence, so the network tells nobody apart' in said


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:You are using a softmax over axis -1:UserWarning')  # Keras sees it too
def test_one_person_alone(small_run, tmp_path, told):
    """There is nobody to be taken for: every answer is right, and nAUC is not defined."""
    dataset = load('BIWI', 6, small_run / 'Datasets')
    everybody = NewSplit(dataset.train.skeletons, {7: range(32)})
    write_dataset(tmp_path / 'Datasets', 'BIWI', everybody, {'Walking': everybody}, layout=3)
    said = told(flags_of(small_run, tmp_path / 'Models', tmp_path / 'Datasets'), 0)
    assert '### Rank-1 Accuracy: 1.000000\n' in said and '### nAUC: nan\n' in said
    assert 'All 32 sequences (nothing dropped): Rank-1 100.0 %, nAUC undefined\n' in said
    results = records.read_results(tmp_path / 'Models' / NETWORK)['test_sets']['Walking']
    assert results['selected']['nauc'] is None and results['selected']['rank1'] == 1
