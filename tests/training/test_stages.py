"""How stages begin and end in a folder, which sequences an encoder trains on, and which encoders a run needs."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import asdict, replace

import numpy as np
import pytest

from sge_la import checkpoints
from sge_la.data import load
from sge_la.data.training_set import fingerprint, training_data
from sge_la.errors import UserError
from sge_la.features.files import feature_record
from sge_la.features.sources import FeatureSource
from sge_la.files.npz import write_npz
from sge_la.model.config import EncoderConfig
from sge_la.runs import records, state_files, states
from sge_la.runs.find import recognition_folder
from sge_la.runs.plan import plan_of
from sge_la.runs.states import FINISHED, FRESH, UNFINISHED, TrainingState, fresh_state
from sge_la.settings.command_line import parse_train
from sge_la.training.encoders import encoder_rows
from tests.command_line_cases import write_people
from tests.conftest import tiny_split

RECORD = {'dataset': 'KGBD', 'epochs': 3, 'seed': 0}


def begin(folder, record=None, *, overwrite=False) -> str:
    return states.begin(folder, record or RECORD, {'options': {'seed': 0}}, overwrite=overwrite)


def save_network(folder) -> None:
    shapes = checkpoints.recognition_shapes(4, 2)
    checkpoints.save_recognition(folder, {name: np.zeros(shape) for name, shape in shapes.items()})


def test_a_run_begins_goes_on_and_ends(tmp_path):
    assert begin(tmp_path) == FRESH
    assert begin(tmp_path) == UNFINISHED
    with pytest.raises(UserError, match='has not come to its end'):
        states.refuse_unfinished(tmp_path)
    save_network(tmp_path)
    assert begin(tmp_path) == UNFINISHED  # a checkpoint alone does not say that all was written
    states.finish(tmp_path)
    assert begin(tmp_path) == FINISHED
    states.refuse_unfinished(tmp_path)
    config = records.read_config(tmp_path)
    assert config['record'] == RECORD and config['options'] == {'seed': 0} and config['finished'] is True


def test_a_finished_run_without_its_checkpoint_is_unfinished(tmp_path):
    begin(tmp_path)
    states.finish(tmp_path)
    assert begin(tmp_path) == UNFINISHED


@pytest.mark.parametrize('change', [{'seed': 1}, {'epochs': 4}, {'view': 2}, {'dataset': None}])
def test_a_finished_run_with_other_options_is_kept(tmp_path, change):
    begin(tmp_path)
    save_network(tmp_path)
    states.finish(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError) as caught:
        begin(tmp_path, {**RECORD, **change})
    [(name, value)] = change.items()
    there = json.dumps(RECORD.get(name))
    assert f'{name}: {there} there, {json.dumps(value)} asked' in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert begin(tmp_path, {**RECORD, **change}, overwrite=True) == FRESH


def test_a_stage_that_has_not_begun_loses_nothing_by_other_options(tmp_path):
    begin(tmp_path)
    assert states.begin(tmp_path, {**RECORD, 'batch_size': 4}, {}, overwrite=False, begun=False) == FRESH
    assert records.read_config(tmp_path)['record']['batch_size'] == 4


def test_somebody_elses_checkpoint_is_kept(tmp_path):
    save_network(tmp_path)
    states.refuse_unfinished(tmp_path)
    with pytest.raises(UserError, match='says nothing of its options'):
        begin(tmp_path)
    assert not (tmp_path / 'config.json').exists()
    assert begin(tmp_path, overwrite=True) == FRESH


# ---- which sequences, which encoders ---------------------------------------------------------------------------------


def rows_of(data_dir, flags: str) -> np.ndarray:
    options = parse_train([*flags.split(), '--data_dir', str(data_dir)])
    dataset = load(options.dataset, 6, data_dir, warn=lambda text: None)
    return encoder_rows(training_data(dataset, options.select), plan_of(options, dataset))


@pytest.mark.parametrize(('count', 'used'), [(100, 66), (99, 66), (101, 67), (3, 2)])
def test_biwi_trains_on_the_first_two_thirds(tmp_path, count, used):
    from sge_la.data.write import write_dataset

    labels = [0] * (count - 1) + [3]
    write_dataset(tmp_path, 'BIWI', tiny_split(labels, 6, 20, 0), {'Walking': tiny_split([0], 6, 20, 1)})
    assert rows_of(tmp_path, '--dataset BIWI').tolist() == list(range(used))


def test_file_order_and_one_shuffle_for_age(tmp_path):
    write_people(tmp_path, 'KGBD')
    assert rows_of(tmp_path, '--dataset KGBD').tolist() == list(range(36))
    shuffled = rows_of(tmp_path, '--dataset KGBD --encoding AGE')
    assert sorted(shuffled) == list(range(36)) and shuffled.tolist() != list(range(36))
    np.testing.assert_array_equal(shuffled, rows_of(tmp_path, '--dataset KGBD --encoding AGE'))
    assert (shuffled != rows_of(tmp_path, '--dataset KGBD --encoding AGE --seed 1')).any()


def test_held_out_sequences_train_nothing(tmp_path):
    """No frame of a held-out sequence is among those that encoders or network train on."""
    write_people(tmp_path, 'DEMO', recordings=True)
    options = parse_train(['--dataset', 'DEMO', '--select', 'val'])
    dataset = load('DEMO', 6, tmp_path, warn=lambda text: None)
    data, plan = training_data(dataset, options.select), plan_of(options, dataset)
    frames = {frame.tobytes() for rows in data.held.values() for row in rows for frame in data.split.skeletons[row]}
    assert len(frames) == 18 * 6
    trained = np.concatenate([encoder_rows(data, plan), *data.ids.values()])
    assert not frames & {frame.tobytes() for row in trained for frame in data.split.skeletons[row]}


def test_the_fingerprint_tells_sequences_and_whose_they_are():
    skeletons = np.zeros((3, 2, 2, 3), np.float32)
    other = skeletons.copy()
    other[2, 1, 1, 2] = 1e-6
    people = {0: np.array([0, 1]), 3: np.array([2])}
    moved, renamed = {0: np.array([0]), 3: np.array([1, 2])}, {0: people[0], 4: people[3]}
    cases = [(skeletons, people), (other, people), (skeletons, moved), (skeletons, renamed), (skeletons[:2], people)]
    assert len({fingerprint(*case) for case in cases}) == len(cases)
    assert fingerprint(skeletons.copy(), dict(reversed(people.items()))) == fingerprint(skeletons, people)


def test_features_depend_on_the_weights_and_on_both_sets(tmp_path):
    """One value of an encoder's bias, or one coordinate of a set, makes another record."""
    write_people(tmp_path, 'KGBD')
    options = parse_train(['--dataset', 'KGBD'])

    def record(changed: str = '') -> dict:
        dataset = load('KGBD', 6, tmp_path, warn=lambda text: None)
        params = {'kernel': np.zeros((3, 4, 4), np.float32), 'bias': np.zeros((3, 4), np.float32)}
        arrays = {'encoders': params['bias'], 'data': dataset.train.skeletons}
        arrays['tests'] = next(iter(dataset.tests.values())).skeletons
        if changed:
            arrays[changed].flat[-1] += 1
        sources = [FeatureSource(EncoderConfig(length=6, joints=20), params)]
        return feature_record(plan_of(options, dataset), training_data(dataset, options.select), sources, dataset)

    usual = record()
    assert record() == usual
    for part in ('encoders', 'data', 'tests'):
        assert [name for name, value in record(part).items() if value != usual[name]] == [part]


