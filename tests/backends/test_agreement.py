"""What the benchmark of agreement compares; the differences themselves belong to a machine."""

import os
import shutil

import numpy as np
import pytest

from benchmarks import agreement
from sge_la import checkpoints
from sge_la.backends.runtime import available_cores


def test_a_run_agrees_with_itself(small_run):
    found = agreement.compare(small_run / 'Models', small_run / 'Models')
    assert found.pop('same_bytes') is True and 0 <= found.pop('rank1') <= 1
    assert found == {'encoder_weights': 0, 'cages': 0, 'network_weights': 0}


def test_differences_are_relative_to_the_largest_value(small_run, tmp_path):
    """The feature of largest size is changed by a quarter of it, all weights of the network by a half."""
    models = shutil.copytree(small_run / 'Models', tmp_path / 'Models')
    (path,) = models.glob('CAGEs_RN_models/*/val_X.npy')
    features = np.load(path)
    features.reshape(-1)[np.abs(features).argmax()] *= 0.75
    np.save(path, features)
    params = checkpoints.load_recognition(path.parent, slots=False).params
    checkpoints.save_recognition(path.parent, {name: value / 2 for name, value in params.items()})
    found = agreement.compare(models, small_run / 'Models')
    assert not found['same_bytes'] and found['encoder_weights'] == 0
    assert found['cages'] == pytest.approx(0.25) and found['network_weights'] == pytest.approx(0.5)


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='this system does not bind processes to cores')
def test_cores_are_given_back():
    before = available_cores()
    with agreement.on_cores(1):
        assert available_cores() == 1
    with agreement.on_cores(None):
        assert available_cores() == before
    assert available_cores() == before
