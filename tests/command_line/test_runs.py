"""Stages, epochs, configurations and networks of a run, end to end at tiny size."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from sge_la import checkpoints
from sge_la.data.unknown import unknown_people
from tests.command_line_cases import CAGES, ENCODERS, PEOPLE, USUAL, encoders_of, refused, write_people

# ---- which epoch, which stage ----------------------------------------------------------------------------------------


def test_train_flag_0_leaves_the_encoders(after):
    index = after.models_dir / ENCODERS / 'KGBD_LA_x_6_0.5_0pre_rev_rec' / 'trained_model.ckpt.index'
    written = index.stat().st_mtime_ns
    after.train('--dataset KGBD --train_flag 0 --manner sc')
    assert ' ## Training Gait Encoding Model: False' in after.out and index.stat().st_mtime_ns == written


@pytest.mark.quick
def test_train_flag_2_only_scores(after):
    after.evaluate('--dataset KGBD')
    lines = [line for line in after.out.splitlines() if 'Accuracy: ' in line]
    before = {path: path.stat().st_mtime_ns for path in after.models_dir.rglob('*') if path.is_file()}
    after.train('--dataset KGBD --train_flag 2')
    assert [line for line in after.out.splitlines() if 'Accuracy: ' in line] == lines
    changed = {path.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {'results.json', 'confusion_probe.csv'}


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
        assert 'Epoch chosen: the last\n' in commands.out
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
    still = commands.results(name)['Still']
    commands.evaluate(f'--RN_dir {name} --probe Walking')  # whose features the run does not keep
    assert 'val_X.npy is of test set Still, not Walking: encoding the test sequences' in commands.out
    found = commands.results(name)
    assert found['Still'] == still and found['Walking']['all_sequences'] != still['all_sequences']
    shutil.rmtree(commands.data_dir)
    assert commands.try_evaluate(f'--RN_dir {name} --probe Walking') == 2
    assert 'val_X.npy is of test set Still, not Walking, and the data set cannot serve' in refused(commands.err)


def test_each_seed_of_several_leaves_out_its_own_people(commands):
    """evaluate.py draws the strangers of a run by its seed."""
    commands.train('--dataset KGBD --runs 2 --unknown 0.34')
    left = []
    for seed in (0, 1):
        people = json.loads((commands.network(f'{USUAL}_unknown-0.34_seed-{seed}') / 'trained_on.json').read_text())
        left.append(set(PEOPLE) - set(people['people']))
        assert left[seed] == set(unknown_people(PEOPLE, 0.34, seed))
    assert left[0] != left[1]


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


@pytest.mark.parametrize('how', ['name', 'path', 'here', 'name without config', 'path elsewhere'])
def test_rn_dir(after, tmp_path, monkeypatch, how):
    after.evaluate('--dataset KGBD')
    expected = after.parsed()
    named = USUAL
    if how == 'path':
        named = after.network(USUAL)
    if how == 'here':
        named = '.'
        monkeypatch.chdir(after.network(USUAL))
    if how == 'name without config':
        for name in ('config.json', 'results.json', 'features.json', 'history.csv'):
            (after.network(USUAL) / name).unlink()
    if how == 'path elsewhere':
        named = tmp_path / 'downloaded' / USUAL
        shutil.copytree(after.network(USUAL), named)
    after.evaluate(f'--RN_dir {named}')
    assert after.parsed() == expected
    assert f'Next: python evaluate.py --RN_dir {named if how == "path elsewhere" else USUAL} ' in after.out
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
