"""CASIA-B's two protocols: flags, names, the table beside the paper's numbers, and normalised coordinates."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from sge_la.data.normalise import CellScale, head_at_origin
from sge_la.errors import UserError
from sge_la.paper import published
from sge_la.runs.banner import heading
from sge_la.runs.plan import plan_of
from sge_la.settings import names, papers
from sge_la.settings.command_line import parse_evaluate, parse_train
from sge_la.settings.names import RunName, encoder_suffix, parse_run_name, recognition_suffix
from sge_la.settings.papers import PROBE_TYPES

CASIA = ('--dataset', 'CASIA_B')


def train(*flags: str):
    return parse_train([*CASIA, *flags])


def folders(*flags: str) -> tuple[str, str]:
    """The names of the x encoder's folder and of the recognition network's."""
    options = train(*flags)
    task = 'rev_rec' if options.model == 'rev_rec_plus' else options.model
    shared = {'attention': 'LA', 'length': options.length, 'temperature': options.t}
    shared |= {'frozen': options.frozen, 'view': options.view}
    encoder = RunName('encoder', 'CAGE', options.dataset, axis='x', task=task, **shared)
    network = RunName('recognition', 'CAGE', options.dataset, manner=options.manner, task=options.model, **shared)
    suffixes = encoder_suffix(options, task), recognition_suffix(options)
    return tuple(
        replace(name, suffix=suffix).folder(options.models_dir).name
        for name, suffix in zip((encoder, network), suffixes, strict=True)
    )


class TestOptions:
    def test_cross_view_defaults_are_the_originals(self):
        options = train()
        assert (options.protocol, options.view, options.length, options.manner) == ('CVE', 0, 20, 'ap')
        assert (options.t, options.epochs, options.attention, options.norm) == (0.15, 100, 'LA', 1)
        assert (options.rn_epochs, options.rn_batch_size, options.rn_rate) == (1000, 1280, 0.005)
        assert (options.batch_size, options.probe_type, options.double_pretext) == (128, None, '')

    def test_matching_defaults_are_the_originals(self):
        options = train('--protocol', 'CME')
        assert (options.probe_type, options.length, options.manner, options.view) == ('nm.nm', 50, 'sc', None)
        assert (options.t, options.epochs) == (0.15, 100)
        assert train('--probe_type', 'cl.nm') == train('--protocol', 'CME', '--probe_type', 'cl.nm')

    def test_typed_values_stay(self):
        options = train('--length', '6', '--t', '0.5', '--rn_epochs', '3', '--rn_batch_size', '64', '--rn_rate', '0.1')
        assert (options.length, options.t, options.rn_epochs) == (6, 0.5, 3)
        assert (options.rn_batch_size, options.rn_rate) == (64, 0.1)
        assert train('--t', '0.5', '--faithful').t == 0.5  # honoured here, unlike in train.py of the original

    def test_short_sequences_train_half_as_long(self):
        assert [train('--length', str(length)).rn_epochs for length in (19, 20)] == [500, 1000]

    def test_a_smaller_batch_makes_that_of_the_network_smaller(self):
        assert train('--batch_size', '16').rn_batch_size == 160

    def test_other_data_sets_keep_their_settings(self):
        options = parse_train(['--batch_size', '16'])
        assert (options.rn_batch_size, options.rn_rate, options.protocol, options.length) == (16, 0.0005, None, 6)
        assert parse_train(['--dataset', 'KS20', '--view', '4']).view == 4
        assert parse_train(['--dataset', 'KS20', '--view', 'None']).view is None

    def test_only_the_originals_cross_view_scores_fill_a_batch(self):
        assert plan_of(train('--faithful')).fills_batch
        assert not plan_of(train()).fills_batch
        assert not plan_of(train('--faithful', '--protocol', 'CME')).fills_batch
        assert not plan_of(parse_train(['--faithful'])).fills_batch

    def test_evaluation_knows_the_same(self):
        options = parse_evaluate([*CASIA, '--view', '3', '--length', '30'])
        assert (options.protocol, options.view, options.length, options.t) == ('CVE', 3, 30, 0.15)
        assert parse_evaluate([*CASIA, '--protocol', 'CME']).probe_type == 'nm.nm'
        assert parse_evaluate([]).protocol == 'classifier'

    @pytest.mark.parametrize(
        ('flags', 'message'),
        [
            (['--view', '11'], 'has the views 0 to 10, found 11'),
            (['--view', 'left'], "0 to 10 or all, found 'left'"),
            (['--protocol', 'CME', '--view', '0'], '--view is for --protocol CVE'),
            (['--protocol', 'CVE', '--probe_type', 'nm.nm'], '--probe_type is for --protocol CME'),
            (['--probe_type', 'nm'], 'choose from .*nm.nm'),
            (['--probe_type', 'nm.cl'], 'choose from .*nm.nm'),
            (['--protocol', 'CME', '--manner', 'ap'], r'whole sequences \(sc\)'),
            (['--protocol', 'CME', '--select', 'last'], '--select chooses an epoch'),
            (['--double_pretext', 'pred+sort'], 'use it with that model'),
            (['--norm', '2'], 'choose from'),
            (['--encoding', 'AGE'], 'AGE knows nothing of CASIA_B'),
            (['--frozen', '1'], 'not for CASIA_B'),
            (['--transfer', 'KGBD'], 'not for CASIA_B'),
            (['--ablation', 'GE-GD-Rev-BAS'], 'not for CASIA_B'),
            (['--probe', 'nm'], 'use --protocol CME'),
            (['--rn_rate', '0'], 'a learning rate above 0'),
        ],
    )
    def test_nonsense_is_refused(self, flags, message):
        with pytest.raises(UserError, match=message):
            train(*flags)

    @pytest.mark.parametrize(
        ('flags', 'message'),
        [
            (['--protocol', 'CVE'], 'for --dataset CASIA_B alone'),
            (['--probe_type', 'nm.nm'], 'for --dataset CASIA_B alone'),
            (['--norm', '0'], 'for --dataset CASIA_B alone'),
            (['--dataset', 'KS20', '--view', 'all'], 'for --dataset CASIA_B alone'),
            (['--dataset', 'KS20', '--view', '5'], "KS20's views 0 to 4, found 5"),
            (['--dataset', 'CASIA_B_match'], 'letters, digits'),
            (['--model', 'rev_rec_plus', '--double_pretext', 'pred+sort'], 'for --dataset CASIA_B alone'),
        ],
    )
    def test_other_data_sets_refuse_what_is_of_casia_b(self, flags, message):
        with pytest.raises(UserError, match=message):
            parse_train(flags)

    def test_a_whole_table_stands_for_single_runs(self):
        assert [options.view for options in papers.cases(train('--view', 'all'))] == list(range(11))
        probe_types = [options.probe_type for options in papers.cases(train('--probe_type', 'all'))]
        assert probe_types == ['nm.nm', 'bg.bg', 'cl.cl', 'cl.nm', 'bg.nm']
        assert papers.cases(train('--view', '3')) == [train('--view', '3')]
        assert papers.is_table(train('--view', 'all')) and not papers.is_table(train())


class TestNames:
    """What the original's two scripts put together, read in their code."""

    @pytest.mark.parametrize(
        ('flags', 'encoder', 'network'),
        [
            (
                ['--view', '10'],
                'CASIA_B_LA_x_20_0.15_0view_10pre_rev_rec_test_adj_2',
                'CASIA_B_LA_RN_ap_20_0.15_0view_10pre_rev_rec_test_adj_2',
            ),
            (
                ['--probe_type', 'cl.nm', '--length', '60'],
                'CASIA_B_LA_x_60_0.15_0pre_rev_rec_mid_match',
                'CASIA_B_LA_RN_sc_60_0.15_0pre_rev_rec_mid_match',
            ),
            (
                ['--model', 'rev_rec_plus', '--double_pretext', 'rev_rec+pred'],
                'CASIA_B_LA_x_20_0.15_0view_0pre_rev_rec',
                'CASIA_B_RN_ap_20_0.15_0view_0pre_rev_rec_plus_double_rev_rec+pred',
            ),
            (
                ['--model', 'rev_rec_plus'],
                'CASIA_B_LA_x_20_0.15_0view_0pre_rev_rec',
                'CASIA_B_RN_ap_20_0.15_0view_0pre_rev_rec_plus_double_',
            ),
            (
                ['--norm', '0', '--t', '0.5'],
                'CASIA_B_LA_x_20_0.5_0view_0pre_rev_rec_test_adj_2_norm-0',
                'CASIA_B_LA_RN_ap_20_0.5_0view_0pre_rev_rec_test_adj_2_norm-0',
            ),
        ],
    )
    def test_folders(self, flags, encoder, network):
        assert folders(*flags) == (encoder, network)

    @pytest.mark.parametrize(
        'flags',
        [
            [],
            ['--norm', '0'],
            ['--protocol', 'CME'],
            ['--model', 'rev_rec_plus'],
            ['--model', 'rev_rec_plus', '--double_pretext', 'pred+sort', '--norm', '0'],
        ],
    )
    def test_suffixes_tell_the_options(self, flags):
        options = train(*flags)
        found = names.of_casia_b_suffix(recognition_suffix(options))
        assert found == {name: getattr(options, name) for name in ('protocol', 'double_pretext', 'norm')}

    def test_banner(self):
        usual = set(heading(parse_train([])))
        for flags, more in (
            (['--view', '3'], {'CVE Testing View': 'View 3, Degree 54'}),
            (['--view', '3', '--faithful'], {'CVE Testing View': 'View 3, Dgree 54', 'Tempearture': 0.15}),
            (['--probe_type', 'bg.nm'], {'Probe set': 'bg', 'Gallery set': 'nm'}),
        ):
            lines = heading(train(*flags))
            assert {name: value for name, value in lines.items() if name not in usual} == more


