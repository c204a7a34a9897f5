"""Scores of trained networks: the original's own run, line by line, and encoders restored from its checkpoints."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sge_la.backends import ops
from sge_la.data import load
from sge_la.evaluation import pipeline
from sge_la.evaluation.scores import LOGIT_ROWS, compiled_recogniser, logits, score, score_everything
from sge_la.evaluation.test_sets import AtHand, ProbeSet, are_alike
from sge_la.features import cages
from sge_la.features.files import FEATURE_RECORD, TEST_STEMS, Features, feature_sources
from sge_la.features.sources import FeatureSource, fill_features
from sge_la.model import recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import initial_params
from sge_la.runs.plan import plan_of
from sge_la.settings.command_line import parse_evaluate
from tests.checkpoints.cases import genuine
from tests.command_line_cases import AGES, CAGES, Commands, refused, uncompiled
from tests.conftest import tiny_split

REV_REC = 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'
PLUS = 'BIWI_RN_ap_6_0.1_0pre_rev_rec_plus'


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture(scope='module')
def original(reference, tmp_path_factory) -> Path:
    """The original's run: `Datasets`, `Models`, `logs`. val_X of plus is told as rows of the other network's val_X."""
    run = tmp_path_factory.mktemp('original')
    with tarfile.open(reference / 'runs' / 'biwi' / 'Datasets.tar.xz') as archive:
        archive.extractall(run, filter='data')
    for name in ('Models', 'logs'):
        shutil.copytree(reference / 'runs' / 'biwi' / name, run / name, copy_function=shutil.copyfile)
    for folder in [run, *run.rglob('*')]:
        folder.chmod(0o755)
    networks = run / 'Models' / CAGES
    rows = np.load(networks / PLUS / 'val_X_as_index_into_rev_rec_val_X.npz')['idx']
    X = np.load(networks / REV_REC / 'val_X.npy')[rows].reshape(-1, 3, 1, 256)
    np.save(networks / PLUS / 'val_X.npy', np.repeat(X, 3, axis=2).reshape(-1, 2304))  # each 256 values three times
    return run


@pytest.fixture
def commands(capsys, original) -> Commands:
    return Commands(capsys, original / 'Datasets', original / 'Models')


def block(text: str) -> str:
    """From the shapes of features and labels to nAUC."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith('(') and line.endswith(', 28)'))
    last = next(number for number, line in enumerate(lines) if line.startswith('### nAUC'))
    return '\n'.join(lines[first : last + 1])


def assert_same_lines(found: str, expected: str) -> None:
    """The same text, but for the digits of nAUC beyond the ninth."""
    *lines, nauc = block(found).splitlines()
    *expected_lines, expected_nauc = block(expected).splitlines()
    assert lines == expected_lines
    assert float(nauc.split(': ')[1]) == pytest.approx(float(expected_nauc.split(': ')[1]), abs=1e-9)


@pytest.mark.reference
@pytest.mark.parametrize(
    ('flags', 'log'),
    [
        ('', 'eval_default.out'),
        ('--dataset BIWI', 'eval_default.out'),
        (f'--RN_dir {REV_REC}', 'eval_default.out'),
        ('--best_model rev_rec_plus', 'eval_defaultbest_modelrev_rec_plus.out'),
        (f'--RN_dir {PLUS}', 'eval_defaultbest_modelrev_rec_plus.out'),
    ],
)
def test_evaluate_prints_what_the_original_printed(commands, original, flags, log):
    """Rank-1 0.940171 and 0.644252, every Rank-n, nAUC, and the matrix as it is laid out, without a data set."""
    commands.data_dir = original / 'Nothing'
    commands.evaluate(flags)
    assert_same_lines(commands.out, (original / 'logs' / log).read_text())
    assert 'all whole windows of the features at hand' in commands.out and 'Last epoch' not in commands.out


@pytest.mark.reference
def test_evaluate_scores_what_the_original_dropped(commands):
    """All 256 test sequences of the data set, where the original scores 234 of the 250 that it encodes."""
    commands.evaluate('')
    split = load('BIWI', 6, commands.data_dir, warn=lambda text: None).tests['Walking']
    total = sum(map(len, split.ids.values()))
    assert f' {total} sequences (nothing dropped)' in commands.out


