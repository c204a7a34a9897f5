"""Tests of inference run on NumPy too; those of training on Keras' backend alone."""

from __future__ import annotations

import pytest

from sge_la import backends
from sge_la.backends.starting import NUMPY


@pytest.fixture(params=[None, NUMPY], ids=['keras', 'numpy'])
def each_backend(request: pytest.FixtureRequest):
    """The test runs on the backend that Keras has, and on NumPy."""
    with backends.using(request.param):
        yield request.param
