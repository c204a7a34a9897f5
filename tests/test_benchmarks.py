"""What the benchmarks share; their numbers themselves are not tested, since they belong to a machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import common
from sge_la.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


def test_timing_by_hand():
    """Median of 1, 2, 4 is 2; the spread is (4 − 1) / 2."""
    timing = common.Timing((4.0, 1.0, 2.0))
    assert (timing.median, timing.best, timing.spread) == (2.0, 1.0, 1.5)


def test_measure_leaves_the_warm_up_out():
    calls = []
    timing = common.measure(lambda: calls.append(None), repeats=3, warm_up=2)
    assert len(calls) == 5
    assert len(timing.seconds) == 3


@pytest.mark.parametrize(('repeats', 'warm_up'), [(0, 1), (1, -1)])
def test_measure_refuses_impossible_counts(repeats, warm_up):
    with pytest.raises(ValueError, match='repeats'):
        common.measure(lambda: None, repeats=repeats, warm_up=warm_up)


def test_table_by_hand():
    table = common.format_table(['stage', 'seconds', 'steps'], [['encoder', 0.25, 12345], ['x', 0.0001, None]])
    assert table.splitlines() == [
        '| stage   |   seconds |  steps |',
        '| ------- | --------: | -----: |',
        '| encoder |      0.25 | 12,345 |',
        '| x       | 1.000e-04 |      - |',
    ]


def test_table_without_rows_and_with_a_short_row():
    assert common.format_table(['a', 'b'], []).splitlines() == ['| a | b |', '| - | - |']
    with pytest.raises(ValueError, match='rows of 2'):
        common.format_table(['a', 'b'], [[1]])


def test_json_holds_facts_and_results(tmp_path):
    path = tmp_path / 'encoder_step.json'
    common.write_json(path, 'encoder_step', {'cores': 2}, {'seconds_per_step': 0.1})
    expected = {'benchmark': 'encoder_step', 'machine': {'cores': 2}, 'seconds_per_step': 0.1}
    assert json.loads(path.read_text()) == expected
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_json_path_is_refused_before_measuring(tmp_path):
    common.check_json_path(None)
    common.check_json_path(tmp_path / 'new.json')
    with pytest.raises(UserError, match='is a folder'):
        common.check_json_path(tmp_path)
    with pytest.raises(UserError, match='existing folder'):
        common.check_json_path(tmp_path / 'missing' / 'new.json')


@pytest.mark.parametrize('repeats', ['0', '-1', 'many', '1.5'])
def test_parser_refuses_impossible_repeats(repeats, capsys):
    with pytest.raises(SystemExit) as stopped:
        common.argument_parser('encoder_step', 'Times a step.').parse_args(['--repeats', repeats])
    assert stopped.value.code == 2
    assert '--repeats' in capsys.readouterr().err


def test_peak_memory_sees_what_was_held():
    """64 MiB that were written to count; the unit is bytes, not the system's kilobytes."""
    block = bytearray(64 * 2**20)
    block[::4096] = b'x' * len(block[::4096])
    assert 64 * 2**20 < common.peak_memory() < 2**40


def test_yardstick_and_facts_agree_on_the_backend():
    facts = common.start('-1')
    assert facts['backend'] in ('tensorflow', 'jax')
    assert facts['cores'] >= 1
    assert facts['device'] == 'CPU'
    assert facts['backend'] in common.format_facts(facts)
    assert common.matrix_rate(sizes=(64,), repeats=1) > 0


def test_importing_is_light():
    """`--help` and a refused flag must not wait for a backend."""
    code = "import sys, benchmarks.common; print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == '[]'
