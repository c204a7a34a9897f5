"""TensorBoard's event files, read back by TensorBoard's own reader and compared with history.csv."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sge_la.errors import UserError, run_command
from sge_la.runs import records
from sge_la.runs.tensorboard import EventLog, epoch_logs
from sge_la.settings import command_line
from sge_la.settings.command_line import parse_train
from tests.command_line_cases import refused, uncompiled
from tests.conftest import training_flags

pytest.importorskip('tensorboard', reason='the extra [tensorboard] is not installed: pip install tensorboard')


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run: (step, value) of each scalar, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / 'tensorboard'), size_guidance={'scalars': 0})
    reader.Reload()
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in reader.Tags()['scalars']}


def of_history(folder: Path, axis: str = '') -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard should show of a run, from its history.csv."""
    found: dict[str, list] = {}
    for row in records.read_history(folder):
        for name, value in row.items():
            if name != 'epoch':
                found.setdefault(name.removesuffix(f'_{axis}'), []).append((row['epoch'], np.float32(value)))
    return found


def events(folder: Path) -> list[Path]:
    return sorted((folder / 'tensorboard').iterdir())


def test_log_by_hand(tmp_path):
    """Columns of other axes are left out, the own axis is left out of names, and text is no scalar."""
    history = [{'epoch': 1, 'loss_x': 0.5, 'loss_y': 7.0, 'seconds': 2}]
    with EventLog(tmp_path, history, 'x') as log:
        log.add({'epoch': 2, 'loss_x': 0.25, 'loss_y': 7.0, 'seconds': 3, 'remark': 'none'})
        assert scalars(tmp_path) == {'loss': [(1, 0.5), (2, 0.25)], 'seconds': [(1, 2), (2, 3)]}  # while it is open


def test_going_on_replaces_a_torn_file(tmp_path):
    """A killed run leaves half a record, and an epoch that was not kept: the run that goes on computes it anew."""
    with EventLog(tmp_path, []) as log:
        for epoch in (1, 2, 3):
            log.add({'epoch': epoch, 'loss': epoch})
    [torn] = events(tmp_path)
    torn.write_bytes(torn.read_bytes()[:-5])
    with EventLog(tmp_path, [{'epoch': 1, 'loss': 1}]) as log:
        [path] = events(tmp_path)
        assert path != torn
        log.add({'epoch': 2, 'loss': 20})
    assert scalars(tmp_path) == {'loss': [(1, 1), (2, 20)]}


def test_nothing_is_written_unless_it_is_wanted(tmp_path):
    with epoch_logs(False, {'': tmp_path}, []) as log:
        log({'epoch': 1, 'loss': 1.0})
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def run(tmp_path_factory, small_run) -> Path:
    """A run of two and three epochs with --tensorboard."""
    import train

    folder = tmp_path_factory.mktemp('events')
    places = ['--models_dir', str(folder)]
    train.main([*training_flags(small_run), *places, '--epochs', '2', '--rn_epochs', '3', '--tensorboard'])
    return folder


def test_both_stages_show_their_histories(run):
    """Every column and epoch of history.csv is there, x, y and z as one chart, and nothing else."""
    for axis in 'xyz':
        [folder] = (run / 'Gait_Encoding_models').glob(f'BIWI_LA_{axis}_*')
        found = scalars(folder)
        assert found == of_history(folder, axis)
        assert len(found['reconstruction']) == 2 and 'validation_contrastive' in found
    [folder] = (run / 'CAGEs_RN_models').iterdir()
    found = scalars(folder)
    assert found == of_history(folder)
    assert [step for step, _ in found['accuracy_Walking']] == [1, 2, 3]


def test_run_that_goes_on_shows_every_epoch_once(run, small_run, tmp_path, monkeypatch):
    """Stopped in the third epoch of the recognition network, with the second kept."""
    import train
    from sge_la.runs import states

    flags = [
        *training_flags(small_run),
        '--models_dir',
        str(tmp_path),
        '--epochs',
        '2',
        '--rn_epochs',
        '4',
        '--tensorboard',
    ]
    shutil.copytree(run / 'Gait_Encoding_models', tmp_path / 'Gait_Encoding_models')
    real, calls = states.save, []

    def stopping(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(states, 'save', stopping)
    with pytest.raises(KeyboardInterrupt):
        train.main(flags)
    [folder] = (tmp_path / 'CAGEs_RN_models').iterdir()
    before = scalars(folder)['train_loss']
    monkeypatch.undo()
    train.main(flags)
    found = scalars(folder)
    assert found == of_history(folder)
    assert [step for step, _ in found['train_loss']] == [1, 2, 3, 4]
    assert found['train_loss'][: len(before)] == before
    assert len(events(folder)) == 1


def test_finished_run_gets_them_afterwards(small_run, tmp_path, capsys):
    import train

    shutil.copytree(small_run / 'Models', tmp_path / 'Models')
    flags = [*training_flags(small_run), '--models_dir', str(tmp_path / 'Models'), '--epochs', '2', '--rn_epochs', '2']
    train.main([*flags, '--tensorboard'])
    assert 'trained already' in capsys.readouterr().out
    [folder] = (tmp_path / 'Models' / 'CAGEs_RN_models').glob('BIWI_LA_RN_ap_6_0.1_0pre_rev_rec')
    assert scalars(folder) == of_history(folder)


def test_flag_is_no_part_of_the_run(run):
    """The same command without the flag is the same run."""
    [folder] = (run / 'CAGEs_RN_models').iterdir()
    assert 'tensorboard' not in json.loads((folder / 'config.json').read_text())['record']


def test_missing_package_is_told_before_anything_else(monkeypatch, capsys):
    import train

    monkeypatch.setattr(command_line, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='pip install tensorboard'):
        parse_train(['--tensorboard'])
    assert run_command(train.main, ['--dataset', 'nowhere', '--tensorboard']) == 2
    assert 'tensorboard' in refused(capsys.readouterr().err)  # not that the data set is missing