@pytest.fixture(scope='module')
def sources(original):
    """The original's encoders and the data set."""
    flags = ['--data_dir', str(original / 'Datasets'), '--models_dir', str(original / 'Models'), '--seed', '0']
    options = parse_evaluate(flags)
    return feature_sources(plan_of(options, joints=20))


def encoded(sources, split, rows) -> np.ndarray:
    out = np.empty((len(rows) * 6, 768), np.float32)
    fill_features(out, sources, split.skeletons, rows, 'ap', seed=0, test=True)
    return out


@pytest.mark.reference
def test_restored_encoders_give_the_originals_cages(original, sources):
    """Test features in the original's order; the training features' first 512 rows wherever they stand."""
    dataset = load('BIWI', 6, original / 'Datasets', warn=lambda text: None)
    folder = original / 'Models' / CAGES / REV_REC
    expected = np.load(folder / 'val_X.npy')
    rows = cages.original_rows(dataset.tests['Walking'].ids, pad=False)
    found = encoded(sources, dataset.tests['Walking'], rows)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    labels = np.load(folder / 'val_y.npy').argmax(axis=1)
    assert np.array_equal(np.repeat(dataset.classes(dataset.tests['Walking'])[rows], 6), labels)


@pytest.mark.reference
def test_training_features_are_the_originals_in_another_order(original, sources):
    """As many rows of each class, and each of the first 512 rows is one of ours."""
    dataset = load('BIWI', 6, original / 'Datasets', warn=lambda text: None)
    folder = original / 'Models' / CAGES / REV_REC
    rows = cages.original_rows(dataset.train.ids, pad=True)
    classes = np.repeat(dataset.classes(dataset.train)[rows], 6)
    labels = np.load(folder / 'train_y_labels.npz')['labels']
    np.testing.assert_array_equal(np.bincount(labels), np.bincount(classes))
    found = encoded(sources, dataset.train, rows)
    for row, label in zip(np.load(folder / 'train_X_first512_float32.npz')['train_X'], labels, strict=False):
        distance = np.abs(found[classes == label] - row).max(axis=1).min()
        assert distance <= 1e-5 * np.abs(found).max()


@pytest.mark.reference
def test_padding_of_the_published_plus(original):
    """Its test rows are those of the single network, padded to 128 sequences a person."""
    dataset = load('BIWI', 6, original / 'Datasets', warn=lambda text: None)
    ids = dataset.tests['Walking'].ids
    plan = plan_of(parse_evaluate(['--best_model', 'rev_rec_plus', '--faithful']), joints=20)
    place = {sequence: number for number, sequence in enumerate(cages.original_rows(ids, pad=False))}
    rows = np.array([place[sequence] for sequence in cages.original_rows(ids, pad=plan.pads_tests)])
    expected = np.load(original / 'Models' / CAGES / PLUS / 'val_X_as_index_into_rev_rec_val_X.npz')['idx']
    np.testing.assert_array_equal((rows[:, None] * 6 + np.arange(6)).reshape(-1), expected)


@pytest.fixture
def published(reference, capsys, tmp_path) -> Commands:
    """A copy of the authors' IJCAI network, as SGE-LA's repository has it: val_X and val_y are Git LFS pointers."""
    source = genuine(reference, 'models/AGEs_RN_models/BIWI_LA_RN_ap').parent
    shutil.copytree(source, tmp_path / 'Models' / AGES / source.name, copy_function=shutil.copyfile)
    for folder in (tmp_path / 'Models').rglob('*'):
        folder.chmod(0o755)
    return Commands(capsys, tmp_path / 'Nothing', tmp_path / 'Models')


@pytest.mark.reference
@pytest.mark.parametrize('flags', ['--encoding AGE', '--RN_dir BIWI_LA_RN_ap'])
def test_the_authors_pointers_are_named(published, flags):
    assert published.try_evaluate(flags) == 2
    error = refused(published.err)
    assert 'val_X.npy is a Git LFS pointer' in error and 'the data set cannot serve' in error


