"""AGEs and CAGEs: which sequences count, where each value goes, and feature files."""

from __future__ import annotations

import numpy as np
import pytest

from sge_la import backends
from sge_la.features import cages, sources
from sge_la.features.sources import FeatureSource, feature_shape, row_labels, write_feature_file
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import axis_major, contrast_head, encode, initial_params
from sge_la.model.pretext import pretext
from tests.command_line_cases import uncompiled

CONFIG = EncoderConfig(length=3, joints=2, units=4)


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture(scope='module')
def params() -> dict[str, np.ndarray]:
    return initial_params(CONFIG, seed=1)


@pytest.fixture(scope='module')
def skeletons() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(10, 3, 2, 3)).astype(np.float32)


def originals_loop(ids: dict[int, list[int]], pad: bool) -> list[int]:
    """Twin: what the original does with lists, one identity after the other."""
    out: list[int] = []
    for identity in sorted(ids):
        indices = list(ids[identity])
        length = len(indices)
        if length < 128:
            while len(indices) < 128:
                indices.append(indices[0])
            out += indices if pad else indices[:length]
        else:
            for batch in range(length // 128):
                out += indices[128 * batch : 128 * (batch + 1)]
    return out


@pytest.mark.parametrize('pad', [True, False])
def test_original_rows_equal_the_loop(pad):
    """Identities out of order, with gaps, of 1, 127, 128, 129, 255, 256 and 300 sequences."""
    rng = np.random.default_rng(0)
    ids, start = {}, 0
    for identity, count in zip([9, 3, 40, 1, 7, 8, 2], [1, 127, 128, 129, 255, 256, 300], strict=True):
        ids[identity] = rng.permutation(np.arange(start, start + count))
        start += count
    found = cages.original_rows(ids, pad=pad)
    assert found.tolist() == originals_loop({k: v.tolist() for k, v in ids.items()}, pad)
    assert len(found) == 128 * (2 + 1 + 1 + 1 + 1 + 2 + 1) if pad else 1 + 127 + 128 + 128 + 128 + 256 + 256


def test_all_rows_drop_and_repeat_nothing():
    ids = {5: np.array([3, 1]), 2: np.array([0]), 7: np.arange(4, 304)}
    assert cages.all_rows(ids).tolist() == [0, 3, 1, *range(4, 304)]


def one_by_one(params: dict, skeletons: np.ndarray, kind: str = 'context') -> np.ndarray:
    """Twin: features `[N, T, 3, U]`, each sequence and each axis encoded alone."""
    out = np.empty((len(skeletons), CONFIG.length, 3, CONFIG.units), np.float32)
    for number, sequence in enumerate(skeletons):
        for axis in range(3):
            own = {name: value[axis : axis + 1] for name, value in params.items()}
            encoded = encode(CONFIG, own, axis_major(sequence[None, ..., axis : axis + 1]))
            found = encoded.contexts if kind == 'context' else encoded.states
            out[number, :, axis] = found[0, :, 0]
    return out


@pytest.mark.parametrize('kind', ['context', 'states'])
@pytest.mark.parametrize('manner', ['ap', 'sc'])
def test_where_each_value_goes(params, skeletons, kind, manner):
    """ap: a row a frame, x, y and z side by side; sc: one row, all frames of x, then of y, then of z."""
    found = np.asarray(cages.encoder_function(CONFIG, manner, kind)(params, skeletons))
    expected = one_by_one(params, skeletons, kind)
    joined = expected.transpose(0, 2, 1, 3)  # x, y and z before frames
    expected = expected.reshape(10, 3, 12) if manner == 'ap' else joined.reshape(10, 1, 36)
    assert found.shape == (10, *cages.feature_shape(CONFIG, manner, kind)) == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_contrast_vectors_stand_side_by_side(params, skeletons):
    found = np.asarray(cages.encoder_function(CONFIG, 'ap', 'contrast')(params, skeletons))
    vectors = np.asarray(contrast_head(params, encode(CONFIG, params, axis_major(skeletons)).contexts))  # [A, B, U]
    assert found.shape == (10, 1, 12)
    np.testing.assert_allclose(found[:, 0], np.concatenate(list(vectors), axis=1), atol=1e-6)


@pytest.mark.parametrize('block', [1, 3, 4, 512])
def test_write_features_repeats_and_orders_rows(params, skeletons, monkeypatch, block):
    """Blocks of any size give the rows of one pass; repeats, an order of their own, and a place among others."""
    monkeypatch.setattr(backends.current(), 'BLOCK', block)
    function = cages.encoder_function(CONFIG, 'ap')
    expected = np.asarray(function(params, skeletons))
    rows = np.array([7, 7, 0, 3, 7, 9, 1])
    positions = np.random.default_rng(1).permutation(21)
    out = np.full((21, 3, 2, 4), np.nan, np.float32)
    task = pretext('rev_rec', skeletons)
    cages.write_features(function, params, task, rows, out[:, :, 1], positions=positions)
    np.testing.assert_allclose(out[positions, :, 1], expected[rows].reshape(21, 3, 4), atol=1e-6)
    assert np.isnan(out[:, :, 0]).all()


def test_training_rows_are_permuted_alike_in_all_columns(params, skeletons, tmp_path):
    """The feature row at place p is row order[p] of the encodings, for every source; labels move with them."""
    sources = [FeatureSource(CONFIG, params), FeatureSource(CONFIG, initial_params(CONFIG, seed=2))]
    rows = np.array([4, 4, 2, 9])
    order = np.random.default_rng(3).permutation(12)
    settings = {'seed': 0, 'test': False}
    write_feature_file(tmp_path / 'plain.npy', sources, skeletons, rows, 'ap', **settings)
    write_feature_file(tmp_path / 'permuted.npy', sources, skeletons, rows, 'ap', order=order, **settings)
    plain, permuted = np.load(tmp_path / 'plain.npy'), np.load(tmp_path / 'permuted.npy')
    assert plain.shape == (12, 24) and plain.dtype == np.float32
    np.testing.assert_array_equal(permuted, plain[order])
    # Columns: x of the first encoder, x of the second, then both y, then both z.
    first = plain.reshape(12, 3, 2, 4)[:, :, 0]
    np.testing.assert_allclose(first, one_by_one(params, skeletons)[rows].reshape(12, 3, 4), atol=1e-6)
    assert row_labels(np.array([1, 1, 0, 2]), sources, 'ap')[order].tolist() == [[1, 1, 0, 2][k // 3] for k in order]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith('.')] == []


def test_shapes_of_joined_features(params):
    sources = [FeatureSource(CONFIG, params)] * 3
    assert feature_shape(sources, 'ap') == (3, 36) and feature_shape(sources, 'sc') == (1, 108)
    assert feature_shape([FeatureSource(CONFIG, params, kind='contrast')], 'sc') == (1, 12)


def test_sorting_draws_orders_anew_for_training_and_test(params, skeletons):
    """The orders of extraction are those of neither training nor each other; other tasks leave frames alone."""
    sorting = FeatureSource(CONFIG, params, task='sorting')
    many = np.random.default_rng(0).normal(size=(50, 3, 2, 3)).astype(np.float32)
    orders = [sorting.view(many, 4, test=test).orders for test in (False, True)]
    orders.append(pretext('sorting', many, seed=4).orders)
    assert all((orders[i] != orders[j]).any() for i, j in ((0, 1), (0, 2), (1, 2)))
    published = FeatureSource(CONFIG, params, task='sorting', permute_test=False)
    np.testing.assert_array_equal(published.view(many, 4, test=True).inputs(slice(None)), many)
    assert (published.view(many, 4, test=False).inputs(slice(None)) != many).any()
    np.testing.assert_array_equal(FeatureSource(CONFIG, params).view(many, 4, test=False).inputs(slice(None)), many)


def test_one_hot_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'ROWS_AT_ONCE', 2)
    sources.write_one_hot(tmp_path / 'y.npy', np.array([2, 0, 3]), 4)
    found = np.load(tmp_path / 'y.npy')
    assert found.dtype == np.uint8 and found.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]


def test_pages_of_a_map_are_given_back_without_loss(tmp_path, monkeypatch):
    """Every block's pages are released; what ends up in the file is what an array in memory gets."""
    monkeypatch.setattr(backends.current(), 'BLOCK', 2)
    monkeypatch.setattr(cages, 'BLOCKS_IN_MEMORY', 1)
    config = EncoderConfig(length=3, joints=2, units=4)
    skeletons = np.random.default_rng(0).normal(size=(7, 3, 2, 3)).astype(np.float32)
    arguments = cages.encoder_function(config, 'ap'), initial_params(config, 0), pretext('rev_rec', skeletons)
    plain = np.zeros((21, 12), np.float32)
    mapped = np.lib.format.open_memmap(tmp_path / 'X.npy', 'w+', np.float32, (21, 12))
    for out in (plain, mapped):
        cages.write_features(*arguments, np.arange(7), out)
    assert (np.load(tmp_path / 'X.npy') == plain).all() and plain.any()
