"""What the tests of checkpoints share: the genuine ones, random models, and comparing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sge_la.checkpoints import AdamSlots
from sge_la.checkpoints.folders import CHECKPOINT_STEM

INDEX, DATA = '.index', '.data-00000-of-00001'
GENUINE = [
    'models/AGEs_RN_models/BIWI_LA_RN_ap',
    'reference/recognition/checkpoint_step20',
    'reference/encoder/checkpoint_LA_step20',
    'reference/runs/biwi/Models/CAGEs_RN_models/BIWI_LA_RN_ap_6_0.1_0pre_rev_rec',
    'reference/runs/biwi/Models/CAGEs_RN_models/BIWI_RN_ap_6_0.1_0pre_rev_rec_plus',
    *(f'reference/runs/biwi/Models/Gait_Encoding_models/BIWI_LA_{axis}_6_0.1_0pre_rev_rec' for axis in 'xyz'),
]


def genuine(reference: Path, name: str) -> Path:
    """The prefix of a checkpoint of the original or of its authors; their models lie beside the reference folder."""
    folder = reference.joinpath(*Path(name).parts[1:]) if name.startswith('reference/') else reference.parent / name
    if not folder.is_dir():
        reason = f'the genuine checkpoint {folder} is not there'
        if os.environ.get('SGE_LA_REQUIRE_REFERENCE') == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    return folder / CHECKPOINT_STEM


def draw(rng, shape) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def random_model(rng, shapes, axes=None) -> tuple[dict, AdamSlots]:
    """Parameters and moments of the given shapes, with a leading axis if `axes` is given."""
    lead = () if axes is None else (axes,)
    params, first, second = ({name: draw(rng, lead + shape) for name, shape in shapes.items()} for _ in range(3))
    return params, AdamSlots(first, second)


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert found[name].dtype == np.asarray(value).dtype and found[name].shape == np.shape(value), name
