"""`--precision bfloat16` through train.py, evaluate.py and everything that reads a run."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la import api, checkpoints, export
from sge_la.errors import run_command
from tests.command_line_cases import CAGES, USUAL, encoders_of, refused
from tests.disturbance import outcome

FLAGS = '--dataset DEMO --precision bfloat16'
NAME = 'DEMO_LA_RN_ap_6_0.1_0pre_rev_rec_precision-bfloat16'
SAID = ', bfloat16 matrix products\n'


def test_train_and_evaluate(commands):
    """In folders of its own, which say so; evaluate.py finds the precision by flag, config.json or name."""
    commands.train(FLAGS, rn_epochs=3)
    assert SAID in commands.out
    assert commands.folders(CAGES) == {NAME}
    assert commands.folders() == encoders_of('DEMO_LA_{}_6_0.1_0pre_rev_rec_precision-bfloat16')
    config, scores = commands.config(NAME), commands.results(NAME)
    assert config['options']['precision'] == config['environment']['matrix_products'] == 'bfloat16'
    assert config['record']['precision'] == 'bfloat16'
    assert scores['test']['all_sequences']['rank1'] > 0.4  # chance is a third
    params = checkpoints.load_recognition(commands.network(NAME)).params
    assert {value.dtype for value in params.values()} == {np.dtype('float32')}
    assert not np.array_equal(params['W1'].astype('float16'), params['W1'])  # nor rounded
    for flags in (FLAGS, f'--RN_dir {NAME}'):
        commands.evaluate(flags)
        assert SAID in commands.out and commands.results(NAME) == scores
    commands.evaluate(f'{FLAGS} --protocol gallery')
    assert SAID in commands.out
    commands.train(FLAGS, rn_epochs=3)
    assert 'are trained already' in commands.out and 'network is trained already' in commands.out
    assert commands.try_evaluate(f'--RN_dir {NAME} --precision float32') == 2
    assert '--precision float32 contradicts --RN_dir' in refused(commands.err)
    (commands.network(NAME) / 'config.json').unlink()
    commands.evaluate(f'--RN_dir {NAME}')
    assert SAID in commands.out and commands.results(NAME) == scores


def test_float32_is_what_it_was_and_lies_beside(after):
    """Spelt out or not: the same folders, records, weights, features and scores."""
    before = outcome(after.models_dir)
    assert not any('precision' in found['record'] for name, found in before.items() if 'config' in name)
    after.train('--dataset KGBD --precision bfloat16', rn_epochs=2)
    after.train('--dataset KGBD --precision float32', rn_epochs=2)
    assert ', float32 matrix products\n' in after.out and 'network is trained already' in after.out
    found = outcome(after.models_dir)
    assert {name: value for name, value in found.items() if name in before} == before
    other = USUAL + '_precision-bfloat16'
    rows, rounded = (np.load(after.network(name) / 'val_X.npy') for name in (USUAL, other))
    assert 0 < np.abs(rows - rounded).max() < 0.1
    # A folder that was renamed is another run still.
    after.network(USUAL).rename(after.network(USUAL).with_name('away'))
    after.network(other).rename(after.network(USUAL))
    assert after.try_train('--dataset KGBD', rn_epochs=2) == 2
    assert 'precision: "bfloat16" there, null asked' in refused(after.err)


@pytest.mark.parametrize('flags', ['--recipe modern', '--ablation GE', '--frozen 1', '--model rev_rec_plus'])
def test_kinds_of_runs(commands, flags):
    commands.train(f'{FLAGS} {flags}')
    assert SAID in commands.out
    [name] = commands.folders('AGEs_RN_models' if 'GE' in flags else CAGES)
    assert '_precision-bfloat16' in name
    before = commands.results(name)
    commands.evaluate(f'--RN_dir {name}')
    assert SAID in commands.out and commands.results(name) == before


def test_what_reads_a_run_has_its_precision(commands):
    pytest.importorskip('matplotlib')
    commands.train(FLAGS)
    commands.evaluate(f'{FLAGS} --figures --report')
    places = {'models_dir': commands.models_dir, 'data_dir': commands.data_dir}
    recogniser = api.Recogniser.load(NAME, **places)
    assert recogniser.encoder.sources[0].config.precision == 'bfloat16'
    flags = ['--RN_dir', NAME, '--output', str(commands.models_dir / 'model')]
    flags += [word for name, place in places.items() for word in (f'--{name}', str(place))]
    assert run_command(export.main, flags) == 2
    assert 'or a run of --precision float32' in refused(commands.capsys.readouterr().err)
    assert not (commands.models_dir / 'model').exists()


@pytest.mark.parametrize('value', ['float16', 'BFLOAT16', '""'])
def test_others_are_refused(commands, value):
    for run in (commands.try_train, commands.try_evaluate):
        assert run(f'--dataset DEMO --precision {value}') == 2
        assert 'invalid choice' in refused(commands.err) and 'bfloat16' in commands.err
    assert not commands.models_dir.exists()