@pytest.mark.reference
@pytest.mark.parametrize('kept', ['all', 'no meta', 'no checkpoint file'])
def test_the_authors_network_scores_features(published, reference, kept):
    """64 rows of noise, as features: 10 windows. The reference has what the network answers to them."""
    folder = published.network('BIWI_LA_RN_ap')
    X = np.random.RandomState(0).randn(64, 768)
    labels = np.repeat(np.arange(28), 6)[:64]
    np.save(folder / 'val_X.npy', X)
    np.save(folder / 'val_y.npy', np.eye(28, dtype=np.int64)[labels])
    if kept != 'all':
        (folder / ('trained_model.ckpt.meta' if kept == 'no meta' else 'checkpoint')).unlink()
    answers = np.load(reference / 'authors' / 'biwi_recognition.npz')['BIWI_LA_RN_ap/logits']
    right = answers[:60].reshape(10, 6, 28).mean(axis=1).argmax(axis=1) == labels[:60:6]
    published.evaluate('--encoding AGE')
    assert f'\nRank-1 Accuracy: {right.mean()}\nnAUC: ' in published.out and '###' not in published.out


# ---- all sequences ---------------------------------------------------------------------------------------------------

CONFIG = EncoderConfig(length=6, joints=4, units=4)


class Asked:
    """What scoring asks of a plan."""

    length, manner, pads_tests, seed, precision = 6, 'ap', False, 0, 'float32'


@pytest.fixture
def case():
    """131 sequences of one person, of which the original encodes 128, and 5 of another; features as they would be."""
    split = tiny_split([0] * 131 + [3] * 5, 6, 4, 0)
    ids = {label: np.array(rows) for label, rows in split.ids.items()}
    from sge_la.data import Split

    test = Split(split.skeletons, ids)
    classes = np.array([0] * 131 + [1] * 5)
    sources = [FeatureSource(CONFIG, initial_params(CONFIG, 1))]
    rows = cages.original_rows(ids, pad=False)
    X = np.empty((len(rows) * 6, 12), np.float32)
    fill_features(X, sources, split.skeletons, rows, 'ap', seed=0, test=True)
    features = Features(X, np.repeat(classes[rows], 6), 2)
    return ProbeSet('test', features, test, classes), sources, recognition.initial_params(12, 2, 5)


def everything(case, sources=None):
    test, usual, params = case
    return score_everything(Asked(), test, params, (lambda: sources or usual), compiled_recogniser('float32'))


def test_all_sequences_are_scored_once(case):
    """The twin encodes all 136 in one go."""
    test, sources, params = case
    scored, groups, note = everything(case)
    X = np.empty((136 * 6, 12), np.float32)
    fill_features(X, sources, test.split.skeletons, np.arange(136), 'ap', seed=0, test=True)
    logits = np.maximum(X @ params['W1'] + params['b1'], 0) @ params['W'] + params['Variable']
    expected = logits.reshape(136, 6, 2).mean(axis=1)
    order = [*range(128), *range(131, 136), 128, 129, 130]  # those of the features, then those that they lack
    np.testing.assert_allclose(scored.sequences.scores, expected[order], rtol=1e-4, atol=1e-4)
    assert scored.evaluation.rank1 == np.mean(expected.argmax(axis=1) == test.classes)
    assert (
        note == 'nothing dropped' and groups.recordings is None and np.array_equal(groups.people, test.classes[order])
    )


@pytest.mark.parametrize('why', ['others', 'wider', 'other sequences', 'no encoders', 'no data set'])
def test_else_whole_windows_with_the_reason(case, why):
    test, sources, params = case
    given = sources
    if why == 'others':
        given, words = [FeatureSource(CONFIG, initial_params(CONFIG, 2))], 'the encoders at hand did not make them'
    elif why == 'wider':
        given, words = [*sources, *sources], 'the encoders at hand did not make them'
    elif why == 'other sequences':
        test, words = ProbeSet('test', test.features, test.split, 1 - test.classes), 'the data set at hand has other'
    elif why == 'no encoders':
        given, words = None, 'the encoders are not'
    else:
        test, words = ProbeSet('test', test.features), 'the data set is not'
    call = (lambda: given) if given else None
    scored, _, note = score_everything(Asked(), test, params, call, compiled_recogniser('float32'))
    assert words in note and scored.evaluation.num_sequences == 133


