"""Both protocols of CASIA-B through train.py and evaluate.py on simulated views, against NumPy twins of what they say.

Four people, two views, five walks a person (two normal, two with a bag, one in a coat); one epoch. The twins read the
files that the runs read and write, with nothing of the package's own but the reader of checkpoints.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from sge_la.checkpoints import read_checkpoint
from sge_la.errors import run_command
from sge_la.sweep import __main__ as sweep
from tests.model import twin
from tests.paper.casia_b_cases import VIEWS, write_simulated

pytestmark = pytest.mark.slow
CASIA = ('--dataset', 'CASIA_B', '--gpu', '-1')
HALF_DIGIT = 0.0501  # tables are printed to a tenth of a percent
VIEW_RUN = 'CASIA_B_LA_RN_ap_20_0.15_0view_{}pre_rev_rec_test_adj_2'


def places(folder: Path) -> list[str]:
    return ['--data_dir', str(folder / 'Datasets'), '--models_dir', str(folder / 'Models')]


def printed(main, *flags: str) -> list[str]:
    """The lines that a command prints, without those to stderr."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main([*CASIA, '--verbose', *flags])
    return out.getvalue().split('\n')


def row(lines: list[str], name: str) -> list[float | None]:
    """A row of the table at the end; None for a dash."""
    (line,) = (line for line in lines if line.startswith(name + '  '))
    return [None if value == '-' else float(value) for value in line.removeprefix(name).split()]


