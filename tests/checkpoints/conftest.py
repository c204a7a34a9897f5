"""Values for checkpoints."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la.checkpoints import recognition_shapes
from tests.checkpoints.cases import draw


@pytest.fixture
def small(rng) -> dict[str, np.ndarray]:
    """The variables of a recognition network of 6 inputs, 4 hidden units and 3 classes."""
    return {name: draw(rng, shape) for name, shape in recognition_shapes(6, 3, 4).items()}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)
