"""The IJCAI paper's ablation: each row through the command, and the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sge_la import checkpoints
from sge_la.checkpoints import __main__
from sge_la.errors import UserError, run_command
from sge_la.paper import ablation
from sge_la.settings.papers import ROWS
from tests.command_line_cases import (
    AGES,
    ENCODERS,
    Commands,
    frame_scores,
    refused,
    twin_rank1,
    uncompiled,
    write_people,
)


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('ablation')
    write_people(folder / 'Datasets', 'KGBD')
    return folder


def flags(folder: Path) -> list[str]:
    sizes = ['--epochs', '1', '--rn_epochs', '1', '--batch_size', '12', '--rn_batch_size', '128', '--gpu', '-1']
    places = ['--data_dir', str(folder / 'Datasets'), '--models_dir', str(folder / 'Models')]
    return ['--dataset', 'KGBD', *sizes, *places]


@pytest.mark.slow
def test_all_rows_and_the_table(folder, capsys):
    """Nine encoders serve twelve rows; each row's Rank-1 is that of its own files."""
    assert run_command(ablation.main, flags(folder)) == 0
    out = capsys.readouterr().out
    table = out[out.index('### Ablation on KGBD') :].splitlines()[3:]
    assert [line.split()[0] for line in table] == list(ROWS)
    assert out.count('Begin Training on Dimension') == 9 and out.count('Gait encoders are trained already') == 3
    for line in table:
        name, *numbers = line.split()
        [network] = (folder / 'Models' / AGES).glob(f'KGBD_*_RN_ap_ablation-{name}')
        assert numbers[0] == f'{100 * twin_rank1(*frame_scores(network), 6):.1f}'
        assert numbers[4:] == [str(ROWS[name].rank1), str(ROWS[name].nauc)]
    assert ' 36.1    75.6' in table[0] and ' 59.1    86.5' in table[11]


@pytest.mark.slow
def test_features_are_states_or_contexts(folder):
    """Rows without AGEs read the encoder's states, those with them its contexts, of the same encoder."""
    networks = folder / 'Models' / AGES
    states = np.load(networks / 'KGBD_LA_RN_ap_ablation-GE-GD-Rev-LAS' / 'val_X.npy')
    contexts = np.load(networks / 'KGBD_LA_RN_ap_ablation-GE-GD-Rev-LAS-AGEs' / 'val_X.npy')
    assert states.shape == contexts.shape == (144, 768)
    # A context is a weighted mean of the six states of its sequence, axis by axis, so it lies within their range.
    states, contexts = states.reshape(24, 6, 768), contexts.reshape(24, 6, 768)
    low, high = states.min(axis=1, keepdims=True), states.max(axis=1, keepdims=True)
    assert ((low - 1e-6 <= contexts) & (contexts <= high + 1e-6)).all()
    assert np.abs(states - contexts).max() > 1e-3


@pytest.mark.slow
def test_what_the_encoders_hold(folder):
    """GE alone has a softmax and no decoder; GE-GD a decoder without attention; AGE encoders have no contrast head."""
    encoders = folder / 'Models' / ENCODERS
    labelled = checkpoints.read_checkpoint(encoders / 'KGBD_none_z_ablation-GE')
    assert labelled['softmax/kernel'].shape == (256, 3) and not any('decode' in name for name in labelled)
    plain = checkpoints.checkpoint_facts(encoders / 'KGBD_none_z_ablation-GE-GD')
    assert not plain.attends and not plain.contrastive
    assert checkpoints.checkpoint_facts(encoders / 'KGBD_MBA_z_ablation-GE-GD-MBAS').attends
    history = (encoders / 'KGBD_none_x_ablation-GE' / 'history.csv').read_text().splitlines()
    assert history[0] == 'epoch,cross_entropy,accuracy,seconds' and len(history) == 2