@pytest.fixture(scope='module')
def views(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with data and the runs of both views, and what training printed."""
    folder = tmp_path_factory.mktemp('views')
    write_simulated(folder / 'Datasets', 'CVE', 20)
    flags = ['--view', 'all', '--epochs', '1', '--rn_epochs', '2', '--batch_size', '32']
    return folder, printed(train.main, *flags, *places(folder))


def network(folder: Path, view: int) -> Path:
    return folder / 'Models/CAGEs_RN_models' / VIEW_RUN.format(view)


def twin_rank1(run: Path, batch: int, length: int, fill: bool = False) -> float:
    """Rank-1 of a recognition network from its files: frames in whole batches, mean logits of windows of one person."""
    weights = {name: value.astype(float) for name, value in read_checkpoint(run, slots=False).items()}
    X, y = np.load(run / 'val_X.npy').astype(float), np.load(run / 'val_y.npy').argmax(axis=1)
    if len(X) < batch and fill:
        missing = batch - len(X)
        X, y = np.concatenate([X, X[[0] * missing]]), np.concatenate([y, y[[0] * missing]])
    used = len(X) // batch * batch if len(X) >= batch else len(X)
    logits = np.maximum(X @ weights['W1'] + weights['b1'], 0) @ weights['W'] + weights['Variable']
    right = []
    for start in range(0, used - length + 1, length):
        labels = y[start : start + length]
        if (labels == labels[0]).all():
            right.append(logits[start : start + length].mean(axis=0).argmax() == labels[0])
    return float(np.mean(right))


class TestCrossView:
    def test_banner_and_result_lines_are_the_originals(self, views):
        _, lines = views
        for view in VIEWS:
            start = lines.index(f' ## CVE Testing View: View {view}, Degree {18 * view}')
            assert lines[start - 6 : start] == [
                ' ## Dataset: CASIA_B',
                ' ## Attention: LA',
                ' ## Re-ID Manner: ap',
                ' ## Sequence Length: 20',
                ' ## Temperature: 0.15',
                ' ## Pretext Task: rev_rec',
            ]
            end = lines.index(f'View: view_{view}')
            assert lines[end - 1] == 'Dataset: CASIA_B'
            assert 'Generate CAGEs' in lines[start:end] and not any('dict_keys' in line for line in lines)
        found = [line for line in lines if line.startswith('### Rank-1 Accuracy: ')]
        assert len(found) == 2
        matrix = lines.index('### Re-ID Confusion Matrix: ')
        assert all(re.fullmatch(r'\[ *\d+( +\d+)*\]', line) for line in lines[matrix + 1 : matrix + 3])

    def test_missing_views_have_no_column(self, views):
        _, lines = views
        (note,) = (line for line in lines if line.startswith('note: views that are not there'))
        assert note.endswith(' 1, 2, 3, 4, 6, 7, 8, 9, 10')
        (head,) = (line for line in lines if line.startswith('here '))
        assert head.split() == ['here', '0', '90']
        assert row(lines, 'CAGE') == [35.5, 76.0]

    def test_a_sweep_finds_the_same_runs_finished(self, views, capsys):
        """What it would train, train.py has; its table has the scores of their results.json."""
        folder, _ = views
        flags = ['--view', 'all', '--epochs', '1', '--rn_epochs', '2', '--batch_size', '32', '--verbose']
        assert run_command(sweep.main, [*CASIA, *flags, *places(folder)]) == 0
        assert '2 of 2 runs are finished' in capsys.readouterr().out
        rows = (folder / 'Models' / 'sweep' / 'table.csv').read_text().splitlines()[1:]
        for line, view in zip(rows, VIEWS, strict=True):
            scores = json.loads((network(folder, view) / 'results.json').read_text())['test_sets']['test']
            assert line.startswith(f'CASIA_B,{view},test,best on the test set,1,{scores["all_sequences"]["rank1"]},')

    def test_network_settings_are_the_protocols(self, views):
        config = json.loads((network(views[0], 0) / 'config.json').read_text())['options']
        assert (config['rn_batch_size'], config['rn_rate'], config['protocol'], config['norm']) == (
            320,
            0.005,
            'CVE',
            1,
        )

    def test_rank1_equals_the_twin(self, views):
        """From the test features and the weights beside them, and from the table."""
        folder, lines = views
        expected = [twin_rank1(network(folder, view), 320, 20) for view in VIEWS]
        results = [json.loads((network(folder, view) / 'results.json').read_text()) for view in VIEWS]
        found = [result['test_sets']['test']['selected']['rank1'] for result in results]
        assert found == pytest.approx(expected, abs=1e-9)
        assert row(lines, 'CAGEs, best epoch on the test set') == pytest.approx(
            [100 * v for v in expected], abs=HALF_DIGIT
        )

    def test_features_equal_the_twins(self, views):
        """The first test sequence: its head at the origin, each axis through its encoder, x, y and z side by side."""
        folder, _ = views
        X = np.load(network(folder, 5) / 'val_X.npy')
        data = folder / 'Datasets/CASIA_B/20/view_5/CASIA_B_test_npy_data'
        ids = np.load(data / 'ids_CASIA_B_20.npy', allow_pickle=True).item()
        number = ids[1][0]
        for place, axis in enumerate('xyz'):
            frames = np.load(data / f't_source_{axis}_CASIA_B_20.npy').reshape(-1, 20, 14)[number]
            _, _, contexts, _ = twin.encode_sequence(encoder_weights(folder, axis, 20, 5), frames - frames[:, :1])
            found = X[:20, 256 * place : 256 * (place + 1)]
            np.testing.assert_allclose(found, contexts, atol=2e-5)

    def test_coordinates_and_chance_equal_the_twin(self, views):
        """The nearest training sequence of each test sequence, one by one; four people."""
        folder, lines = views
        assert row(lines, 'chance') == [25.0, 25.0]
        expected = {'raw': [], 'normalised': []}
        for view in VIEWS:
            known, asked = (flat_coordinates(folder, view, part) for part in ('train', 'test'))
            for name, centred in (('raw', False), ('normalised', True)):
                right = []
                for vector, person in zip(*asked(centred), strict=True):
                    vectors, people = known(centred)
                    right.append(people[np.linalg.norm(vectors - vector, axis=1).argmin()] == person)
                expected[name].append(100 * np.mean(right))
        assert row(lines, 'nearest, raw coordinates') == pytest.approx(expected['raw'], abs=HALF_DIGIT)
        assert row(lines, 'nearest, normalised coordinates') == pytest.approx(expected['normalised'], abs=HALF_DIGIT)

    def test_evaluation_prints_the_same_table(self, views):
        folder, lines = views
        found = printed(evaluate.main, '--view', 'all', *places(folder))
        table = lines[lines.index('in the paper') - 7 :]
        assert found[found.index('in the paper') - 7 :] == table
        assert [line for line in found if line.startswith('###')] == [
            line for line in lines if line[:5] in ('### R', '### n', '### C')
        ]

    def test_a_folder_is_evaluated_by_its_name(self, views, tmp_path):
        """A copy with nothing but the files that the authors publish: all that the run was is in the name."""
        folder, lines = views
        run = tmp_path / network(folder, 5).name
        run.mkdir()
        for path in [*network(folder, 5).glob('*.npy'), *network(folder, 5).glob('trained_model.ckpt.*')]:
            shutil.copy(path, run)
        found = printed(evaluate.main, '--RN_dir', str(run), '--batch_size', '320', *places(folder))
        assert ' ## CVE Testing View: View 5, Degree 90' in found
        name = 'CAGEs, best epoch on the test set'
        assert row(found, name) == [row(lines, name)[1]]

    def test_few_rows_are_filled_up_as_the_original_does(self, views):
        """`--faithful` with batches of more rows than there are: copies of the first row are scored."""
        folder, _ = views
        run = network(folder, 0)
        rows = len(np.load(run / 'val_X.npy', mmap_mode='r'))
        batch = 2 * rows
        flags = ['--batch_size', str(batch), *places(folder)]
        plain, faithful = (printed(evaluate.main, *flags, *more) for more in ([], ['--faithful']))
        name = 'CAGEs, best epoch on the test set'
        assert row(plain, name) == pytest.approx([100 * twin_rank1(run, batch, 20)], abs=HALF_DIGIT)
        assert row(faithful, name) == pytest.approx([100 * twin_rank1(run, batch, 20, fill=True)], abs=HALF_DIGIT)

    def test_a_view_that_is_not_there_ends_with_one_sentence(self, views, capsys):
        assert run_command(train.main, [*CASIA, '--view', '3', *places(views[0])]) == 2
        error = capsys.readouterr().err
        assert error.startswith('error: view 3 (54 degrees) of CASIA_B is not there') and error.count('\n') == 1


def encoder_weights(folder: Path, axis: str, length: int, view: int | None) -> dict[str, np.ndarray]:
    shown, ending = ('', 'mid_match') if view is None else (f'view_{view}', 'test_adj_2')
    run = folder / f'Models/Gait_Encoding_models/CASIA_B_LA_{axis}_{length}_0.15_0{shown}pre_rev_rec_{ending}'
    return {name: value.astype(float) for name, value in read_checkpoint(run, slots=False).items()}


def flat_coordinates(folder: Path, view: int, part: str):
    """A function that gives (all coordinates of each sequence `[N, T·J·3]`, people `[N]`), centred or not."""
    data = folder / f'Datasets/CASIA_B/20/view_{view}/CASIA_B_{part}_npy_data'
    prefix = 't_' if part == 'test' else ''
    axes = [np.load(data / f'{prefix}source_{axis}_CASIA_B_20.npy').reshape(-1, 20, 14) for axis in 'xyz']
    people = np.load(data / 'frame_id_CASIA_B_20.npy')

    def give(centred: bool):
        values = [axis - axis[:, :, :1] if centred else axis for axis in axes]
        return np.stack(values, axis=-1).reshape(len(people), -1), people

    return give


@pytest.fixture(scope='module')
def matched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with data and encoders of condition-based matching, and what the run of the whole table printed."""
    folder = tmp_path_factory.mktemp('matched')
    write_simulated(folder / 'Datasets', 'CME', 50)
    flags = ['--probe_type', 'all', '--epochs', '1', '--batch_size', '8']
    return folder, printed(train.main, *flags, *places(folder))


class TestConditions:
    def test_lines_are_the_originals(self, matched):
        _, lines = matched
        assert ' ## Training Recognition Network: False' in lines  # the original says True and trains none
        for probe, gallery in (('cl', 'nm'), ('nm', 'nm')):
            place = next(
                place
                for place, line in enumerate(lines)
                if line == f'[Probe]: {probe}' and lines[place + 1] == f'[Gallery]: {gallery}'
            )
            assert lines[place - 1] == 'Length: 50'
            assert lines[place + 2].startswith('Rank-1 Accuracy: ')
        (head,) = (line for line in lines if line.startswith('here '))
        assert head.split() == ['here', 'Nm-Nm', 'Bg-Bg', 'Cl-Cl', 'Cl-Nm', 'Bg-Nm']

    def test_rank1_equals_the_twin(self, matched):
        """From the arrays and the encoders' weights: centred, encoded frame by frame, matched one by one.

        Persons 3 and 4 with two normal walks and one in a coat, each seen from two views at once.
        """
        folder, lines = matched
        encoded = {name: twin_condition(folder, name) for name in ('nm', 'cl')}
        for column, (probe, gallery) in {0: ('nm', 'nm'), 3: ('cl', 'nm')}.items():
            right = []
            known, people, walks = encoded[gallery]
            for vector, person, walk in zip(*encoded[probe], strict=True):
                distances = np.where(walks == walk, np.inf, np.linalg.norm(known - vector, axis=1))
                right.append(people[distances.argmin()] == person)
            assert row(lines, 'CAGEs, Euclidean')[column] == pytest.approx(100 * np.mean(right), abs=HALF_DIGIT)

    def test_encoders_are_trained_once_and_matched_again(self, matched):
        folder, lines = matched
        found = printed(evaluate.main, '--probe_type', 'cl.nm', *places(folder))
        assert not any('Training' in line for line in found)
        for name in ('chance', 'nearest, raw coordinates', 'CAGEs, Euclidean', 'CAGEs, cosine'):
            assert row(found, name) == [row(lines, name)[3]]
        again = printed(train.main, '--probe_type', 'bg.bg', '--epochs', '1', '--batch_size', '8', *places(folder))
        assert any(line.startswith('Gait encoders are trained already') for line in again)

    def test_a_pair_that_cannot_be_matched_has_no_numbers(self, matched, capsys):
        """Nobody has a second walk in a coat, so that nothing right is left in the gallery."""
        folder, lines = matched
        assert row(lines, 'chance')[2] is None and None not in row(lines, 'chance')[:2] + row(lines, 'chance')[3:]
        assert any(line.startswith('warning: cl.cl has no numbers: matching needs a probe') for line in lines)
        assert run_command(evaluate.main, [*CASIA, '--probe_type', 'cl.cl', *places(folder)]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith('error: matching needs a probe')

    def test_the_originals_way_has_a_row_of_its_own(self, matched):
        folder, lines = matched
        found = printed(evaluate.main, '--probe_type', 'all', '--faithful', *places(folder))
        assert len(row(found, "CAGEs, the original's way")) == 5
        assert row(found, 'CAGEs, Euclidean') == row(lines, 'CAGEs, Euclidean')
        kept = folder / 'Models/CAGEs_RN_models/CASIA_B_LA_RN_sc_50_0.15_0pre_rev_rec_mid_match/results.json'
        results = json.loads(kept.read_text())
        assert set(results) == {'ours', 'faithful'}
        assert set(results['ours']) == {'nm.nm', 'bg.bg', 'cl.nm', 'bg.nm'}
        assert set(results['ours']['nm.nm']) == {'rank1', 'euclidean', 'cosine'}

    def test_missing_encoders_end_with_one_sentence(self, matched, tmp_path, capsys):
        folder, _ = matched
        flags = ['--protocol', 'CME', '--data_dir', str(folder / 'Datasets'), '--models_dir', str(tmp_path)]
        assert run_command(evaluate.main, [*CASIA, *flags]) == 2
        error = capsys.readouterr().err
        assert 'CASIA_B_LA_x_50_0.15_0pre_rev_rec_mid_match' in error and error.splitlines()[-1].startswith('error: ')


def twin_condition(folder: Path, condition: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequence-level CAGEs `[N, 3·50·256]`, people and walks of a condition's sequences."""
    data = folder / f'Datasets/CASIA_B_match/50/CASIA_B_test_npy_data/{condition}'
    features = []
    for axis in 'xyz':
        weights = encoder_weights(folder, axis, 50, None)
        sequences = np.load(data / f't_source_{axis}_CASIA_B_50.npy').reshape(-1, 50, 14)
        contexts = [twin.encode_sequence(weights, frames - frames[:, :1])[2].ravel() for frames in sequences]
        features.append(np.array(contexts))
    people, walks = (np.load(data / f'{name}_CASIA_B_50.npy') for name in ('frame_id', 't_recording'))
    return np.concatenate(features, axis=1), people, walks
