"""Every flag and data set of train.py and evaluate.py, end to end at tiny size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sge_la import checkpoints
from sge_la.data import load
from tests.command_line_cases import AGES, CAGES, ENCODERS, Commands, frame_scores, twin_rank1, uncompiled, write_people

USUAL = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec'


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory) -> Path:
    """Data sets of all names in layout 2, DEMO with two more lengths, KS20 with a view."""
    folder = tmp_path_factory.mktemp('command_line') / 'Datasets'
    for name in ('BIWI', 'IAS', 'KGBD', 'KinectReID', 'Mine-2'):
        write_people(folder, name)
    for length in (4, 6, 8):
        write_people(folder, 'DEMO', length=length, recordings=True)
    for view in (None, 2):
        write_people(folder, 'KS20', joints=25, view=view)
    return folder


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture
def commands(capsys, data_dir, tmp_path) -> Commands:
    return Commands(capsys, data_dir, tmp_path / 'Models')


@pytest.fixture(scope='module')
def trained(data_dir, tmp_path_factory) -> Path:
    """Models of a usual run on KGBD; tests that change them take a copy."""
    import train
    from sge_la.errors import run_command

    models = tmp_path_factory.mktemp('trained') / 'Models'
    sizes = '--epochs 1 --rn_epochs 2 --batch_size 12 --rn_batch_size 128 --gpu -1 --dataset KGBD'
    assert run_command(train.main, [*sizes.split(), '--data_dir', str(data_dir), '--models_dir', str(models)]) == 0
    return models


@pytest.fixture
def after(capsys, data_dir, trained, tmp_path) -> Commands:
    """Commands on a copy of the usual run's models."""
    shutil.copytree(trained, tmp_path / 'Models')
    return Commands(capsys, data_dir, tmp_path / 'Models')


def encoders_of(name: str) -> set[str]:
    return {name.format(axis) for axis in 'xyz'}


# ---- data sets, and what lies where ----------------------------------------------------------------------------------


@pytest.mark.parametrize('layout', [1, 2, 3])
def test_biwi_in_three_layouts(commands, tmp_path, layout):
    """A third of the training sequences is left out of the encoders' training: 24 are two batches of 12."""
    commands.data_dir = tmp_path / 'Datasets'
    write_people(commands.data_dir, 'BIWI', layout=layout)
    commands.train('')
    assert commands.folders() == encoders_of('BIWI_LA_{}_6_0.1_0pre_rev_rec')
    assert commands.folders(CAGES) == {'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'}
    assert 'Epoch   1/1 Batch    1/2 - Training Loss: ' in commands.out
    assert set(commands.results('BIWI_LA_RN_ap_6_0.1_0pre_rev_rec')) == {'Walking'}


