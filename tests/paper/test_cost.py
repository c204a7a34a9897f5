"""Sizes against models that were made, and operations against sums that were done by hand."""

from __future__ import annotations

import pytest

from sge_la.model import recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import initial_params
from sge_la.paper import cost
from sge_la.paper.cost import encoder_cost, recognition_cost


@pytest.mark.parametrize('attention', ['LA', 'BA', 'none'])
@pytest.mark.parametrize('contrastive', [True, False])
def test_parameters_are_those_of_the_model(attention, contrastive):
    contrastive = contrastive and attention != 'none'
    config = EncoderConfig(3, 5, 4, attention=attention, contrastive=contrastive)
    assert encoder_cost(config).parameters == sum(value.size for value in initial_params(config, 0).values())


def test_published_sizes_come_about():
    """Three axes and the two dead copies: 8,474,172 at J = 20 with the contrast head, 7,146,315 at J = 25 without."""
    cage, age = encoder_cost(EncoderConfig(6, 20)), encoder_cost(EncoderConfig(6, 25, contrastive=False))
    assert cage.parameters + cage.dead == 8_474_172
    assert age.parameters + age.dead == 7_146_315


def test_operations_by_hand():
    """T = 2, J = 1, U = 1, one axis, multiplications: encoder 2·(2·4) + 2·(2·4) = 32, memory 2, decoder 2·(2·4) twice

    = 32 (its one frame input is zero), scores and contexts 2·2·1 each = 8, attention 2·2 = 4, output 2, head 2 + 1.
    In all 83, and as many additions.
    """
    found = encoder_cost(EncoderConfig(2, 1, 1), axes=1)
    assert found.forward == 2 * (32 + 2 + 32 + 8 + 4 + 2 + 3)
    assert found.training == 3 * found.forward


def test_recognition_network():
    params = recognition.initial_params(7, 3, 0)
    found = recognition_cost(7, 3, rows=6)
    assert found.parameters == sum(value.size for value in params.values())
    assert found.forward == 2 * 6 * (7 * 256 + 256 * 3)


def test_table_marks_the_rows_that_were_published(capsys):
    cost.main([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(' | ')[:2] for line in lines if ' M |' in line] == [['| CAGE', '20'], ['| AGE', '25']]
