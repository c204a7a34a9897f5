"""What the benchmarks share; their numbers themselves are not tested, since they belong to a machine."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import common, encoder_step, end_to_end, kernels, peers, scaling, step_model
from sge_la.errors import UserError
from tests.command_line_cases import uncompiled

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


SMALL = {
    'encoder_step': ('--length 2 --joints 3 --batch_size 4', 'fraction_of_matrix_rate'),
    'step_model': ('--length 2 --joints 3 --batch_sizes 2 4', 'seconds_per_step'),
    'extraction': ('--sequences 8 --length 2 --joints 3', 'sequences_per_second'),
    'recognition_step': ('--steps 2 --width 6 --classes 3 --batch_size 4', 'steps_per_second'),
    'gallery': ('--rows 300 --probes 3', 'largest'),
    'evaluation': ('--frames 600 --classes 3 --length 2', 'seconds_bootstrap'),
}


@pytest.fixture
def small_yardstick(monkeypatch):
    """A product that takes no time: the numbers are not looked at."""
    monkeypatch.setattr(common, 'CPU_SIZES', (64,))


@pytest.mark.parametrize('name', SMALL)
def test_each_runs_prints_a_table_and_writes_json(name, tmp_path, capsys, small_yardstick):
    flags, column = SMALL[name]
    path = tmp_path / 'found.json'
    module = importlib.import_module(f'benchmarks.{name}')
    with uncompiled():
        module.main([*flags.split(), '--gpu', '-1', '--repeats', '1', '--json', str(path)])
    found = json.loads(path.read_text())
    assert found['benchmark'] == name
    assert found['machine']['device'] == 'CPU'
    assert found[column] > 0
    shown = capsys.readouterr().out.splitlines()
    assert found['machine']['cpu'] in shown[0]
    assert shown[2].startswith('| ') and set(shown[3]) <= set('| -:')


@pytest.mark.parametrize('name', ['encoder_step', 'extraction', 'recognition_step'])
def test_bfloat16_is_measured_beside_both_yardsticks(name, tmp_path, capsys, small_yardstick):
    path = tmp_path / 'found.json'
    module = importlib.import_module(f'benchmarks.{name}')
    flags = [*SMALL[name][0].split(), '--precision', 'bfloat16', '--gpu', '-1', '--repeats', '1', '--json', str(path)]
    with uncompiled():
        module.main(flags)
    found = json.loads(path.read_text())
    assert found['machine']['matrix_products'] == 'bfloat16'
    for ending in ('', '_bfloat16'):
        part = found['gflops'] / found[f'matrix_gflops{ending}']
        assert found[f'fraction_of_matrix_rate{ending}'] == pytest.approx(part)
    shown = capsys.readouterr().out
    assert all(f'a large matrix product{words}, GFLOP/s' in shown for words in ('', ' of bfloat16'))


def test_a_step_is_its_share_of_those_timed_together(tmp_path, small_yardstick):
    path = tmp_path / 'found.json'
    with uncompiled():
        flags = [*SMALL['encoder_step'][0].split(), '--steps', '3', '--gpu', '-1', '--repeats', '1']
        encoder_step.main([*flags, '--json', str(path)])
    found = json.loads(path.read_text())
    assert found['steps_timed_together'] == 3
    assert found['gflops'] == pytest.approx(found['gflop_per_step'] / found['seconds_per_step'])


def test_kernels_are_looked_at_on_a_gpu_alone():
    """Refused before anything is measured."""
    with pytest.raises(UserError, match='--kernels looks at a GPU'):
        encoder_step.main(['--kernels', '--gpu', '-1'])


def test_kernels_by_hand():
    """Two steps: a product of 4 and 6 µs, a copy of 2, a fusion with a sum of 1; a joined product counts as a copy."""
    events = [('gemm_fusion_dot_1', 4000), ('gemm_fusion_dot_1', 6000), ('MemcpyD2D', 2000), ('input_reduce_2', 1000)]
    found = kernels.summary([*events, ('loop_concatenate_3', 3000)], steps=2)
    assert found['microseconds'] == {'matrix products': 5, 'copies': 2.5, 'sums': 0.5}
    assert found['launches'] == {'matrix products': 1, 'copies': 1, 'sums': 0.5}
    assert found['longest'][:2] == [('gemm_fusion_dot_1', 5), ('loop_concatenate_3', 1.5)]
    assert kernels.table(found).splitlines()[-1].split() == ['|', 'input_reduce_2', '|', '0.5', '|']


def test_rates_beside_the_better_yardstick_by_hand():
    found = common.beside_yardstick(6, {'float32': 10, 'bfloat16': 30}, {'float32': 12, 'bfloat16': 24})
    assert found == {
        'gflops': 6,
        'matrix_gflops': 12,
        'fraction_of_matrix_rate': 0.5,
        'matrix_gflops_bfloat16': 30,
        'fraction_of_matrix_rate_bfloat16': 0.2,
    }
    assert common.yardstick_rows(common.beside_yardstick(6, {'float32': 12})) == [
        ('rate, GFLOP/s', '6'),
        ('rate of a large matrix product, GFLOP/s', '12'),
        ('fraction of the matrix rate', '0.50'),
    ]


@pytest.mark.parametrize('stage', ['encoders', 'network', 'modern'])
def test_runs_together_are_measured_beside_runs_alone(stage, tmp_path, capsys):
    path = tmp_path / 'found.json'
    flags = f'--stage {stage} --runs 1 2 --steps 2 --length 2 --joints 3 --batch_size 4 --repeats 1 --gpu -1'
    with uncompiled():
        importlib.import_module('benchmarks.together').main([*flags.split(), '--json', str(path)])
    found = json.loads(path.read_text())
    assert [line['runs'] for line in found['runs']] == [1, 2]
    assert all(line['processor_ratio'] > 0 for line in found['runs'])
    assert capsys.readouterr().out.splitlines()[2].startswith('| runs | ')


@pytest.mark.slow
def test_scaling_measures_each_setting_apart(tmp_path, capsys):
    path = tmp_path / 'found.json'
    scaling.main(['--tiny', '--joints', '3', '--gpu', '-1', '--json', str(path)])
    found = json.loads(path.read_text())
    assert [line['sequences'] for line in found['sequences']['settings']] == [8, 16]
    assert [line['batch'] for line in found['batch']['settings']] == [2, 4]
    assert all(line['peak_bytes'] > 2**20 for line in found['length']['settings'])
    assert capsys.readouterr().out.count('Off a straight line') == 3


def test_a_fixed_time_and_one_for_each_sequence_by_hand():
    assert step_model.fit({2: 7.0, 4: 11.0, 8: 19.0}) == pytest.approx((3.0, 2.0))
    fixed, each = step_model.fit({1: 1.0, 2: 1.0})  # 1 and 2 of a line through (1, 1) and (2, 1)
    assert (fixed, each) == pytest.approx((1.0, 0.0), abs=1e-12)


def test_points_off_a_line_by_hand():
    """The line through (1, 0), (2, 3), (3, 0) nearest in squares is y = 1: off by 2, two thirds of 3."""
    lines = [{'length': x, 'seconds': y, 'peak_bytes': 2 * x} for x, y in ((1, 0), (2, 3), (3, 0))]
    found = scaling._straightness('length', lines)
    assert found['seconds_off_line'] == pytest.approx(2 / 3)
    assert found['peak_bytes_off_line'] == pytest.approx(0, abs=1e-12)


def test_parts_of_a_run_by_hand():
    lines = [
        (2.0, 'reading'),
        (5.0, ' Begin Training on Dimension [X, Y, Z]'),
        (9.0, 'Epoch   1/2 Batch'),
        (10.0, 'Epoch   2/2'),
    ]
    lines += [(11.0, 'Model Trained and Saved'), (14.0, 'Train a recognition network'), (15.5, 'Epoch   1/1')]
    assert list(end_to_end.parts_of(lines, 16.0).values()) == [5.0, 4.0, 2.0, 3.0, 1.5, 0.5]
    assert sum(end_to_end.parts_of(lines[:3], 16.0).values()) == 16.0  # parts that did not come are left out


@pytest.mark.slow
def test_end_to_end_runs_both_commands(write_tiny, tmp_path, capsys):
    data = write_tiny(each=8)
    path = tmp_path / 'found.json'
    flags = ['--dataset', 'BIWI', '--data_dir', str(data), '--flags=--batch_size=8', '--epochs', '1']
    end_to_end.main([*flags, '--rn_epochs', '1', '--gpu', '-1', '--json', str(path)])
    found = json.loads(path.read_text())
    assert len(found['parts']) == 6
    assert sum(found['parts'].values()) == pytest.approx(found['seconds_train'])
    assert found['bytes_features'] > 0
    assert 'evaluate.py, from start to end' in capsys.readouterr().out


@pytest.mark.parametrize('name', [*SMALL, 'scaling', 'end_to_end', 'together'])
def test_json_in_a_missing_folder_is_refused_first(name, tmp_path):
    module = importlib.import_module(f'benchmarks.{name}')
    with pytest.raises(UserError, match='existing folder'):
        module.main(['--json', str(tmp_path / 'missing' / 'found.json')])


@pytest.mark.slow
def test_peers_take_the_same_steps_in_turn(tmp_path, capsys):
    """Refused if their costs are apart; without PyTorch, Keras alone stands beside ours."""
    path = tmp_path / 'found.json'
    flags = ['--length', '2', '--joints', '3', '--batch_size', '4', '--steps', '2', '--repeats', '1']
    peers.main([*flags, '--json', str(path)])
    found = json.loads(path.read_text())
    assert found['cost_keras'] == pytest.approx(found['cost_ours'], rel=peers.CLOSE)
    assert found['ratio_keras'] == pytest.approx(found['cpu_keras'] / found['cpu_ours'])
    assert ('ratio_torch' in found) == (importlib.util.find_spec('torch') is not None)
    assert 'keras / ours' in capsys.readouterr().out
