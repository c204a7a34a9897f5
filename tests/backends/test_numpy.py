"""Inference on NumPy beside Keras' backend, which tests/model compares with the twin and with the original."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sge_la import backends
from sge_la.backends import runtime
from sge_la.backends.starting import JAX, NUMPY, TENSORFLOW
from sge_la.commands import evaluate
from sge_la.errors import UserError, run_command
from sge_la.evaluation.scores import compiled_recogniser, labelled_scores, logits
from sge_la.features.cages import encoder_function
from sge_la.model import labelled_lstm, recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import initial_params
from tests.conftest import small_flags, training_flags

CONFIG = EncoderConfig(length=6, joints=20)
# 13 frames are a scan, 6 are unrolled.
KINDS = [
    pytest.param(CONFIG, 'context', id='LA'),
    pytest.param(CONFIG, 'contrast', id='vectors'),
    pytest.param(replace(CONFIG, attention='MBA'), 'context', id='MBA'),
    pytest.param(replace(CONFIG, length=13, joints=14, attention='BA'), 'context', id='scan'),
    pytest.param(replace(CONFIG, attention='none', contrastive=False), 'states', id='states'),
]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def on_each(run) -> list[np.ndarray]:
    """What Keras' backend and what NumPy makes of it."""
    found = []
    for name in (None, NUMPY):
        with backends.using(name):
            found.append(np.asarray(run()))
    return found


def assert_alike(found, expected):
    assert found.dtype == expected.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize(('config', 'kind'), KINDS)
def test_features_are_those_of_keras(config, kind, rng):
    inputs = rng.normal(size=(16, config.length, config.joints, 3)).astype(np.float32)
    expected, found = on_each(lambda: encoder_function(config, 'ap', kind)(initial_params(config, 1), inputs))
    assert_alike(found, expected)


def test_answers_are_those_of_keras(rng):
    """More rows than a block; the network of a run, and an LSTM with a softmax of its own."""
    params = recognition.initial_params(30, 7, 0)
    features = rng.normal(size=(5000, 30)).astype(np.float32)
    expected, found = on_each(lambda: logits(params, features, compiled_recogniser('float32')))
    assert_alike(found, expected)
    params = labelled_lstm.initial_params(5, 16, 4, 0)
    skeletons = rng.normal(size=(9, 6, 5, 3)).astype(np.float32)
    expected, found = on_each(lambda: labelled_scores(params, skeletons))
    assert_alike(found, expected)


def test_two_who_compute_at_once_leave_the_threads_as_they_were():
    def threads():
        return [library['num_threads'] for library in threadpool_info() if library['user_api'] == 'blas']

    with threadpool_limits(2), backends.using(NUMPY):
        before = threads()
        first, second = (backends.each(lambda number: (number, threads()), range(20)) for _ in range(2))
        assert next(first) == next(second) == (0, [1] * len(before))
        assert [number for number, _ in first] == list(range(1, 20))
        assert next(second) == (1, [1] * len(before))
        second.close()
        assert threads() == before


def test_keras_keeps_its_backend():
    other = JAX if backends.name() == TENSORFLOW else TENSORFLOW
    with pytest.raises(UserError, match='another process'), backends.using(other):
        pass


def test_numpy_is_taken_where_it_can_serve(monkeypatch):
    """--backend counts first, then KERAS_BACKEND; then it is NumPy on a CPU, in float32."""
    monkeypatch.delenv('KERAS_BACKEND', raising=False)
    monkeypatch.setattr(runtime, 'gpu_seems_there', lambda: True)
    assert runtime.for_inference(None, '-1', 'float32') == NUMPY
    assert runtime.for_inference(None, '0', 'float32') is None
    assert runtime.for_inference(None, '-1', 'bfloat16') is None
    monkeypatch.setenv('KERAS_BACKEND', 'jax')
    assert runtime.for_inference(None, '-1', 'float32') == 'jax'
    assert runtime.for_inference('tensorflow', '-1', 'float32') == 'tensorflow'
    with pytest.raises(UserError, match='NumPy does not have'):
        runtime.for_inference(NUMPY, '-1', 'bfloat16')


