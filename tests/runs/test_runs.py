"""Run folders: configurations, histories, locks between real processes, and states that survive kills and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sge_la.errors import UserError
from sge_la.runs import records


def test_configurations_come_back(tmp_path):
    config = {'dataset': 'BIWI', 'length': 6, 't': 0.1, 'view': None, 'sizes': (1, 2), 'folder': Path('Models')}
    assert records.read_config(tmp_path) is None
    records.write_config(tmp_path, config)
    assert records.read_config(tmp_path) == {**config, 'sizes': [1, 2], 'folder': 'Models'}
    records.write_results(tmp_path, {'rank_1': np.float64(0.5), 'n': np.int64(3)})
    assert records.read_results(tmp_path) == {'rank_1': 0.5, 'n': 3}


def test_differences_name_both_sides(tmp_path):
    asked = {'length': 8, 't': 0.1, 'sizes': (1, 2), 'seed': 1, 'new': None, 'folder': Path('a')}
    records.write_config(tmp_path, {**asked, 'length': 6, 'seed': 2})
    there = records.read_config(tmp_path)
    keys = ['length', 't', 'sizes', 'new', 'folder', 'unheard']
    assert records.differences(there, asked, keys) == ['length: 6 there, 8 asked']
    assert records.differences({}, {'task': 'sorting'}, ['task']) == ['task: null there, "sorting" asked']
    # A terminal obeys control characters, and the names are those of a file.
    foreign = {'a\x1b[2J': '\n'}
    assert records.differences(foreign, {}, foreign) == [r'a\u001b[2J: "\n" there, null asked']


@pytest.mark.parametrize('content', ['', '{', '[1]', '"text"', '{"a": 1', '\x00', '[' * 100_000])
def test_a_configuration_that_is_none_is_refused(tmp_path, content):
    (tmp_path / 'config.json').write_text(content)
    with pytest.raises(UserError, match=r'config\.json should'):
        records.read_config(tmp_path)


@pytest.mark.parametrize('content', [{'options': []}, {'record': 'x'}, {'environment': 3}])
def test_parts_of_a_configuration_are_objects(tmp_path, content):
    records.write_config(tmp_path, content)
    with pytest.raises(UserError, match='should be a JSON object'):
        records.read_config(tmp_path)


SCORES = {'rank1': 0.5, 'nauc': None, 'sequences': 3}


@pytest.mark.parametrize(
    'kinds',
    [
        {},
        {'selected': {'epoch': 3, 'select': 'val'}, 'last': {**SCORES, 'epoch': 4}},
        {'selected': SCORES, 'all_sequences': {**SCORES, 'nauc': 0.5}, 'tasks': {'sorting': SCORES}},
        {'all_sequences': {**SCORES, 'rank_n': [0.5, 1], 'intervals': {'rank1': [0.1, None]}}},
    ],
)
def test_results_come_back(tmp_path, kinds):
    records.write_results(tmp_path, {'test_sets': {'Still': kinds}, 'other': 1})
    assert records.read_results(tmp_path) == {'test_sets': {'Still': kinds}, 'other': 1}


@pytest.mark.parametrize(
    'test_sets',
    [
        [],
        {'Still': []},
        {'Still': {'last': []}},
        {'Still': {'last': SCORES}},
        {'Still': {'last': {**SCORES, 'epoch': 'x'}}},
        {'Still': {'selected': {'select': 'else'}}},
        {'Still': {'selected': {**SCORES, 'rank1': 'x'}}},
        {'Still': {'all_sequences': {'rank1': 1}}},
        {'Still': {'tasks': {'sorting': {}}}},
        {'Still': {'tasks': []}},
        {'Still': {'all_sequences': {**SCORES, 'rank_n': 'x'}}},
        {'Still': {'all_sequences': {**SCORES, 'intervals': {'rank1': [1]}}}},
        {'Still': {'all_sequences': {**SCORES, 'rank1': 10**400}}},
    ],
)
def test_results_that_are_none_are_refused(tmp_path, test_sets):
    records.write_results(tmp_path, {'test_sets': test_sets})
    with pytest.raises(UserError, match=r'results\.json: .* should hold scores .* delete the file'):
        records.read_results(tmp_path)


# Histories -----------------------------------------------------------------------------------------------------------


def test_histories_come_back_with_columns_that_come_later(tmp_path):
    rows = [
        {'epoch': 1, 'loss': 0.1},
        {'epoch': 2, 'loss': 1e-30, 'note': 'best, so far'},
        {'epoch': 3, 'loss': float('inf')},
    ]
    assert records.read_history(tmp_path) == []
    records.write_history(tmp_path, rows)
    assert records.read_history(tmp_path) == rows
    assert (tmp_path / 'history.csv').read_text().splitlines()[:2] == ['epoch,loss,note', '1,0.1,']


@given(
    st.lists(
        st.dictionaries(
            st.text('abc', min_size=1, max_size=3),
            st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text('xyz ,"\n', min_size=1, max_size=5),
            min_size=1,
            max_size=4,
        ),
        max_size=8,
    )
)
def test_any_history_comes_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp('run')
    records.write_history(folder, rows)
    assert records.read_history(folder) == rows


@pytest.mark.parametrize('content', [b'a,b\n1\n', b'a\n1,2\n', b'a\n"open\n', b'\xff\xfe', b'a\n1\n\n2\n'])
def test_a_table_that_is_no_history_is_refused(tmp_path, content):
    (tmp_path / 'history.csv').write_bytes(content)
    with pytest.raises(UserError, match=r'history\.csv.*repair or delete'):
        records.read_history(tmp_path)
    assert (tmp_path / 'history.csv').read_bytes() == content