def test_nothing_to_hold_out(tmp_path):
    write_people(tmp_path, 'DEMO', each=1)
    with pytest.raises(UserError, match='use --select last'):
        training_data(load('DEMO', 6, tmp_path, warn=lambda text: None), 'val')


def jobs_of(flags: str) -> list[tuple]:
    jobs = plan_of(parse_train(flags.split()), joints=20).encoders
    return [(job.task, job.config.attention, job.folders['x'].name, job.permute_train_only) for job in jobs]


def test_encoders_of_each_model():
    assert jobs_of('') == [('rev_rec', 'LA', 'BIWI_LA_x_6_0.1_0pre_rev_rec', False)]
    assert jobs_of('--model sorting') == [('sorting', 'BA', 'BIWI_BA_x_6_0.1_0pre_sorting', False)]
    assert jobs_of('--model rev_rec_plus') == [
        ('rev_rec', 'LA', 'BIWI_LA_x_6_0.1_0pre_rev_rec', False),
        ('prediction', 'BA', 'BIWI_BA_x_6_0.1_0pre_prediction', False),
        ('sorting', 'BA', 'BIWI_BA_x_6_0.1_0pre_sorting', False),
    ]
    usual = ('rev_rec', 'LA', 'BIWI_LA_x_6_0.1_0pre_rev_rec', False)
    assert jobs_of('--model rev_rec_plus --faithful') == [usual, usual, (*usual[:3], True)]
    assert jobs_of('--transfer KGBD') == [('rev_rec', 'LA', 'KGBD_LA_x_6_0.5_0pre_rev_rec', False)]
    assert jobs_of('--transfer KGBD --t 0.2') == [('rev_rec', 'LA', 'KGBD_LA_x_6_0.2_0pre_rev_rec', False)]
    assert jobs_of('--encoding AGE') == [('rev_rec', 'LA', 'BIWI_LA_x', False)]


