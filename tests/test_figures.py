"""Figures from small arrays: they are drawn, carry the right numbers, and are the same every time."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sge_la.data.skeletons import SKELETONS
from sge_la.errors import UserError
from sge_la.evaluation import metrics
from sge_la.reporting import figures

pytest.importorskip('matplotlib')
RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 10)
SCORES = RANDOM.normal(size=(40, 4)) + 2 * np.eye(4)[LABELS]
ENCODER = [
    {
        'epoch': epoch,
        **{f'{name}_{axis}': 9 / epoch for name in ('reconstruction', 'validation_contrastive') for axis in 'xyz'},
    }
    for epoch in (1, 2, 3)
]
RECOGNITION = [
    {'epoch': epoch, 'train_loss': 1 / epoch, 'train_accuracy': 0.5, 'loss_A': 2.0, 'accuracy_A': epoch / 9}
    for epoch in (1, 2, 3)
]


def walker() -> np.ndarray:
    return RANDOM.normal(size=(6, 20, 3)).astype(np.float32)


def all_figures() -> dict:
    evaluation = metrics.evaluate_scores(SCORES, LABELS)
    weights = np.full((3, 6, 6), 1 / 6)
    skeleton = SKELETONS['kgbd']
    return {
        'training': figures.training_curves(ENCODER, RECOGNITION, {'A': 2}),
        'cmc': figures.cmc({'sequences': evaluation.rank_n}, 4),
        'roc': figures.roc(SCORES, LABELS, evaluation.nauc),
        'confusion': figures.confusion(evaluation.confusion, evaluation.classes),
        'attention': figures.attention({'LA': weights, 'BA': weights}),
        'reconstruction': figures.reconstruction(walker(), walker(), skeleton),
        'strips': figures.strips({'probe': walker(), '1': walker()}, None, 'matches'),
        'tsne': figures.embedding(RANDOM.normal(size=(40, 2)), LABELS, 'encodings'),
    }


def test_all_are_written_as_png_and_svg(tmp_path):
    written = figures.save(tmp_path / 'figures', all_figures())
    assert [path.name for path in written] == [f'{name}.png' for name in all_figures()]
    for path in written:
        assert path.read_bytes().startswith(b'\x89PNG')
        assert '<svg' in path.with_suffix('.svg').read_text()
    assert len(list((tmp_path / 'figures').iterdir())) == 2 * len(written)  # nothing half-written stays


def test_a_single_epoch_can_be_seen():
    figure = figures.training_curves(ENCODER[:1], RECOGNITION[:1], {'A': 1})
    assert all(line.get_marker() == 'o' for axis in figure.axes for line in axis.lines if len(line.get_xdata()) == 1)
    lines = figures.training_curves(ENCODER, RECOGNITION).axes[0].lines
    assert lines and all(line.get_marker() == 'None' for line in lines)


def test_a_term_that_a_model_lacks_is_no_curve_at_zero():
    age = [{name: 0.0 if 'contrastive' in name else value for name, value in row.items()} for row in ENCODER]
    _, contrastive, *_ = figures.training_curves(age, RECOGNITION).axes
    assert not contrastive.lines and [text.get_text() for text in contrastive.texts] == ['none']


def test_equal_figures_give_equal_files(tmp_path):
    for name in ('one', 'other'):
        figures.save(tmp_path / name, {'roc': figures.roc(SCORES, LABELS, 0.5)})
    for kind in ('png', 'svg'):
        assert (tmp_path / 'one' / f'roc.{kind}').read_bytes() == (tmp_path / 'other' / f'roc.{kind}').read_bytes()


def test_axes_are_named():
    for name, figure in all_figures().items():
        if name not in ('reconstruction', 'strips'):
            assert all(axis.get_xlabel() or axis.get_ylabel() for axis in figure.axes), name


def test_area_under_the_drawn_roc_is_nauc():
    """Trapezoids under the drawn points against the exact area (few thresholds are drawn, so within a thousandth)."""
    area = metrics.nauc(SCORES, LABELS)
    x, y = figures.roc(SCORES, LABELS, area).axes[0].lines[0].get_data()
    assert (np.diff(x) <= 0).all()
    assert (np.diff(y) <= 0).all()
    assert -np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(area, abs=1e-3)


def test_cmc_draws_per_cent():
    values = figures.cmc({'a': np.array([0.25, 1.0])}).axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(values, [25, 100])


def test_the_kept_epoch_is_marked():
    axis = figures.training_curves(ENCODER, RECOGNITION, {'A': 2}).axes[3]
    assert 'kept: epoch 2 (A)' in [text.get_text() for text in axis.get_legend().get_texts()]


def test_reconstruction_tells_the_distance():
    """Every joint is 3 cm and 4 cm off in two directions: 5 cm."""
    target = walker()
    figure = figures.reconstruction(target + np.float32([0.03, 0.04, 0]), target, SKELETONS['kgbd'])
    assert any('error 5.0 cm' in axis.get_ylabel() for axis in figure.axes)


def test_many_people_and_large_matrices_are_drawn(tmp_path):
    people = np.arange(200) % 50
    drawn = {
        'people': figures.embedding(RANDOM.normal(size=(200, 2)), people, ''),
        'matrix': figures.confusion(np.eye(164, dtype=int), range(164)),
    }
    figures.save(tmp_path, drawn)
    assert len(drawn['people'].axes[0].get_legend().get_texts()) == 32
    assert not drawn['matrix'].axes[0].texts


def test_missing_matplotlib_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(UserError, match='pip install'):
        figures.require_matplotlib()
