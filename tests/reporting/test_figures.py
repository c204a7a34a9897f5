"""Figures from small arrays: they are drawn, carry the right numbers, and are the same every time."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sge_la.data.skeletons import SKELETONS
from sge_la.errors import UserError
from sge_la.evaluation import metrics
from sge_la.reporting import figures, style

matplotlib = pytest.importorskip('matplotlib')
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


def all_figures(names=range(12), test: str = 'A') -> dict:
    """Every kind of figure, of identities, curves and rows with these names, and of a test set with this one."""
    names, curves = list(names), RANDOM.dirichlet(np.ones(len(names)), 6).cumsum(axis=1)
    recognition = [{key.replace('_A', f'_{test}'): value for key, value in row.items()} for row in RECOGNITION]
    weights, skeleton, where = np.full((3, 6, 6), 1 / 6), SKELETONS['kgbd'], style.of_test_set(test)
    counts = RANDOM.integers(0, 9, (len(names), len(names)))
    people = np.repeat(np.array(names), 4)
    named = dict.fromkeys([f'rank {n}: same\nidentity {names[n]}' for n in range(3)], walker())
    return {
        'training': figures.training_curves(ENCODER, recognition, {test: 2}),
        'cmc': figures.cmc(dict(zip(names[:2], curves, strict=False)), len(names), f'CMC, {where}'),
        'cmcs': figures.cmc(dict(zip(names[:6], curves, strict=False)), len(names), f'CMC, {where}'),
        'roc': figures.roc(SCORES, LABELS, 0.75, f'ROC, {where}'),
        'confusion': figures.confusion(counts, names, f'Confusion, {where}'),
        'confused': figures.most_confused(counts, names, f'The 10 most confused identities\n{where}'),
        'attention': figures.attention({'LA': weights, 'BA': weights}),
        'reconstruction': figures.reconstruction(walker(), walker(), skeleton),
        'strips': figures.strips(named, skeleton, f'A probe of the {where} and its nearest training sequences'),
        'tsne': figures.embedding(RANDOM.normal(size=(len(people), 2)), people, f'CAGEs of 554 sequences\n{where}'),
    }


def test_all_are_written_as_png_and_pdf_with_fonts_that_publishers_take(tmp_path):
    drawn = all_figures()
    written = style.save(tmp_path / 'figures', drawn)
    assert [path.name for path in written] == [f'{name}.png' for name in drawn]
    for path in written:
        assert path.read_bytes().startswith(b'\x89PNG')
        content = path.with_suffix('.pdf').read_bytes()
        assert content.startswith(b'%PDF') and b'/FontFile2' in content and b'/Type3' not in content
    assert len(list((tmp_path / 'figures').iterdir())) == 2 * len(written)  # nothing half-written stays
    assert {figure.get_figwidth() for figure in drawn.values()} == {style.ONE_COLUMN, style.TWO_COLUMNS}


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        ('subject-of-the-second-visit-{:02}', 12),
        ('WWWWWWWWWWWWWWWWWWWWWWWWWWWW{:02}', 28),
        ('Участник_второй_записи_$№$x_{:02}', 28),
        ('{:03}', 164),
    ],
)
def test_nothing_is_clipped(name, count):
    """What is drawn, and each text by itself, lies on the canvas."""
    names = [name.format(number) for number in range(count)]
    with matplotlib.rc_context(style.settings()):
        for kind, figure in all_figures(names, names[0]).items():
            figure.draw_without_rendering()
            size = figure.get_size_inches()
            for what, box in {'all': figure.get_tightbbox(), **extents(figure)}.items():
                assert box.min.min() >= -0.01 and (box.max <= size + 0.01).all(), (kind, what, box, size)


def extents(figure) -> dict:
    """Inches that texts take, those of ticks aside, of which Matplotlib keeps some that are not drawn."""
    ticks = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in (*axis.get_ticklabels(which='both'), axis.get_offset_text())
    }
    found = (text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and id(text) not in ticks)
    to_inches = figure.dpi_scale_trans.inverted()
    return {text.get_text(): text.get_window_extent().transformed(to_inches) for text in found}


def test_names_are_no_formulas_and_keep_both_ends():
    assert style.fitted('$x$') == r'\$x\$'
    assert style.fitted('abc\n') == r'abc\n'
    assert style.fitted('0123456789', 6) == '01…89'
    assert all(style.width(style.fitted(50 * letter, 9)) <= 9 for letter in 'iWЩ東')
    assert style.fitted('_a').strip() == '_a' and not style.fitted('_a').startswith('_')


def test_letters_that_no_font_has_are_told(tmp_path, capsys):
    """U+E123 is for private use: DejaVu Sans has nothing there."""
    style.save(tmp_path, {'cmc': figures.cmc({'abc': np.ones(3)}, title='CMC \ue123')})
    assert 'boxes for 1 letters that no font here has' in capsys.readouterr().out
    assert b'/Type3' in (tmp_path / 'cmc.pdf').read_bytes()


def test_people_and_curves_differ_in_looks():
    looks = {tuple(style.point_look(number).values()) for number in range(style.LOOKS)}
    assert len(looks) == style.LOOKS >= 164
    assert len({tuple(style.line_look(number).values()) for number in range(32)}) == 32


def test_the_most_confused_are_those_with_most_mistakes():
    """Identities 3 and 7 are taken for each other, 11 for 0; ten of twelve are shown, and all sequences are counted."""
    matrix = np.diag(np.full(12, 5))
    matrix[3, 7], matrix[7, 3], matrix[11, 0] = 4, 2, 1
    axis = figures.most_confused(matrix, list('abcdefghijkl')).axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert {'a', 'd', 'h', 'l'} <= set(names) and len(names) == 10
    shares = axis.images[0].get_array()
    np.testing.assert_allclose(shares.sum(axis=1), 100)
    assert shares[names.index('d'), names.index('h')] == pytest.approx(100 * 4 / 9)


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
        style.save(tmp_path / name, {'roc': figures.roc(SCORES, LABELS, 0.5)})
    for kind in style.KINDS:
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
    assert -np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / 1e4 == pytest.approx(area, abs=1e-3)


def test_cmc_draws_per_cent():
    values = figures.cmc({'a': np.array([0.25, 1.0])}).axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(values, [25, 100])


def test_the_kept_epoch_is_marked():
    axis = figures.training_curves(ENCODER, RECOGNITION, {'A': 2}).axes[3]
    assert 'kept: epoch 2, test set A' in [text.get_text() for text in axis.get_legend().get_texts()]


@pytest.mark.parametrize('epoch', [4, 2])
def test_a_kept_epoch_that_the_history_lacks_is_no_mark(epoch):
    """A history that is shorter than the run that was scored, and one whose row says nothing of the test set."""
    history = [RECOGNITION[0], {'epoch': 2, 'train_loss': 0.5}, RECOGNITION[2]]
    axis = figures.training_curves(ENCODER, history, {'A': epoch}).axes[3]
    assert not any('kept' in text.get_text() for text in axis.get_legend().get_texts())


def test_reconstruction_tells_the_distance():
    """Every joint is 3 cm and 4 cm off in two directions: 5 cm."""
    target = walker()
    figure = figures.reconstruction(target + np.float32([0.03, 0.04, 0]), target, SKELETONS['kgbd'])
    assert any('error 5.0 cm' in axis.get_ylabel() for axis in figure.axes)


def test_everybody_is_named_and_large_matrices_have_no_numbers():
    people = figures.embedding(RANDOM.normal(size=(328, 2)), np.arange(328) % 164, '')
    assert len(people.legends[0].get_texts()) == 164
    assert not people.axes[0].get_xticks().size and not people.axes[0].get_yticks().size
    assert not figures.confusion(np.eye(164, dtype=int), range(164)).axes[0].texts


def test_missing_matplotlib_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(UserError, match='pip install'):
        style.require_matplotlib()