@pytest.mark.slow
def test_what_the_checkpoints_command_says_of_a_labelled_encoder(folder, capsys):
    """J = 20, U = 256, C = 3: (276 + 512 + 2) · 1024 + 257 · 3 values."""
    encoders = folder / 'Models' / ENCODERS
    facts = checkpoints.checkpoint_facts(encoders / 'KGBD_none_x_ablation-GE')
    assert (facts.kind, facts.joints, facts.units, facts.classes) == ('labelled', 20, 256, 3)
    assert facts.parameters == (276 + 512 + 2) * 1024 + 257 * 3 and facts.has_optimizer and facts.step == 3
    assert run_command(__main__.main, [str(encoders / 'KGBD_none_x_ablation-GE')]) == 0
    out = capsys.readouterr().out
    assert 'gait encoder of one axis without decoder, trained with labels\n' in out and 'classes     3\n' in out
    with pytest.raises(UserError, match='holds an encoder that was trained with labels'):
        checkpoints.load_encoder([encoders / 'KGBD_none_x_ablation-GE'])


@pytest.mark.slow
@pytest.mark.parametrize('name', ['GE', 'GE-GD-MBAS-AGEs'])
def test_evaluate_a_row(folder, capsys, name):
    commands = Commands(capsys, folder / 'Datasets', folder / 'Models')
    commands.evaluate(f'--dataset KGBD --ablation {name}')
    [network] = (folder / 'Models' / AGES).glob(f'KGBD_*_RN_ap_ablation-{name}')
    rank1 = twin_rank1(*frame_scores(network), 6)
    assert f'\nRank-1 Accuracy: {rank1}\n' in commands.out and '(nothing dropped)' in commands.out
    printed = commands.out
    (network / 'val_X.npy').rename(network / 'kept.npy')
    commands.evaluate(f'--RN_dir {network.name}')
    assert f'\nRank-1 Accuracy: {rank1}\n' in commands.out
    (network / 'kept.npy').rename(network / 'val_X.npy')
    commands.evaluate(f'--RN_dir {network.name}')
    assert commands.out == printed
    assert json.loads((network / 'results.json').read_text())['test_sets']['probe']['selected']['rank1'] == rank1


def test_a_labelled_encoder_of_another_data_set(folder, capsys, tmp_path):
    """Its checkpoint is that of a network: the first kernel is missing."""
    commands = Commands(capsys, folder / 'Datasets', tmp_path)
    for axis in 'xyz':
        shapes = checkpoints.recognition_shapes(8, 3)
        place = tmp_path / ENCODERS / f'KGBD_none_{axis}_ablation-GE'
        checkpoints.save_recognition(place, {name: np.zeros(shape) for name, shape in shapes.items()})
    assert commands.try_train('--dataset KGBD --ablation GE --train_flag 0') == 2
    assert 'should hold an LSTM that was trained with labels' in refused(commands.err)


@pytest.mark.parametrize(
    ('extra', 'words'),
    [
        ('--rows GE GE-X', "no row 'GE-X'"),
        ('--ablation GE', 'name rows with --rows'),
        ('--ablation=GE', 'name rows with --rows'),
        ('--rows GE --runs 2', '--runs'),
        ('--rows GE --backend jax --devices 2', '--devices shares the batches of one training'),
        ('--rows GE --model sorting', 'stands alone'),
        ('--rows GE --lenght 6', 'unrecognized arguments: --lenght'),
    ],
)
def test_what_the_command_refuses(folder, extra, words):
    with pytest.raises(UserError) as caught:
        ablation.main([*flags(folder), *extra.split()])
    assert words in str(caught.value)


def test_the_table_of_two_test_sets():
    """IAS has two; a score that is undefined is a dash."""
    scores = {'A': {'selected': {'rank1': 0.5, 'nauc': None}}, 'B': {'selected': {'rank1': 1.0, 'nauc': 0.75}}}
    lines = ablation.table('IAS', {'GE-GD': scores})[3:]
    assert [line.split() for line in lines] == [
        ['GE-GD', '50.0', '-', '-', '-', '41.5', '80.1', 'A'],
        ['GE-GD', '100.0', '75.0', '-', '-', '41.5', '80.1', 'B'],
    ]
