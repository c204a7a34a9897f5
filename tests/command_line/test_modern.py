"""`--recipe modern` through train.py, evaluate.py and everything that reads a run."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

import train
from sge_la import api, export, identify
from sge_la.data.write import write_dataset
from sge_la.errors import run_command
from sge_la.runs.states import NotFinite
from sge_la.settings.recipe import PIECES
from sge_la.training import joint
from tests.command_line_cases import ENCODERS, PEOPLE, USUAL, Commands, frame_scores, refused, twin_rank1
from tests.conftest import tiny_split
from tests.disturbance import outcome, stopping

MODERN = 'DEMO_LA_RN_ap_6_0.1_0pre_rev_rec_recipe-modern_select-last'
FLAGS = '--dataset DEMO --recipe modern'
EPOCHS = 6


def sizes(epochs: int) -> dict[str, int]:
    return {'epochs': epochs, 'rn_epochs': epochs}


def weights(models: Path) -> dict[str, bytes]:
    return {str(path.relative_to(models)): path.read_bytes() for path in models.rglob('*.data-*')}


@pytest.fixture(scope='module')
def modern_models(data_dir, tmp_path_factory) -> Path:
    """Models of a modern run of a few epochs on three people; tests that change them take a copy."""
    models = tmp_path_factory.mktemp('modern') / 'Models'
    flags = f'{FLAGS} --epochs {EPOCHS} --batch_size 12 --rn_batch_size 128 --gpu -1'.split()
    assert run_command(train.main, [*flags, '--data_dir', str(data_dir), '--models_dir', str(models)]) == 0
    return models


@pytest.fixture
def modern(capsys, data_dir, modern_models, tmp_path) -> Commands:
    shutil.copytree(modern_models, tmp_path / 'Models')
    return Commands(capsys, data_dir, tmp_path / 'Models')


def test_people_are_told_above_chance_and_evaluate_prints_the_same(modern):
    [folder] = modern.folders('CAGEs_RN_models')
    assert folder == MODERN
    assert modern.folders(ENCODERS) == {f'{MODERN}-ap'.replace('RN_ap', axis) for axis in 'xyz'}
    scores = modern.results(MODERN)['test']
    assert scores['all_sequences']['rank1'] > 0.6  # chance is a third; 24 sequences
    assert scores['selected'] | {'epoch': EPOCHS, 'select': 'last'} == scores['selected']
    assert {'intervals', 'nauc', 'rank_n'} <= set(scores['all_sequences'])
    assert scores['recording_vote']['recordings'] == 6
    modern.evaluate(FLAGS)
    assert modern.results(MODERN)['test'] == scores
    assert ' ## Recipe: modern\n' in modern.out and 'Recording vote: ' in modern.out
    assert modern.parsed()[0]['rank1'] == f'{scores["selected"]["rank1"]:.6f}'


@pytest.mark.quick
def test_scores_equal_a_twin_on_the_files_that_were_written(modern):
    logits, labels = frame_scores(modern.network(MODERN))
    assert modern.results(MODERN)['test']['selected']['rank1'] == pytest.approx(twin_rank1(logits, labels, 6))


def test_the_folder_alone_tells_the_recipe(modern):
    modern.evaluate(f'--RN_dir {MODERN}')
    assert ' ## Recipe: modern\n' in modern.out
    assert modern.try_evaluate(f'--RN_dir {MODERN} --recipe original') == 2
    assert '--recipe original contradicts --RN_dir' in refused(modern.err)
    (modern.network(MODERN) / 'config.json').unlink()  # then its name does
    modern.evaluate(f'--RN_dir {MODERN}')
    assert ' ## Recipe: modern\n' in modern.out


def test_what_was_trained_is_not_trained_again(modern):
    before = outcome(modern.models_dir)
    modern.train(FLAGS, **sizes(EPOCHS))
    assert 'are trained already' in modern.out
    assert outcome(modern.models_dir) == before
    assert modern.try_train(FLAGS, **sizes(EPOCHS - 1)) == 2
    assert 'all_epochs' in refused(modern.err)


def test_a_config_is_taken_back(modern, tmp_path):
    config = modern.network(MODERN) / 'config.json'
    status = modern._run(train.main, f'--config {config}', tmp_path / 'Other')
    assert status == 0, modern.err
    assert weights(tmp_path / 'Other') == weights(modern.models_dir)


def test_tensorboard_shows_every_epoch(modern):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    modern.train(f'{FLAGS} --tensorboard', **sizes(EPOCHS))
    reader = EventAccumulator(str(modern.network(MODERN) / 'tensorboard'))
    reader.Reload()
    assert [point.step for point in reader.Scalars('train_loss')] == list(range(1, EPOCHS + 1))


def test_gallery_features_figures_and_new_recordings(modern, tmp_path, data_dir):
    """What reads a run reads a modern one: none of it knows the bones beside the joints."""
    modern.evaluate(f'{FLAGS} --protocol gallery')
    assert 'mAP' in modern.out
    modern.evaluate(f'{FLAGS} --save_features {tmp_path / "cages.npz"}')
    with np.load(tmp_path / 'cages.npz') as arrays:
        assert arrays['test_cages'].shape == (24, 6, 768)
        rows = np.load(modern.network(MODERN) / 'val_X.npy')
        assert np.allclose(arrays['test_cages'].reshape(-1, 768)[: len(rows)], rows, atol=1e-5)
    places = {'models_dir': modern.models_dir, 'data_dir': data_dir}
    recogniser = api.Recogniser.load(MODERN, **places)
    assert recogniser.encoder.joints == 20
    source = data_dir / 'DEMO' / '6' / 'DEMO_test_npy_data'
    walk = np.stack([np.load(source / f't_source_{axis}_DEMO_6.npy')[:48].reshape(-1, 20) for axis in 'xyz'], axis=-1)
    answers = identify(walk, recogniser)
    assert answers[0].person == 0 and answers[0].votes > 0.5


@pytest.mark.skipif(keras.backend.backend() != 'tensorflow', reason='models are exported by TensorFlow')
def test_export(modern, tmp_path):
    """What it writes has measured bones and centred walks itself; `export` compares the answers with ours."""
    place = tmp_path / 'model'
    flags = ['--data_dir', str(modern.data_dir), '--models_dir', str(modern.models_dir), '--output', str(place)]
    assert run_command(export.main, ['--RN_dir', MODERN, *flags]) == 0
    assert 'its answers differ from ours by' in modern.capsys.readouterr().out
    assert (place / 'saved_model.pb').exists()


def test_figures_and_report(modern):
    pytest.importorskip('matplotlib')
    modern.evaluate(f'{FLAGS} --figures --report')
    names = {path.stem for path in (modern.network(MODERN) / 'figures').glob('*.png')}
    assert {'training', 'test-cmc', 'test-attention', 'test-tsne'} <= names
    assert (modern.network(MODERN) / 'report.html').is_file()


def test_stopped_and_gone_on_equals_undisturbed(modern_models, commands):
    folder = commands.models_dir / 'CAGEs_RN_models' / MODERN
    with stopping(signal.SIGTERM, lambda: (folder / 'resume.previous.npz').exists()):
        assert commands.try_train(FLAGS, **sizes(EPOCHS)) == 143
    assert 'goes on after the last finished epoch' in commands.err
    assert commands.try_evaluate(FLAGS) == 2
    assert 'has not come to its end' in refused(commands.err)
    commands.train(f'{FLAGS} --resume', **sizes(EPOCHS))
    assert 'Found an unfinished run' in commands.out
    assert outcome(commands.models_dir) == outcome(modern_models)


def test_select_val_keeps_the_best_epoch_on_held_out_recordings(commands):
    commands.train(f'{FLAGS} --select val', **sizes(4))
    name = MODERN.replace('select-last', 'select-val')
    lines = (commands.network(name) / 'history.csv').read_text().splitlines()
    column = lines[0].split(',').index('selection_accuracy')
    held = [float(line.split(',')[column]) for line in lines[1:]]
    last_best = max(epoch for epoch, score in enumerate(held, 1) if score == max(held))
    assert commands.results(name)['test']['selected']['epoch'] == last_best
    assert 'Held_Acc' in commands.out


@pytest.mark.parametrize(
    'flags', ['--manner sc', '--attention BA', '--length 4', '--without sizes+pretext', '--supervised']
)
def test_variants_train_and_are_scored(commands, flags):
    commands.train(f'{FLAGS} {flags}', **sizes(1))
    [name] = commands.folders('CAGEs_RN_models')
    before = commands.results(name)
    commands.evaluate(f'--RN_dir {name}')
    assert commands.results(name) == before
    assert ('_without-pretext+sizes' in name) == ('without' in flags)
    width = np.load(commands.network(name) / 'val_X.npy', mmap_mode='r').shape[1]
    assert width == (6 * 768 if 'sc' in flags else 768)


@pytest.mark.parametrize(
    'alone, status, words',
    [
        (12, 0, 'warning: 12 sequences of 36 cannot be trained on'),
        (1, 0, 'warning: 1 sequence of 36 cannot be trained on'),
        (0, 0, ''),
        (36, 2, 'no recording has two sequences'),
    ],
)
def test_sequences_without_a_neighbour_are_told(capsys, tmp_path, alone, status, words):
    recordings = np.concatenate([np.arange(alone), np.repeat(100, 36 - alone)])
    split = tiny_split(list(np.repeat(PEOPLE, 12)), 6, 20, 0)
    write_dataset(
        tmp_path, 'Mine', replace(split, recordings=recordings), dict.fromkeys(('probe', 'gallery'), split), layout=3
    )
    commands = Commands(capsys, tmp_path, tmp_path / 'Models')
    assert commands.try_train('--dataset Mine --recipe modern', **sizes(1)) == status
    assert words in commands.out + commands.err and ('cannot be trained on' in commands.out) == (alone > 0)


@pytest.mark.parametrize('name', ['BIWI', 'IAS', 'KGBD', 'KS20', 'KinectReID', 'Mine-2'])
def test_every_data_set(commands, name):
    commands.train(f'--dataset {name} --recipe modern', **sizes(1))
    commands.evaluate(f'--dataset {name} --recipe modern')
    assert len(commands.parsed()) == (2 if name == 'IAS' else 1)
    known = 'Nobody knows the bones' not in commands.out
    [folder] = (path for path in (commands.models_dir / ENCODERS).iterdir() if '_x_' in path.name)
    bones = json.loads((folder / 'inputs.json').read_text())['bones']
    assert (len(bones) > 0) == (name != 'Mine-2') and known


def test_recipe_original_is_what_it_was(after, tmp_path):
    """Spelt out or not, and whatever lies beside it: the same folders, records, weights, features and scores."""
    before = outcome(after.models_dir)
    assert {name.split('/')[1] for name in before} == {USUAL, *(f'KGBD_LA_{a}_6_0.5_0pre_rev_rec' for a in 'xyz')}
    assert not any({'recipe', 'without'} & set(found['record']) for name, found in before.items() if 'config' in name)
    after.train('--dataset KGBD --recipe modern', **sizes(1))
    after.train('--dataset KGBD --recipe original', rn_epochs=2)
    assert 'are trained already' in after.out and 'network is trained already' in after.out
    assert {name: found for name, found in outcome(after.models_dir).items() if name in before} == before
    other = tmp_path / 'Anew'
    after.train('--dataset KGBD --recipe original', rn_epochs=2, models_dir=other)
    assert outcome(other) == before


def test_what_is_said_of_a_training_that_ran_away_can_be_done(commands, monkeypatch):
    with monkeypatch.context() as patched:
        whole = joint.fit

        def runs_away(*args, **settings):
            yield next(whole(*args, **settings))
            raise NotFinite(2, 1, '', 'cross-entropy loss')

        patched.setattr(joint, 'fit', runs_away)
        assert commands.try_train(FLAGS, **sizes(2)) == 2
    advice = 'keeps the state after epoch 1, and the same command with --overwrite --epochs 1 ends there'
    assert advice in refused(commands.err)
    commands.train(f'{FLAGS} --overwrite', **sizes(1))
    assert commands.config(MODERN)['finished']


@pytest.mark.parametrize(
    'flags, words',
    [
        ('--without sizes', '--recipe modern'),
        ('--supervised', '--recipe modern'),
        ('--recipe modern --without size', 'expected pieces of the modern recipe'),
        ('--recipe modern --without ""', 'expected pieces of the modern recipe'),
        ('--recipe newest', "invalid choice: 'newest'"),
        ('--recipe modern --select test', 'never chooses an epoch by the test set'),
        ('--recipe modern --model sorting', 'leave out --model'),
        ('--recipe modern --model rev_rec_plus', 'leave out --model'),
        ('--recipe modern --encoding AGE', 'leave out --encoding AGE'),
        ('--recipe modern --frozen 1 --c_reid 1', '--frozen and --c_reid'),
        ('--recipe modern --transfer BIWI', '--transfer'),
        ('--recipe modern --ablation GE', '--ablation'),
        ('--recipe modern --faithful', '--faithful'),
        ('--recipe modern --train_flag 0', '--train_flag 0'),
        ('--recipe modern --rn_epochs 7', 'leave out --rn_epochs'),
        ('--recipe modern --rn_rate 0.1', '--rn_rate'),
        ('--recipe modern --batch_size 13', 'even --batch_size'),
        ('--recipe modern --batch_size 2', '--batch_size 2 has no others: give 4 or more'),
        ('--recipe modern --supervised --batch_size 6', 'multiple of 4, not 6'),
        ('--recipe modern --supervised --without pairs --batch_size 2', 'multiple of 4, not 2'),
        ('--recipe modern --dataset CASIA_B', 'CASIA_B'),
    ],
)
def test_bad_input_is_told_in_one_sentence_and_leaves_nothing(commands, flags, words):
    status = commands._run(train.main, f'--dataset DEMO {flags}', None)
    assert status == 2 and words in refused(commands.err)
    assert not commands.models_dir.exists()


def test_without_names_every_piece_in_its_help(commands):
    assert commands.try_train(f'{FLAGS} --without nothing') == 2
    assert all(name in commands.err for name in PIECES)


def test_damaged_inputs_are_told(modern):
    folder = modern.models_dir / ENCODERS / f'{MODERN}-ap'.replace('RN_ap', 'x')
    (folder / 'inputs.json').write_text('{"joints": 20}')
    assert modern.try_evaluate(f'{FLAGS} --protocol gallery') == 2
    assert 'inputs.json' in refused(modern.err)
    (folder / 'inputs.json').unlink()
    assert modern.try_evaluate(f'{FLAGS} --protocol gallery') == 2
    assert 'inputs.json' in refused(modern.err)
