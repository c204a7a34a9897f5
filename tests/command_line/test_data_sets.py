"""Every data set of train.py and evaluate.py, end to end at tiny size: what lies where, and what is said."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from sge_la import checkpoints
from sge_la.errors import run_command
from tests.command_line_cases import AGES, CAGES, ENCODERS, USUAL, encoders_of, frame_scores, twin_rank1, write_people

# ---- data sets, and what lies where ----------------------------------------------------------------------------------


@pytest.mark.parametrize('layout', [1, 2, 3])
def test_biwi_in_three_layouts(commands, tmp_path, layout):
    """A third of the training sequences is left out of the encoders' training: 24 are two batches of 12."""
    commands.data_dir = tmp_path / 'Datasets'
    write_people(commands.data_dir, 'BIWI', layout=layout)
    commands.train('')
    assert commands.folders() == encoders_of('BIWI_LA_{}_6_0.1_0pre_rev_rec')
    assert commands.folders(CAGES) == {'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'}
    assert 'Epoch   1/1 Batch    1/2 - Training Loss: x ' in commands.out
    assert set(commands.results('BIWI_LA_RN_ap_6_0.1_0pre_rev_rec')) == {'Walking'}


def test_banner_and_lines_of_the_original(commands):
    commands.train('--dataset KGBD')
    assert commands.out.startswith(
        'Reading KGBD ...\n ## Dataset: KGBD\n ## Attention: LA\n'
        ' ## Re-ID Manner: ap\n ## Sequence Length: 6\n ## Temperature: 0.5\n'
        ' ## Pretext Task: rev_rec\n ## GPU: -1\n'
    )
    for line in (' ## Training Gait Encoding Model: True', ' ## Training Recognition Network: True', 'Generate CAGEs'):
        assert f'\n{line}\n' in commands.out
    assert '\n(144, 768) (144, 3)\n\n### Re-ID Confusion Matrix: \n[[' in commands.out
    assert commands.out.count('\nModel Trained and Saved\n') == 2


def test_the_lines_are_what_the_files_say(after):
    """The twin reads the feature files and the checkpoint: 144 rows are one batch of 128, so 21 of 24 windows."""
    after.evaluate('--dataset KGBD')
    logits, labels = frame_scores(after.network(USUAL))
    [found] = after.parsed()
    assert found['rank1'] == f'{twin_rank1(logits, labels, 6):f}'
    assert list(found['rank_n']) == [1, 2, 3] and found['rank_n'][3] == 1.0
    selected = after.results(USUAL)['probe']['selected']
    assert (selected['sequences'], selected['rank1']) == (21, found['rank_n'][1])
    everything = logits.reshape(24, 6, 3).mean(axis=1).argmax(axis=1) == labels[::6]
    assert after.results(USUAL)['probe']['all_sequences']['rank1'] == everything.mean()
    assert f'\nAll sequences: Rank-1 Accuracy: {everything.mean():.6f}, nAUC: ' in after.out
    assert '24 sequences (nothing dropped)\n' in after.out


def test_without_verbose_a_few_lines_say_what_counts(after):
    """They say what results.json does; the confusion matrix is in a file, whose sums are those of the test set."""
    places = ['--data_dir', str(after.data_dir), '--models_dir', str(after.models_dir), '--gpu', '-1']
    after.capsys.readouterr()
    evaluate.main(['--dataset', 'KGBD', *places])
    lines = after.capsys.readouterr().out.splitlines()
    lines = lines[lines.index('') + 1 :]
    found = after.results(USUAL)['probe']
    every, chosen = found['all_sequences'], found['selected']
    low, high = (100 * end for end in every['intervals']['rank1'])
    rank1 = f'{100 * every["rank1"]:.1f} % ({low:.1f} to {high:.1f})'
    assert [line for line in lines if line][:2] == [
        f'### Rank-1 Accuracy: {chosen["rank1"]:f}',
        f'### nAUC: {chosen["nauc"]}',
    ]
    assert any(line.startswith(f'All 24 sequences (nothing dropped): Rank-1 {rank1}, nAUC ') for line in lines)
    assert any(line.endswith('; chance is 33.3 % and 50.0 % with 3 people)') for line in lines)
    assert any(line.startswith(f'Epoch {chosen["epoch"]}: best on the test set, as in the original') for line in lines)
    assert f'Run: {after.network(USUAL)}' in lines and lines[-1].startswith('Next: python evaluate.py --RN_dir ')
    assert not any('Confusion' in line or 'Rank-n' in line for line in lines)
    table = list(csv.reader((after.network(USUAL) / 'confusion_probe.csv').read_text().splitlines()))
    assert [row[0] for row in table] == table[0] and sum(int(cell) for row in table[1:] for cell in row[1:]) == 21