class TestTable:
    def test_shape_and_numbers_are_the_papers(self):
        """Two views of eleven; the paper's row is cut to them."""
        text = published.table('CVE', {0: {'chance': 0.25, 'CAGEs': 0.5}, 10: {'chance': 0.25, 'CAGEs': None}}, 20)
        title, head, *rows = text.split('\n')
        assert 'cross-view' in title and '20 frames' in title
        assert head.split() == ['here', '0', '180']
        assert [row.split() for row in rows[:2]] == [['chance', '25.0', '25.0'], ['CAGEs', '50.0', '-']]
        assert rows[-1].split() == ['CAGE', '35.5', '46.3']
        assert rows[2] == 'in the paper'

    def test_conditions_stand_in_the_papers_order(self):
        text = published.table('CME', {name: {'CAGEs': 1.0} for name in PROBE_TYPES}, 50)
        _, head, *rows = text.split('\n')
        assert head.split() == ['here', 'Nm-Nm', 'Bg-Bg', 'Cl-Cl', 'Cl-Nm', 'Bg-Nm']
        assert rows[-1].split() == ['CAGE', '54.3', '37.5', '31.9', '27.0', '36.3']

    def test_every_row_of_the_paper_is_whole(self):
        for protocol, rows in published.PUBLISHED.items():
            assert all(len(values) == len(published.KEYS[protocol]) for values in rows.values())