def test_one_value_tells_other_encoders():
    """Two sequences of two rows, of which places 0 and 2 are looked at; the largest value is 10, so 0.01 is allowed."""
    features = np.full((4, 3), 10, np.float32)
    found = features.copy()
    found[3, 2] += 0.009
    assert are_alike(found, features, 'float32')
    found[3, 2] += 0.002
    assert not are_alike(found, features, 'float32') and are_alike(found, features, 'bfloat16')


def test_only_faithful_scores_divide_by_a_batch_that_is_not_full():
    """Three right answers of three 'sc' rows: all of them, or 3 of 128."""
    params = {'W1': np.eye(2), 'b1': np.zeros(2), 'W': np.eye(2), 'Variable': np.zeros(2)}
    params = {name: value.astype(np.float32) for name, value in params.items()}
    case = params, np.array([[1, 0], [0, 1], [2, 0]], np.float32), np.array([0, 1, 0]), 6, 'sc'
    assert score(*case).evaluation.rank_n.tolist() == [1, 1]
    assert score(*case, faithful=True).evaluation.rank_n.tolist() == [3 / 128, 3 / 128]


def test_nothing_is_encoded_where_the_features_are_complete():
    """130 of 130, since each person has fewer than 128: no encoder is asked for."""
    split = tiny_split([0] * 100 + [3] * 30, 6, 4, 0)
    from sge_la.data import Split

    classes = np.array([0] * 100 + [1] * 30)
    features = Features(np.random.default_rng(0).normal(size=(780, 12)).astype(np.float32), np.repeat(classes, 6), 2)
    test = ProbeSet('test', features, Split(split.skeletons, {k: np.array(v) for k, v in split.ids.items()}), classes)
    params = recognition.initial_params(12, 2, 5)
    scored, _, note = score_everything(Asked(), test, params, None, compiled_recogniser('float32'))
    assert note == 'nothing dropped' and scored.evaluation.num_sequences == 130


def test_a_data_set_of_another_class_count_is_not_taken_for_the_networks(tmp_path, write_tiny):
    """Features of a network with 7 classes beside a data set of 4 identities."""
    dataset = load('KGBD', 6, write_tiny('KGBD'), warn=lambda text: None)
    features = Features(np.zeros((6, 12), np.float32), np.zeros(6, np.int64), 7)
    assert ProbeSet.of('probe', features, dataset).split is None
    fitting = Features(features.X, features.labels, 4)
    assert ProbeSet.of('probe', fitting, dataset).split is dataset.tests['probe']


@pytest.mark.reference
def test_nothing_is_written_beside_a_published_network(commands):
    before = {path: path.stat().st_mtime_ns for path in commands.models_dir.rglob('*')}
    commands.evaluate('')
    assert {path: path.stat().st_mtime_ns for path in commands.models_dir.rglob('*')} == before


def test_answers_of_rows_that_lie_on_the_device():
    """A GPU keeps a test set there and answers it in one call; a CPU answers in blocks, the last of them filled up."""
    params = recognition.initial_params(18, 3, seed=0, hidden=5)
    rows = np.random.default_rng(0).normal(size=(LOGIT_ROWS + 3, 18)).astype(np.float32)
    found = logits(params, ops.convert_to_tensor(rows))
    np.testing.assert_allclose(found, logits(params, rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(('dataset', 'name'), [(None, 'probe'), ('at hand', 'test')])
def test_without_the_data_set_the_run_knows_what_it_was_tested_on(tmp_path, monkeypatch, dataset, name):
    """A plan without data guesses 'test'; under that name the scores would stand twice in results.json."""
    (tmp_path / FEATURE_RECORD).write_text('{"tests": {"probe": "0"}}')
    monkeypatch.setattr(pipeline, '_with_checkpoint', lambda folder, prefix: folder)
    plan = SimpleNamespace(dataset='DEMO', network=tmp_path, networks={'test': tmp_path}, options={})
    assert pipeline.find_networks(plan, AtHand(dataset)) == [(name, TEST_STEMS[0], tmp_path)]
