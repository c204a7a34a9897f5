"""Pretext tasks, and what the features of a run are, end to end at tiny size."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la import checkpoints
from sge_la.data import load
from tests.command_line_cases import CAGES, ENCODERS, USUAL, encoders_of, frame_scores, twin_rank1

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
    from sge_la.features.cages import encoder_function
    from sge_la.model.config import EncoderConfig
    from sge_la.model.pretext import permutations

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
