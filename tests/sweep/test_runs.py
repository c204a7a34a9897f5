"""Which runs a sweep has, and what is refused of its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sge_la.errors import UserError
from sge_la.settings.command_line import parse_train
from sge_la.sweep import single
from sge_la.sweep.runs import MOST_RUNS, read_grids, runs_of
from tests.command_line_cases import CAGES

ROOT = Path(__file__).resolve().parents[2]


class TestRuns:
    def test_every_combination_with_seeds_fastest(self):
        runs = runs_of([{'seed': [3, 1], 'dataset': ['BIWI'], 'manner': ['ap', 'sc']}])
        found = [(run.options.manner, run.options.seed, run.options.by_seed) for run in runs]
        assert found == [('ap', 3, True), ('ap', 1, True), ('sc', 3, True), ('sc', 1, True)]
        assert runs[1].folder == Path('Models') / CAGES / 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec_seed-1'

    def test_runs_are_seeds(self):
        runs = runs_of([{'runs': [3], 'seed': [5], 'dataset': ['IAS']}])
        assert [(run.options.seed, run.options.runs) for run in runs] == [(5, 1), (6, 1), (7, 1)]

    def test_zero_is_a_value(self):
        runs = runs_of([{'dataset': ['KS20'], 'view': [0, 1]}])
        assert [run.options.view for run in runs] == [0, 1]
        [run] = runs_of([{'dataset': ['CASIA_B'], 'view': [1], 'norm': [0], 'train_flag': [0]}])
        assert (run.options.norm, run.options.train_flag) == (0, 0)

    def test_one_seed_keeps_the_usual_folder(self):
        [run] = runs_of([{'dataset': ['KS20'], 'seed': [0], 'attention': [None]}])
        assert run.options == parse_train(['--dataset', 'KS20', '--seed', '0'])

    def test_a_run_that_two_grids_ask_for_is_one(self):
        assert len(runs_of([{'dataset': ['BIWI', 'IAS']}, {'dataset': ['IAS']}])) == 2

    def test_all_views_of_casia_b(self, tmp_path):
        for view in (2, 7):
            (tmp_path / f'CASIA_B/20/view_{view}').mkdir(parents=True)
        runs = runs_of([{'dataset': ['CASIA_B'], 'view': ['all'], 'data_dir': [str(tmp_path)]}])
        assert [run.options.view for run in runs] in ([2, 7], [0])

    def test_the_file_in_the_documents(self, tmp_path):
        text = (ROOT / 'docs' / 'scaling.md').read_text(encoding='utf-8')
        (tmp_path / 'sweep.json').write_text(text.partition('```json\n')[2].partition('```')[0])
        grids = read_grids(tmp_path / 'sweep.json')
        assert len(runs_of(grids[:2])) == 2 * 2 * 5 + 5 * 2 * 5
        assert grids[2] == {'dataset': ['CASIA_B'], 'view': ['all'], 'length': [20, 40]}

    def test_what_shares_encoders_is_one_job(self):
        grids = [{'dataset': ['BIWI'], 'manner': ['ap', 'sc'], 'seed': [0, 1]}]
        every = [
            run.options for run in runs_of([*grids, {'dataset': ['IAS'], 'transfer': ['BIWI'], 'by_seed': [True]}])
        ]
        parts = single.chains(every)
        assert [[(o.manner, o.seed) for o in part] for part in parts] == [
            [('ap', 0), ('sc', 0)],
            [('ap', 1), ('sc', 1)],
            [('ap', 0)],
        ]

    def test_who_only_reads_an_encoder_waits_for_none(self):
        """Unless the encoder is trained in the same sweep: then they come one after the other."""
        reads = {'dataset': ['IAS', 'KS20'], 'transfer': ['KGBD']}
        assert len(single.chains([run.options for run in runs_of([reads])])) == 2
        assert len(single.chains([run.options for run in runs_of([{'dataset': ['KGBD']}, reads])])) == 1


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ({'datset': 'BIWI'}, "no flag 'datset' (did you mean dataset?)"),
        ({'config': 'x.json'}, "no flag 'config'"),
        ({'devices': 2}, "no flag 'devices'"),
        ({'length': [6, 'six']}, 'expected a number of frames'),
        ({'length': [[6]]}, 'length: expected a value or a list of values'),
        ({'length': []}, 'length: expected a value or a list of values'),
        ({'faithful': 'yes'}, 'faithful should be true or false'),
        ({'seed': True}, 'expected a whole number'),
        ({'dataset': 'BIWI --overwrite'}, "expected a data set's name"),
        ([{'dataset': 'BIWI'}, 3], 'should hold the flags of a sweep'),
        ([], 'should hold the flags of a sweep'),
        ({'dataset': 'BIWI', 'seed': list(range(200)), 'length': list(range(2, 60))}, f'at most {MOST_RUNS} runs'),
        ({'dataset': 'BIWI', 'runs': 100_000}, f'at most {MOST_RUNS} runs'),
        ({'dataset': 'BIWI', 'runs': MOST_RUNS // 2, 't': [0.1, 0.2, 0.3]}, f'at most {MOST_RUNS} runs'),
        ({'dataset': 'BIWI', 'epochs': [5, 10]}, '--epochs 10 and --epochs 5 would share the folder'),
        ({'dataset': 'BIWI', 'encoding': 'AGE', 'frozen': [0, 1]}, '--frozen and --c_reid need the contrast head'),
        ({'dataset': 'CASIA_B', 'probe_type': 'all'}, '--protocol CME trains no recognition network'),
        ({'models_dir': 'x' * 2**20}, 'is larger'),
    ],
)
def test_what_is_refused_of_a_file(tmp_path, content, words):
    path = tmp_path / 'sweep.json'
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        runs_of(read_grids(path))
    assert words in str(caught.value) and '\n' not in str(caught.value)