def test_what_a_run_leaves(after):
    """The original's files under the original's names, and ours."""
    network = after.network(USUAL)
    checkpoint = {'trained_model.ckpt.index', 'trained_model.ckpt.data-00000-of-00001', 'checkpoint'}
    features = {'train_X.npy', 'train_y.npy', 'val_X.npy', 'val_y.npy', 'features.json'}
    records = {'config.json', 'history.csv', 'results.json', 'trained_on.json', 'confusion_probe.csv'}
    losses = {'train_loss.npy', 'test_loss.npy', 'acc.npy'}
    assert {path.name for path in network.iterdir()} == checkpoint | features | records | losses
    encoder = after.models_dir / ENCODERS / 'KGBD_LA_y_6_0.5_0pre_rev_rec'
    losses = {'train_loss.npy', 'test_loss.npy', 'c_train_loss.npy'}
    assert {path.name for path in encoder.iterdir()} == checkpoint | losses | {'config.json', 'history.csv'}
    assert np.load(network / 'acc.npy').shape == (2,) and np.load(encoder / 'train_loss.npy').shape == (1,)
    assert np.load(network / 'train_X.npy').shape == (3 * 128 * 6, 768)
    assert np.load(network / 'train_y.npy').sum(axis=1).tolist() == [1] * (3 * 128 * 6)


def test_config_history_and_results(after):
    config = after.config(USUAL)
    assert config['finished'] is True
    expected = {
        'dataset': 'KGBD',
        'attention': 'LA',
        't': 0.5,
        'length': 6,
        'rn_epochs': 2,
        'batch_size': 12,
        'seed': 0,
    }
    assert {name: config['options'][name] for name in expected} == expected
    assert {'python', 'keras', 'numpy', 'tensorflow', 'device', 'git_revision'} <= set(config['environment'])
    lines = (after.network(USUAL) / 'history.csv').read_text().splitlines()
    assert lines[0].split(',') == ['epoch', 'train_loss', 'train_accuracy', 'seconds', 'accuracy_probe', 'loss_probe']
    assert [line.split(',')[0] for line in lines[1:]] == ['1', '2']
    found = after.results(USUAL)['probe']
    assert (
        found['selected']['select'] == 'test' and found['selected']['epoch'] in (1, 2) and found['last']['epoch'] == 2
    )
    assert found['selected']['chance'] == 1 / 3 and len(found['selected']['rank_n']) == 3
    history = (after.models_dir / ENCODERS / 'KGBD_LA_x_6_0.5_0pre_rev_rec' / 'history.csv').read_text()
    terms = ['reconstruction', 'locality', 'contrastive', 'l2']
    terms += [f'validation_{name}' for name in terms[:3]]
    assert history.splitlines()[0].split(',') == ['epoch', *(f'{name}_x' for name in terms), 'seconds']


@pytest.mark.parametrize(
    ('flags', 'network', 'encoder'),
    [
        ('--dataset KinectReID', 'KinectReID_LA_RN_ap_6_0.1_0pre_rev_rec', 'KinectReID_LA_{}_6_0.1_0pre_rev_rec'),
        ('--dataset Mine-2', 'Mine-2_LA_RN_ap_6_0.1_0pre_rev_rec', 'Mine-2_LA_{}_6_0.1_0pre_rev_rec'),
        ('--dataset KS20', 'KS20_LA_RN_ap_6_0.1_0pre_rev_rec', 'KS20_LA_{}_6_0.1_0pre_rev_rec'),
        (
            '--dataset KS20 --view 2',
            'KS20_LA_RN_ap_6_0.1_0view_2pre_rev_rec',
            'KS20_LA_{}_6_0.1_0view_2pre_rev_rec',
        ),
        ('--dataset DEMO --length 4', 'DEMO_LA_RN_ap_4_0.1_0pre_rev_rec', 'DEMO_LA_{}_4_0.1_0pre_rev_rec'),
        ('--dataset DEMO --length 8', 'DEMO_LA_RN_ap_8_0.1_0pre_rev_rec', 'DEMO_LA_{}_8_0.1_0pre_rev_rec'),
        ('--dataset KGBD --attention BA', 'KGBD_BA_RN_ap_6_0.5_0pre_rev_rec', 'KGBD_BA_{}_6_0.5_0pre_rev_rec'),
        ('--dataset KGBD --t 0.3', 'KGBD_LA_RN_ap_6_0.3_0pre_rev_rec', 'KGBD_LA_{}_6_0.3_0pre_rev_rec'),
        (
            '--dataset KGBD --model prediction',
            'KGBD_BA_RN_ap_6_0.5_0pre_prediction',
            'KGBD_BA_{}_6_0.5_0pre_prediction',
        ),
        (
            '--dataset KGBD --model prediction --attention LA',
            'KGBD_LA_RN_ap_6_0.5_0pre_prediction',
            'KGBD_LA_{}_6_0.5_0pre_prediction',
        ),
        (
            '--dataset KGBD --model sorting --faithful',
            'KGBD_LA_RN_ap_6_0.5_0pre_sorting_faithful',
            'KGBD_LA_{}_6_0.5_0pre_sorting_faithful',
        ),
        ('--dataset KGBD --encoding AGE', 'KGBD_LA_RN_ap', 'KGBD_LA_{}'),
        ('--dataset KGBD --frozen 1', 'KGBD_LA_RN_ap_6_0.5_1pre_rev_rec', 'KGBD_LA_{}_6_0.5_1pre_rev_rec'),
    ],
)
def test_folders_train_then_evaluate(commands, flags, network, encoder):
    """Trains and evaluates: the same scores, from folders under the original's names."""
    commands.train(flags)
    assert commands.folders() == encoders_of(encoder)
    assert commands.folders(CAGES) | commands.folders(AGES) == {network}
    scores = [line for line in commands.out.splitlines() if 'Accuracy: ' in line]
    commands.evaluate(flags.replace('--model', '--best_model'))
    assert [line for line in commands.out.splitlines() if 'Accuracy: ' in line] == scores