class TestNormalise:
    @pytest.fixture
    def skeletons(self) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(7, 4, 14, 3)).astype(np.float32)

    def test_head_is_at_the_origin(self, skeletons):
        """Twin: frame by frame and joint by joint. Walking somewhere else changes nothing."""
        found = head_at_origin(skeletons)
        assert found.dtype == np.float32 and (found[:, :, 0] == 0).all()
        for n, t, j in np.ndindex(7, 4, 14):
            np.testing.assert_array_equal(found[n, t, j], skeletons[n, t, j] - skeletons[n, t, 0])
        elsewhere = skeletons + np.array([2, -1, 4], np.float32)
        np.testing.assert_allclose(head_at_origin(elsewhere), found, atol=1e-6)

    def test_cells_are_scaled_apart(self, skeletons):
        """Twin: (x − min) / (max − min + 1) of each cell, as the original writes it."""
        found = CellScale.of(skeletons)(skeletons)
        assert found.dtype == np.float32
        for t, j, a in np.ndindex(4, 14, 3):
            cell = skeletons[:, t, j, a]
            expected = (cell - cell.min()) / (cell.max() - cell.min() + 1)
            np.testing.assert_allclose(found[:, t, j, a], expected, rtol=1e-6)
        assert found.min() == 0 and found.max() < 1

    def test_a_scale_serves_other_sequences(self, skeletons):
        """By hand: the range of a cell is 2 to 5, so that 11 becomes (11 − 2) / (3 + 1) = 2.25."""
        scale = CellScale.of(np.array([2.0, 5.0], np.float32).reshape(2, 1, 1, 1))
        assert scale(np.full((1, 1, 1, 1), 11, np.float32)).item() == 2.25

    def test_scaled_targets_are_scaled_inputs_reversed(self, skeletons):
        """The original scales targets by their own range; they stay the inputs reversed."""
        reversed_ = skeletons[:, ::-1]
        np.testing.assert_array_equal(CellScale.of(reversed_)(reversed_), CellScale.of(skeletons)(skeletons)[:, ::-1])


