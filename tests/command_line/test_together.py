"""`--runs N --together`: the folders and files of N runs, one after the other."""

from __future__ import annotations

import signal

import pytest

from tests.disturbance import outcome, stopping


@pytest.mark.parametrize(
    'flags',
    [
        pytest.param('--select val', marks=pytest.mark.slow),
        '--recipe modern --batch_size 8',
        pytest.param('--model rev_rec_plus', marks=pytest.mark.slow),
        pytest.param('--ablation GE', marks=pytest.mark.slow),
    ],
)
def test_runs_together_write_what_runs_alone_write_however_often_they_are_stopped(commands, tmp_path, flags):
    """Stopped when the first state is on the disk: that of one seed and not yet of the other."""
    sizes = {'epochs': 2, 'rn_epochs': 2}
    flags = f'--dataset DEMO --runs 2 {flags}'
    commands.train(flags, models_dir=tmp_path / 'Alone', **sizes)
    alone = commands.out
    with stopping(signal.SIGTERM, lambda: any(commands.models_dir.rglob('resume.npz'))):
        assert commands.try_train(f'{flags} --together', **sizes) == 143
    assert 'goes on after the last finished epoch' in commands.err
    unfinished = any(commands.models_dir.rglob('resume.npz'))  # not where the last epoch ended before the signal came
    commands.train(f'{flags} --together', **sizes)
    assert unfinished == any(f'seed {seed}: Found an unfinished run' in commands.out for seed in (0, 1))
    assert outcome(commands.models_dir) == outcome(tmp_path / 'Alone')
    assert commands.out.splitlines()[-5:-1] == alone.splitlines()[-5:-1]