def test_banner_and_lines_in_the_originals_spelling(commands):
    commands.train('--dataset KGBD')
    assert commands.out.startswith(
        ' ## Dataset: KGBD\n ## Attention: LA\n ## Re-ID Manner: ap\n ## Sequence Length: 6\n ## Tempearture: 0.5\n'
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


def test_what_a_run_leaves(after):
    """The original's files under the original's names, and ours."""
    network = after.network(USUAL)
    checkpoint = {'trained_model.ckpt.index', 'trained_model.ckpt.data-00000-of-00001', 'checkpoint'}
    features = {'train_X.npy', 'train_y.npy', 'val_X.npy', 'val_y.npy', 'features.json'}
    records = {'config.json', 'history.csv', 'results.json'}
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


# ---- pretext tasks ---------------------------------------------------------------------------------------------------


def test_plus_joins_three_encoders_and_scores_each_task(commands):
    commands.train('--dataset KGBD --model rev_rec_plus')
    assert commands.folders() == (
        encoders_of('KGBD_LA_{}_6_0.5_0pre_rev_rec')
        | encoders_of('KGBD_BA_{}_6_0.5_0pre_prediction')
        | encoders_of('KGBD_BA_{}_6_0.5_0pre_sorting')
    )
    name = 'KGBD_RN_ap_6_0.5_0pre_rev_rec_plus'
    X = np.load(commands.network(name) / 'val_X.npy')
    assert X.shape == (144, 2304) and '\n ## Attention: LA, BA, BA\n' in commands.out
    tasks = commands.results(name)['probe']['tasks']
    for number, task in enumerate(('rev_rec', 'prediction', 'sorting')):
        assert f'\n{task}: Rank-1 Accuracy: {tasks[task]["rank1"]:.6f}, nAUC: ' in commands.out
        params = checkpoints.load_recognition(commands.network(name) / task, slots=False).params
        own = X.reshape(-1, 3, 3, 256)[:, :, number].reshape(-1, 768)  # x of each task, then y, then z
        hidden = np.maximum(own @ params['W1'] + params['b1'], 0)
        labels = np.load(commands.network(name) / 'val_y.npy').argmax(axis=1)
        assert tasks[task]['rank1'] == twin_rank1(hidden @ params['W'] + params['Variable'], labels, 6)
    printed = [line for line in commands.out.splitlines() if 'Accuracy: ' in line]
    commands.train('--dataset KGBD --model rev_rec_plus')
    assert commands.out.count('is trained already') == 4 and commands.out.count('are trained already') == 3
    commands.evaluate('--dataset KGBD --best_model rev_rec_plus')
    assert [line for line in commands.out.splitlines() if 'Accuracy: ' in line] == printed
    commands.train('--dataset KGBD --model rev_rec')  # the encoder of plus is the usual one
    assert 'Gait encoders are trained already' in commands.out


def test_plus_as_published(commands):
    """One encoder three times, the third time on permuted training inputs alone; test padding is scored.

    Three people of 8 test sequences are padded to 128 each: 384 sequences, 2304 frames.
    """
    commands.train('--dataset KGBD --model rev_rec_plus --faithful')
    assert commands.folders() == encoders_of('KGBD_LA_{}_6_0.5_0pre_rev_rec')
    folder = commands.network('KGBD_RN_ap_6_0.5_0pre_rev_rec_plus_faithful')
    X, training = np.load(folder / 'val_X.npy'), np.load(folder / 'train_X.npy')
    assert X.shape == (2304, 2304) and '\n ## Attention: BA\n' in commands.out
    columns, trained_on = X.reshape(-1, 3, 3, 256), training.reshape(-1, 3, 3, 256)
    np.testing.assert_array_equal(columns[:, :, 0], columns[:, :, 1])
    np.testing.assert_array_equal(columns[:, :, 0], columns[:, :, 2])
    np.testing.assert_array_equal(trained_on[:, :, 0], trained_on[:, :, 1])
    assert (trained_on[:, :, 0] != trained_on[:, :, 2]).any(axis=(1, 2)).mean() > 0.5
    np.testing.assert_array_equal(X[8 * 6 : 9 * 6], X[:6])  # the padding repeats the first sequence
    assert ' 24 sequences (nothing dropped)' in commands.out
    assert set(commands.results(folder.name)['probe']['selected']) >= {'rank1'} and not (folder / 'rev_rec').exists()
    assert commands.results(folder.name)['probe']['selected']['sequences'] == 384


def test_sorting_permutes_test_inputs_too(commands):
    """The encoder sees a test sequence in another order than rev_rec's, so its rows are no reordering of the frames."""
    commands.train('--dataset KGBD --model sorting')
    folder = commands.network('KGBD_BA_RN_ap_6_0.5_0pre_sorting')
    from sge_la.cages import encoder_function
    from sge_la.model.gait_encoder import EncoderConfig
    from sge_la.pretext import permutations

    config = EncoderConfig(6, 20, attention='BA', temperature=0.5)
    names = [commands.models_dir / ENCODERS / f'KGBD_BA_{axis}_6_0.5_0pre_sorting' for axis in 'xyz']
    params = checkpoints.load_encoder(names, slots=False).params
    split = load('KGBD', 6, commands.data_dir, warn=lambda text: None).tests['probe']
    order = permutations(0 + 2, len(split.skeletons), 6)  # test orders have the run's seed and 2
    permuted = np.take_along_axis(split.skeletons, order[..., None], axis=1)
    encode = encoder_function(config, 'ap')
    X = np.load(folder / 'val_X.npy').reshape(24, 6, 768)
    assert np.abs(encode(params, permuted).numpy() - X).max() < 1e-5 * np.abs(X).max()
    assert np.abs(encode(params, split.skeletons).numpy() - X).max() > 1e-3 * np.abs(X).max()


# ---- what the features are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('flags', ['--c_reid 1', '--frozen 1'])
def test_contrast_vectors_are_one_row_a_sequence(commands, flags):
    commands.train(f'--dataset KGBD {flags}')
    [name] = commands.folders(CAGES)
    assert name == (
        'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec_c_reid' if 'c_reid' in flags else 'KGBD_LA_RN_ap_6_0.5_1pre_rev_rec'
    )
    assert np.load(commands.network(name) / 'val_X.npy').shape == (24, 768)
    assert np.load(commands.network(name) / 'train_X.npy').shape == (384, 768)
    logits, labels = frame_scores(commands.network(name))
    assert commands.parsed()[0]['rank1'] == f'{np.mean(logits.argmax(axis=1) == labels):f}'


def test_sequence_level_rows_join_the_frames(commands):
    """One row: all frames of x, then of y, then of z; `ap` has a row a frame, x beside y beside z."""
    commands.train('--dataset KGBD')
    commands.train('--dataset KGBD --manner sc')
    assert 'Gait encoders are trained already' in commands.out
    frames = np.load(commands.network(USUAL) / 'val_X.npy').reshape(24, 6, 3, 256)
    joined = np.load(commands.network('KGBD_LA_RN_sc_6_0.5_0pre_rev_rec') / 'val_X.npy').reshape(24, 3, 6, 256)
    np.testing.assert_array_equal(joined, frames.transpose(0, 2, 1, 3))


def test_few_rows_of_sc_are_divided_by_their_number(commands):
    """24 rows: Rank-3 of 3 classes is 1; with --faithful the original's 24 / 128."""
    commands.train('--dataset KGBD --manner sc')
    assert commands.parsed()[0]['rank_n'][3] == 1.0
    commands.evaluate('--dataset KGBD --manner sc --faithful')
    [found] = commands.parsed()
    assert found['rank_n'][3] == 24 / 128
    assert float(found['rank1']) == pytest.approx(
        commands.results('KGBD_LA_RN_sc_6_0.5_0pre_rev_rec')['probe']['selected']['rank1']
    )


def test_transfer_encodes_with_the_other_data_set(after):
    """IAS through KGBD's encoders, in a folder of its own; nothing else is touched."""
    before = {path: path.stat().st_mtime_ns for path in after.models_dir.rglob('*') if path.is_file()}
    after.train('--dataset IAS --transfer KGBD')
    assert after.folders(CAGES) == {USUAL, 'IAS_LA_RN_ap_6_0.5_0pre_rev_rec_transfer-KGBD'}
    assert after.folders() == encoders_of('KGBD_LA_{}_6_0.5_0pre_rev_rec')
    assert {path: path.stat().st_mtime_ns for path in before} == before
    after.evaluate('--RN_dir IAS_LA_RN_ap_6_0.5_0pre_rev_rec_transfer-KGBD')
    assert '### Validation Results on IAS-B: ' in after.out and '(nothing dropped)' in after.out


# ---- which epoch, which stage ----------------------------------------------------------------------------------------


def test_train_flag_0_leaves_the_encoders(after):
    index = after.models_dir / ENCODERS / 'KGBD_LA_x_6_0.5_0pre_rev_rec' / 'trained_model.ckpt.index'
    written = index.stat().st_mtime_ns
    after.train('--dataset KGBD --train_flag 0 --manner sc')
    assert ' ## Training Gait Encoding Model: False' in after.out and index.stat().st_mtime_ns == written


def test_train_flag_2_only_scores(after):
    after.evaluate('--dataset KGBD')
    lines = [line for line in after.out.splitlines() if 'Accuracy: ' in line]
    before = {path: path.stat().st_mtime_ns for path in after.models_dir.rglob('*') if path.is_file()}
    after.train('--dataset KGBD --train_flag 2')
    assert [line for line in after.out.splitlines() if 'Accuracy: ' in line] == lines
    changed = {path.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {'results.json'}


@pytest.mark.parametrize('select', ['last', 'val'])
def test_select(commands, select):
    commands.train(f'--dataset DEMO --select {select}', rn_epochs=2)
    name = f'DEMO_LA_RN_ap_6_0.1_0pre_rev_rec_select-{select}'
    assert commands.folders(CAGES) == {name}
    suffix = '_select-val' if select == 'val' else ''
    assert commands.folders() == encoders_of('DEMO_LA_{}_6_0.1_0pre_rev_rec' + suffix)
    found = commands.results(name)['test']
    assert found['selected']['select'] == select
    if select == 'last':
        assert found['selected']['epoch'] == 2 and found['selected']['rank1'] == found['last']['rank1']
        assert 'Epoch chosen: the last one' in commands.out
    else:
        assert 'Held_Acc ' in commands.out and 'Epoch chosen: best on held-out training sequences' in commands.out
        # Half of each person's 12 sequences are of the last recording: 3 · 6 sequences of 6 frames.
        assert np.load(commands.network(name) / 'selection_X.npy').shape == (108, 768)


def test_probe_still(commands, tmp_path):
    commands.data_dir = tmp_path / 'Datasets'
    write_people(commands.data_dir, 'BIWI', layout=3)
    commands.train('--probe Still')
    name = 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec_probe-Still'
    assert commands.folders(CAGES) == {name} and set(commands.results(name)) == {'Still'}
    commands.evaluate('--probe Still')
    assert len(commands.parsed()) == 1 and '(nothing dropped)' in commands.out


# ---- config.json, the same again, another over it --------------------------------------------------------------------


def test_the_same_again_says_what_it_found(after):
    after.train('--dataset KGBD', rn_epochs=2)
    assert 'Gait encoders are trained already: KGBD_LA_x_6_0.5_0pre_rev_rec' in after.out
    assert f'The recognition network is trained already: {USUAL}' in after.out
    assert 'Epoch   1' not in after.out and len(after.parsed()) == 1


def test_other_options_need_overwrite(after):
    weights = (after.network(USUAL) / 'trained_model.ckpt.data-00000-of-00001').read_bytes()
    assert after.try_train('--dataset KGBD --seed 5') == 2
    assert 'seed: 0 there, 5 asked' in after.err and '--overwrite' in after.err
    assert (after.network(USUAL) / 'trained_model.ckpt.data-00000-of-00001').read_bytes() == weights
    after.train('--dataset KGBD --seed 5 --overwrite')
    assert (after.network(USUAL) / 'trained_model.ckpt.data-00000-of-00001').read_bytes() != weights
    assert after.config(USUAL)['options']['seed'] == 5


def test_config_repeats_a_run_and_typed_flags_win(after, tmp_path):
    """The run was made with two recognition epochs; `overwrite` of a run is no wish of the next."""
    path = after.network(USUAL) / 'config.json'
    content = json.loads(path.read_text())
    content['options']['overwrite'] = True
    copy = tmp_path / 'copy.json'
    copy.write_text(json.dumps(content))
    weights = (after.network(USUAL) / 'trained_model.ckpt.data-00000-of-00001').read_bytes()
    other = tmp_path / 'Other'
    assert after._run(__import__('train').main, f'--config {copy}', other) == 0, after.err
    assert (other / CAGES / USUAL / 'trained_model.ckpt.data-00000-of-00001').read_bytes() == weights
    found = json.loads((other / CAGES / USUAL / 'config.json').read_text())
    assert found['record'] == content['record'] and found['options']['overwrite'] is False
    assert after._run(__import__('train').main, f'--config {copy} --manner sc', other) == 0, after.err
    assert (other / CAGES / 'KGBD_LA_RN_sc_6_0.5_0pre_rev_rec').is_dir()


# ---- evaluate.py: which network, which features ----------------------------------------------------------------------


@pytest.mark.parametrize('how', ['name', 'path', 'name without config', 'path elsewhere'])
def test_rn_dir(after, tmp_path, how):
    after.evaluate('--dataset KGBD')
    expected = after.parsed()
    named = USUAL
    if how == 'path':
        named = after.network(USUAL)
    if how == 'name without config':
        for name in ('config.json', 'results.json', 'features.json', 'history.csv'):
            (after.network(USUAL) / name).unlink()
    if how == 'path elsewhere':
        named = tmp_path / 'downloaded' / USUAL
        shutil.copytree(after.network(USUAL), named)
    after.evaluate(f'--RN_dir {named}')
    assert after.parsed() == expected
    assert ('Last epoch: ' in after.out) == (how != 'name without config')


def test_evaluate_takes_seed_and_batch_size_of_the_run(after):
    """Trained with --rn_batch_size 128; --batch_size 24 scores all 144 rows, 6 batches."""
    after.evaluate('--dataset KGBD')
    assert after.results(USUAL)['probe']['selected']['sequences'] == 21
    after.evaluate('--dataset KGBD --batch_size 24')
    assert after.results(USUAL)['probe']['selected']['sequences'] == 24


@pytest.mark.parametrize('kind', ['missing', 'pointer'])
def test_missing_features_are_encoded_again(after, kind):
    after.evaluate('--dataset KGBD')
    expected = after.parsed()
    path = after.network(USUAL) / 'val_X.npy'
    path.unlink()
    if kind == 'pointer':
        path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 884864\n')
    after.evaluate('--dataset KGBD')
    assert 'encoding the test sequences of the data set instead' in after.out
    assert ('Git LFS pointer' in after.out) == (kind == 'pointer')
    assert after.parsed() == expected
    after.train('--dataset KGBD --train_flag 2')
    assert after.parsed() == expected


def test_without_data_set_or_encoders_the_features_are_scored(after, tmp_path):
    after.data_dir = tmp_path / 'Nothing'
    after.evaluate('--dataset KGBD')
    assert 'all whole windows of the features at hand: the data set is not' in after.out
    assert after.results(USUAL)['probe']['all_sequences']['sequences'] == 24


def test_other_encoders_encode_nothing_for_this_network(after, data_dir, tmp_path):
    """With 130 test sequences of one person 2 are lost; encoders that did not make the features must not make those."""
    from sge_la.data.write import write_dataset
    from tests.conftest import tiny_split

    after.data_dir = tmp_path / 'Many'
    split = tiny_split([0] * 130 + [3] * 8 + [6] * 8, 6, 20, 1)
    write_dataset(after.data_dir, 'KGBD', tiny_split([0] * 12 + [3] * 12 + [6] * 12, 6, 20, 0), {'probe': split})
    after.train('--dataset KGBD --overwrite', rn_epochs=2)
    assert '146 sequences (nothing dropped)' in after.out
    for axis in 'xyz':
        folder = after.models_dir / ENCODERS / f'KGBD_LA_{axis}_6_0.5_0pre_rev_rec'
        params = {name: -value for name, value in checkpoints.load_encoder([folder], slots=False).params.items()}
        checkpoints.save_encoder([folder], params)
    after.evaluate('--dataset KGBD')
    assert (
        '144 sequences (all whole windows of the features at hand: the encoders at hand did not make them)' in after.out
    )