def test_a_gpu_that_is_not_there_is_told_on_numpy_too(monkeypatch):
    monkeypatch.setattr(runtime, 'gpu_seems_there', lambda: False)
    with backends.using(NUMPY):
        assert runtime.start('0', 0) == 'CPU (no GPU found)'
        with pytest.raises(UserError, match='--gpu 3 is not there'):
            runtime.start('3', 0)


USE = """
import sys
from sge_la.commands import evaluate, train
from sge_la.errors import run_command
from sge_la.identify import main as identify

training, flags, recording, run, *places = sys.argv[1:]
assert not run_command(train, training.split())
assert not run_command(evaluate, flags.split())
assert not run_command(identify, [recording, '--RN_dir', run, '--top', '1', *places])
print(sorted({'keras', 'tensorflow', 'jax', 'sklearn', 'scipy'} & set(sys.modules)))
"""


def rounded(results: Path) -> dict:
    """The scores of a run's test set, without the digits in which backends differ."""
    found = json.loads(results.read_text(), parse_float=lambda text: round(float(text), 5))['test_sets']['Walking']
    # Other tests score the same run without its data set, which changes all_sequences.
    return {name: found[name] for name in ('selected', 'last', 'epochs')}


def test_a_trained_model_is_used_without_keras(small_run, tmp_path):
    """And without what Keras brings along; scores are those that the training printed."""
    walk = np.load(next((small_run / 'Datasets').rglob('t_source_x_BIWI_6.npy')))[:12]
    np.save(tmp_path / 'walk.npy', np.repeat(walk[:, :, None], 3, axis=2).astype(np.float32))
    results = next((small_run / 'Models').rglob('results.json'))
    before = rounded(results)
    places = small_flags(small_run)[4:]
    words = [' '.join([*training_flags(small_run), '--train_flag', '2']), ' '.join(small_flags(small_run))]
    environment = {name: value for name, value in os.environ.items() if name != 'KERAS_BACKEND'}
    done = subprocess.run(
        [sys.executable, '-c', USE, *words, str(tmp_path / 'walk.npy'), results.parent.name, *places],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('Backend: numpy') == 2 and '  1. ' in done.stdout
    assert done.stdout.splitlines()[-1] == '[]'
    assert rounded(results) == before


def test_kept_features_are_encoded_again_when_that_is_asked_for(small_run, tmp_path, capsys):
    """They are what encoders and data give; one value that is off by more than rounding is found."""
    models = shutil.copytree(small_run / 'Models', tmp_path / 'Models')
    flags = [*small_flags(small_run)[:-1], str(models), '--dataset', 'BIWI']
    assert not run_command(evaluate, [*flags, '--recheck'])
    assert 'Features of Walking: encoded again, and alike' in capsys.readouterr().out
    path = next(models.rglob('val_X.npy'))
    features = np.load(path)
    features[-1, -1] += 0.01
    np.save(path, features)
    assert not run_command(evaluate, flags)
    assert run_command(evaluate, [*flags, '--recheck']) == 2
    assert 'encoders at hand' in capsys.readouterr().err


def test_a_backend_that_was_asked_for_starts_in_its_one_place(monkeypatch):
    """Where it is refused in a sentence if it is not there, and does not chatter."""
    with backends.using(backends.name()):
        monkeypatch.setattr(backends, 'keras_backend', lambda: 'started here')
        assert backends.name() == 'started here'


@pytest.mark.parametrize('count', [1, 2, 3])
def test_gates_at_once_have_the_bits_of_each_alone(count):
    """Of parts with columns beyond the gates, which are left as they were."""
    random = np.random.default_rng(0)
    parts = [random.normal(size=(3, 2, 13)).astype(np.float32) for _ in range(count)]
    before = [part.copy() for part in parts]
    slopes, shifts = (0.5, 1.0, 0.5, 0.5), (0.0, 0.0, 0.5, 0.0)
    with backends.using('numpy'):
        found = backends.activated(parts, 3, slopes, shifts)
    for gate, (values, slope, shift) in enumerate(zip(found, slopes, shifts, strict=True)):
        z = sum(part[..., 3 * gate : 3 * gate + 3] for part in parts)
        np.testing.assert_array_equal(values, slope * np.tanh(slope * z + shift) + (1 - slope))
    for part, kept in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part, kept)