def test_age_prints_two_lines_and_shuffles_once(commands):
    commands.train('--dataset KGBD --encoding AGE')
    lines = commands.out.splitlines()
    assert not any(line.startswith('###') for line in lines)
    place = next(number for number, line in enumerate(lines) if line.startswith('Rank-1 Accuracy: '))
    assert lines[place + 1].startswith('nAUC: ')
    assert 'Generate AGEs' in lines and 'Train a recognition network on AGEs' in lines
    facts = checkpoints.checkpoint_facts(commands.models_dir / ENCODERS / 'KGBD_LA_x')
    assert not facts.contrastive and facts.joints == 20


# ---- IAS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('manner', ['ap', 'sc'])
def test_ias_scores_each_test_set_with_its_own_checkpoint(commands, manner):
    commands.train(f'--dataset IAS --manner {manner}', rn_epochs=2)
    folder = commands.network(f'IAS_LA_RN_{manner}_6_0.1_0pre_rev_rec')
    for stem in ('trained_model.ckpt', 'A_trained_model.ckpt', 'B_trained_model.ckpt'):
        assert checkpoints.has_checkpoint(folder, stem)
    assert {'val_X.npy', 'val_2_X.npy', 'test_A_loss.npy', 'test_B_loss.npy'} <= {
        path.name for path in folder.iterdir()
    }
    commands.evaluate(f'--dataset IAS --manner {manner}')
    assert commands.out.index('### Validation Results on IAS-A: ') < commands.out.index(
        '### Validation Results on IAS-B: '
    )
    length = 6 if manner == 'ap' else 1
    found = [block['rank1'] for block in commands.parsed()]
    pairs = [('A_trained_model.ckpt', 'val'), ('B_trained_model.ckpt', 'val_2')]
    assert found == [f'{twin_rank1(*frame_scores(folder, *pair), length):f}' for pair in pairs]


def test_ias_published_folders_and_the_joint_checkpoint(commands):
    """IAS-A_ and IAS-B_ folders come first; the joint checkpoint serves where A_ is missing; --RN_dir takes one."""
    commands.train('--dataset IAS')
    ours = commands.network('IAS_LA_RN_ap_6_0.1_0pre_rev_rec')
    for name in 'AB':
        copy = ours.with_name(ours.name.replace('IAS', f'IAS-{name}'))
        shutil.copytree(ours, copy)
        silent_last_class(copy, f'{name}_trained_model.ckpt')
    for path in ours.with_name(ours.name.replace('IAS', 'IAS-A')).glob('A_trained_model.ckpt*'):
        path.unlink()
    commands.evaluate('--dataset IAS')
    first, second = commands.parsed()
    assert first['rank1'] == f'{twin_rank1(*frame_scores(ours), 6):f}'
    twin = twin_rank1(
        *frame_scores(ours.with_name(ours.name.replace('IAS', 'IAS-B')), 'B_trained_model.ckpt', 'val_2'), 6
    )
    assert second['rank1'] == f'{twin:f}' and twin < 1
    commands.evaluate('--RN_dir IAS-B_LA_RN_ap_6_0.1_0pre_rev_rec')
    assert 'IAS-A' not in commands.out and commands.parsed() == [second]


def silent_last_class(folder: Path, stem: str) -> None:
    """Changes a network so that it never answers the last class."""
    params = checkpoints.load_recognition(folder, slots=False, stem=stem).params
    params['Variable'][-1] = -1e6
    checkpoints.save_recognition(folder, params, stem=stem)


@pytest.mark.parametrize('name', ['Mine-2', 'DEMO'])
def test_the_command_that_check_names_works(commands, name, capsys):
    """Batches of 128 cannot be had of 24 sequences; a part of them is held out."""
    from sge_la.data.check import main as check

    assert check([name, '--data_dir', str(commands.data_dir)]) == 0
    said = capsys.readouterr().out
    assert 'NOT MET: a batch of 128 training sequences: ' in said
    known = ' met: the recordings of training sequences are known' in said
    assert known == (name == 'DEMO') and ('NOT MET: the recordings' in said) != known
    [command] = [line.split()[3:] for line in said.splitlines() if line.startswith('works: python train.py ')]
    assert command[command.index('--select') + 1] == 'val'
    sizes = ['--epochs', '1', '--rn_epochs', '1', '--gpu', '-1', '--models_dir', str(commands.models_dir)]
    assert run_command(train.main, [*command, *sizes]) == 0