def test_own_scores_are_of_the_joined_tasks():
    assert plan_of(parse_train(['--model', 'rev_rec_plus'])).own_tasks == ('rev_rec', 'prediction', 'sorting')
    assert plan_of(parse_train(['--model', 'rev_rec_plus', '--faithful'])).own_tasks == ()
    assert plan_of(parse_train(['--model', 'sorting'])).own_tasks == ()


@pytest.mark.parametrize(
    ('name', 'attention', 'reverse', 'contrastive', 'folder'),
    [
        ('GE-GD', 'none', False, False, 'BIWI_none_x_ablation-GE-GD'),
        ('GE-GD-Rev', 'none', True, False, 'BIWI_none_x_ablation-GE-GD-Rev'),
        ('GE-GD-BAS-AGEs', 'BA', False, False, 'BIWI_BA_x_ablation-GE-GD-BAS'),
        ('GE-GD-Rev-BAS', 'BA', True, False, 'BIWI_BA_x'),
        ('GE-GD-Rev-MBAS-AGEs', 'MBA', True, False, 'BIWI_MBA_x_ablation-GE-GD-Rev-MBAS'),
        ('GE-GD-LAS-AGEs', 'LA', False, False, 'BIWI_LA_x_ablation-GE-GD-LAS'),
        ('GE-GD-Rev-LAS-AGEs', 'LA', True, False, 'BIWI_LA_x'),
    ],
)
def test_encoders_of_the_ablation(name, attention, reverse, contrastive, folder):
    [job] = plan_of(parse_train(['--ablation', name]), joints=20).encoders
    assert (job.config.attention, job.config.reverse, job.config.contrastive) == (attention, reverse, contrastive)
    assert job.folders['x'].name == folder and not job.labelled
    network = recognition_folder(parse_train(['--ablation', name]))
    assert network.parent.name == 'AGEs_RN_models' and network.name == f'BIWI_{attention}_RN_ap_ablation-{name}'


def test_an_encoder_shared_by_two_commands_has_one_record(tmp_path):
    """The usual encoder of AGE serves the ablation, that of prediction serves plus: equal records, no quarrel."""
    write_people(tmp_path, 'KGBD')
    dataset = load('KGBD', 6, tmp_path, warn=lambda text: None)

    def record(flags: str, number: int = 0) -> dict:
        options = parse_train(['--dataset', 'KGBD', *flags.split()])
        data = training_data(dataset, options.select)
        return {**plan_of(options, joints=20).encoders[number].record, 'data': data.fingerprint}

    assert record('--encoding AGE --attention BA') == record('--ablation GE-GD-Rev-BAS-AGEs')
    assert record('--ablation GE-GD-MBAS-AGEs') != record('--ablation GE-GD-Rev-MBAS')
    assert record('--model prediction') == record('--model rev_rec_plus', 1)
    assert record('') == record('--model rev_rec_plus --faithful') == record('--manner sc --c_reid 1')
    assert record('') != record('--attention BA')
    assert json.loads(json.dumps(asdict(parse_train([]))))  # options are what JSON can hold


def state_after(epoch: int) -> TrainingState:
    state = fresh_state({'W': np.full((2, 3), epoch, np.float32)})
    return replace(state, step=epoch, epoch=epoch, history=[{'epoch': k + 1} for k in range(epoch)])


