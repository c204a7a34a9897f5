"""Tests of the fuzzer itself."""

import random

import pytest

from sge_la.errors import UserError
from tests.fuzz.bounds import hold_to_its_word
from tests.fuzz.mutation import cases, mutate


def test_the_same_seed_damages_in_the_same_way():
    content = bytes(range(256))
    assert [mutate(content, random.Random(n)) for n in range(50)] == [
        mutate(content, random.Random(n)) for n in range(50)
    ]
    assert list(cases([content], range(20))) == list(cases([content], range(40)))[:20]
    assert list(cases([content], range(20))) != list(cases([content], range(20), seed=1))


def test_almost_every_case_differs_from_the_file_and_from_the_others():
    content = b'{"a": [1, 2, 3], "text": "some more"}'
    found = [case for _, case in cases([content], range(500))]
    assert sum(case != content for case in found) > 450
    assert len(set(found)) > 350
    assert any(len(case) < len(content) for case in found) and any(len(case) > len(content) for case in found)


def test_empty_files_can_be_damaged():
    for number in range(200):
        mutate(b'', random.Random(number))


def test_half_of_the_focused_cases_leave_the_rest_alone():
    content = bytes(1000)
    kept = sum(case.endswith(content[10:]) and len(case) < 2000 for _, case in cases([content], range(200), focus=10))
    assert kept >= 100


def raising(error: Exception):
    def read(path):
        raise error

    return read


def test_only_user_errors_are_let_through(tmp_path):
    damaged = [(7, b'x')]
    assert hold_to_its_word(damaged, tmp_path / 'f', raising(UserError('a sentence')), None) == (0, 1)
    for error in (ValueError('x'), MemoryError(), RecursionError(), OSError(5, 'x'), UserError('two\nlines')):
        with pytest.raises(AssertionError, match='case 7'):
            hold_to_its_word(damaged, tmp_path / 'f', raising(error), None)


def test_a_wrong_result_and_too_much_memory_are_found(tmp_path):
    def wrong(result, content):
        assert result == content

    assert hold_to_its_word([(1, b'x')], tmp_path / 'f', lambda path: path.read_bytes(), wrong) == (1, 0)
    with pytest.raises(AssertionError, match='case 1'):
        hold_to_its_word([(1, b'x')], tmp_path / 'f', lambda path: b'y', wrong)
    with pytest.raises(AssertionError, match='MemoryError'):
        hold_to_its_word([(1, b'x')], tmp_path / 'f', lambda path: bytearray(2**31), wrong)