class TestRunNames:
    @pytest.mark.parametrize(
        ('flags', 'view', 'task', 'suffix'),
        [
            (['--view', '10'], 10, 'rev_rec', '_test_adj_2'),
            (['--view', '3', '--norm', '0'], 3, 'rev_rec', '_test_adj_2_norm-0'),
            (['--view', '3', '--select', 'last'], 3, 'rev_rec', '_test_adj_2_select-last'),
            (['--protocol', 'CME', '--model', 'sorting'], None, 'sorting', '_mid_match'),
            (['--model', 'rev_rec_plus'], 0, 'rev_rec_plus', '_double_'),
            (['--model', 'rev_rec_plus', '--norm', '0'], 0, 'rev_rec_plus', '_double__norm-0'),
            (
                ['--model', 'rev_rec_plus', '--double_pretext', 'rev_rec+sort', '--select', 'val'],
                0,
                'rev_rec_plus',
                '_double_rev_rec+sort_select-val',
            ),
        ],
    )
    def test_names_are_read_back(self, flags, view, task, suffix):
        encoder, network = folders(*flags)
        found = parse_run_name(network)
        assert (found.kind, found.dataset, found.view, found.task, found.suffix) == (
            'recognition',
            'CASIA_B',
            view,
            task,
            suffix,
        )
        assert (found.temperature, found.frozen, found.encoding) == (0.15, 0, 'CAGE')
        assert parse_run_name(encoder).kind == 'encoder' and parse_run_name(encoder).axis == 'x'


def test_options_of_a_run_are_taken_back(tmp_path):
    """`--config` of a run, by both commands: the network's batch is the one that evaluation scores in."""
    trained = train('--view', '7', '--length', '30', '--norm', '0', '--batch_size', '64')
    path = tmp_path / 'config.json'
    path.write_text(json.dumps({'options': asdict(trained)}))
    assert replace(parse_train(['--config', str(path)]), config=None) == trained
    evaluated = parse_evaluate(['--config', str(path)])
    assert (evaluated.protocol, evaluated.view, evaluated.norm, evaluated.batch_size) == ('CVE', 7, 0, 640)


def test_a_folders_normalisation_cannot_be_contradicted():
    def of_folder(name, models_dir):
        return {'dataset': 'CASIA_B', 'norm': 0, 'length': 20, 't': 0.15}

    assert parse_evaluate(['--RN_dir', 'x'], of_folder).norm == 0
    with pytest.raises(UserError, match='--norm 1 contradicts --RN_dir x'):
        parse_evaluate(['--RN_dir', 'x', '--norm', '1'], of_folder)