def test_a_state_is_written_as_it_was_while_training_goes_on(tmp_path, monkeypatch):
    """The second state waits for the first, the block for the second, and what was given changes meanwhile."""
    go_on, real = threading.Event(), states.save

    def slow(*args):
        assert go_on.wait(60)
        real(*args)

    monkeypatch.setattr(states, 'save', slow)
    with states.saving(tmp_path) as save:
        state, meta = state_after(1), {'best': {'epoch': 1}}
        save(state, {'kept': state.arrays()['params']}, meta)
        state.history[0]['epoch'], meta['best']['epoch'] = 7, 8
        assert not list(tmp_path.iterdir())
        go_on.set()
        save(state_after(2))
        found = states.resume(tmp_path)
        assert found[0].history == [{'epoch': 1}] and found[1].meta['best'] == {'epoch': 1}
        np.testing.assert_array_equal(found[1].parts['kept']['W'], np.ones((2, 3)))
    assert states.resume(tmp_path)[0].epoch == 2


def _of_another_seed(folder):
    other = folder.parent / 'other'
    other.mkdir()
    begin(other, {**RECORD, 'seed': 1})
    states.save(other, state_after(2))
    (folder / 'resume.npz').write_bytes((other / 'resume.npz').read_bytes())


def _with(**meta):
    """Changes what the newest state says of itself, with checksums that are right."""
    return lambda folder: _rewrite(folder, lambda parts, own: own.update(meta))


def _rewrite(folder, change):
    parts, meta, _ = state_files.load_state(folder)
    change(parts, meta)
    write_npz(folder / 'resume.npz', {f'{p}/{n}': a for p, arrays in parts.items() for n, a in arrays.items()}, meta)


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        (_of_another_seed, 'is of a run with other options'),
        (lambda folder: _rewrite(folder, lambda parts, meta: parts['first']['W'].fill(np.nan)), 'NaN or infinite'),
        (_with(step='2'), 'is no state of a training'),
        (_with(history=[{}]), 'is no state of a training'),
        (_with(history=[1, 2]), 'is no state of a training'),
        (_with(parts=None), 'lacks arrays'),
        (_with(best=[]), 'lacks what this training keeps'),
        (_with(best={'epoch': None}), 'lacks what this training keeps'),
    ],
)
def test_a_state_that_does_not_fit_its_run_is_told_and_the_one_before_it_taken(tmp_path, damage, reason):
    folder = tmp_path / 'run'
    folder.mkdir()
    begin(folder)
    best = {}
    for epoch in (1, 2):
        states.save(folder, state_after(epoch), meta={'best': {'epoch': epoch}})
    damage(folder)
    state, kept = states.resume(
        folder, state_after(1), restore=lambda kept: best.update(epoch=int(kept.meta['best']['epoch']))
    )
    assert state.epoch == best['epoch'] == 1 and reason in kept.warning


def test_a_state_is_kept_however_the_block_is_left(tmp_path):
    with pytest.raises(KeyboardInterrupt), states.saving(tmp_path) as save:
        save(state_after(1))
        raise KeyboardInterrupt
    assert states.resume(tmp_path)[0].epoch == 1


@pytest.mark.parametrize('later', [True, False])
def test_a_state_that_cannot_be_written_stops_the_training(tmp_path, later):
    """With the next state at the latest, or at the end."""
    with pytest.raises(UserError, match='missing'), states.saving(tmp_path / 'missing') as save:
        save(state_after(1))
        if later:
            save(state_after(2))
            pytest.fail('went on')


def test_a_state_that_cannot_be_written_is_told_of_where_training_is_stopped(tmp_path):
    with pytest.raises(UserError, match='missing'), states.saving(tmp_path / 'missing') as save:
        save(state_after(1))
        raise KeyboardInterrupt


def test_ctrl_c_while_the_last_state_is_written_waits_for_it(tmp_path, monkeypatch):
    """The folder is given up afterwards, and another run may claim it."""
    real = states.save

    def slow(*args):
        for _ in range(2):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        real(*args)

    monkeypatch.setattr(states, 'save', slow)
    with pytest.raises(KeyboardInterrupt), states.saving(tmp_path) as save:
        save(state_after(1))
    assert states.resume(tmp_path)[0].epoch == 1
