"""Trained models from Python and from `python -m sge_la.identify`, and what evaluate.py writes about a run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import evaluate
import sge_la
from sge_la import api
from sge_la.data import load
from sge_la.data.skeletons import SKELETONS
from sge_la.enrol.recordings import read_recording
from sge_la.errors import UserError
from sge_la.evaluation.metrics import sequence_scores
from sge_la.evaluation.openset_network import NetworkThresholds
from sge_la.evaluation.scores import logits
from sge_la.evaluation.threshold import Threshold
from sge_la.features import cages
from sge_la.features.sources import FeatureSource, fill_features
from sge_la.identify import main
from sge_la.model import recognition
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import axis_major, encode, initial_params
from sge_la.reporting import run_figures
from sge_la.reporting.page import write_report
from sge_la.runs import records
from sge_la.runs.find import as_trained
from sge_la.runs.plan import plan_of
from sge_la.settings.command_line import parse_evaluate, parse_train
from sge_la.settings.options import EvaluateOptions
from tests.command_line_cases import uncompiled
from tests.conftest import small_flags
from tests.disturbance import outcome

RUN = 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def places(small_run) -> dict[str, Path]:
    return {'models_dir': small_run / 'Models', 'data_dir': small_run / 'Datasets'}


@pytest.fixture(scope='module')
def recogniser(places) -> api.Recogniser:
    return api.Recogniser.load(RUN, **places)


@pytest.fixture(scope='module')
def walking(places):
    return load('BIWI', 6, places['data_dir'], warn=lambda text: None).tests['Walking']


def test_import_is_light():
    """`import sge_la` brings neither Keras nor NumPy, and knows its names all the same."""
    code = (
        "import sys, sge_la; assert not {'keras', 'numpy'} & set(sys.modules); sge_la.identify; print(sge_la.__all__)"
    )
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert 'GaitEncoder' in found.stdout


def test_encode_gives_the_features_of_the_run(small_run, places, walking):
    """The run's own test features, six rows a sequence, people in order."""
    kept = np.load(small_run / 'Models' / 'CAGEs_RN_models' / RUN / 'val_X.npy')
    rows = cages.original_rows(walking.ids, pad=False)
    found = sge_la.GaitEncoder.load(RUN, **places).encode(walking.skeletons[rows])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.reshape(-1, 768), kept, atol=1e-6)


def test_encode_refuses_what_does_not_fit(recogniser):
    with pytest.raises(UserError, match=r'\[N, 6, 20, 3\] were expected, found \[1, 5, 20, 3\]'):
        recogniser.encoder.encode(np.zeros((1, 5, 20, 3)))
    with pytest.raises(UserError, match='finite'):
        recogniser.encoder.encode(np.full((1, 6, 20, 3), np.nan))
    assert recogniser.encoder.encode(np.zeros((0, 6, 20, 3))).shape == (0, 6, 768)


@pytest.mark.parametrize('values', [None, 'walk.npy', [[1, 2], [3]], {}, np.zeros((1, 6, 20, 3), complex), 3])
def test_what_is_no_array_of_numbers_is_refused(recogniser, values):
    for call in (recogniser.encoder.encode, recogniser.scores, lambda frames: sge_la.identify(frames, recogniser)):
        with pytest.raises(UserError, match=r'expected|should have frames'):
            call(values)


def test_attention_weighs_the_frames_of_each_sequence(recogniser, walking):
    """Weights that, times the encoder's states, are the CAGEs; none of a run whose inputs are shuffled."""
    encoder, walks = recogniser.encoder, walking.skeletons[:3]
    weights = encoder.attention(walks)
    assert weights.shape == (3, 3, 6, 6) and weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
    source = encoder.sources[0]
    states = np.asarray(encode(source.config, source.params, axis_major(source.inputs(walks))).states)  # [A, T, B, U]
    cages = np.einsum('batj,ajbu->btau', weights, states).reshape(3, 6, 768)
    np.testing.assert_allclose(cages, encoder.encode(walks), atol=1e-5)
    shuffled = replace(encoder, sources=[replace(source, task='sorting')])
    with pytest.raises(UserError, match='frames in their order'):
        shuffled.attention(walks)


def test_identify_gives_mean_logits_and_votes(small_run, recogniser, walking):
    """Twin: the evaluation's own sequence scores of one recording's sequences."""
    rows = np.flatnonzero(walking.recordings == walking.recordings[0])
    frames = recogniser.encoder.encode(walking.skeletons[rows]).reshape(-1, 768)
    answers = logits(recogniser.params, frames)
    scores = sequence_scores(answers, np.zeros(len(frames), int), 6, drop_incomplete=False).scores
    found = sge_la.identify(walking.skeletons[rows].reshape(-1, 20, 3), recogniser, top=3)
    order = np.argsort(-scores.mean(axis=0))[:3]
    assert [answer.person for answer in found] == [[0, 3, 6, 9][k] for k in order]
    np.testing.assert_allclose([answer.score for answer in found], scores.mean(axis=0)[order], rtol=1e-4)
    assert found[0].votes == pytest.approx(np.mean(scores.argmax(axis=1) == order[0]))


def test_nobody_is_told_from_no_sequence(recogniser):
    assert recogniser.scores(np.zeros((0, 6, 20, 3))).shape == (0, 4)
    thresholds = NetworkThresholds('', 0.01, 1, {'recording': Threshold(0.5, 1)})
    for ask in (recogniser.identify, replace(recogniser, strangers=thresholds).doubt):
        with pytest.raises(UserError, match='one sequence or more was expected, found none'):
            ask(np.zeros((0, 6, 20, 3)))


def test_joined_frames_are_answered_in_the_order_of_training():
    """'sc' has all frames of x, then of y, then of z; with three encoders those of each, axis by axis."""
    config = EncoderConfig(length=4, joints=3, units=5)
    sources = [FeatureSource(config, initial_params(config, seed)) for seed in (1, 2, 3)]
    skeletons = np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)
    params = recognition.initial_params(9 * 4 * 5, 3, seed=1)
    with uncompiled():
        features = np.empty((6, 9 * 4 * 5), np.float32)
        fill_features(features, sources, skeletons, np.arange(6), 'sc', seed=0, test=True)
        encoder = api.GaitEncoder(plan_of(as_trained(parse_evaluate(['--manner', 'sc']))), sources)
        found = api.Recogniser(encoder, params, [0, 1, 2], None).scores(skeletons)
        np.testing.assert_allclose(found, logits(params, features), rtol=1e-4, atol=1e-4)


def test_people_are_known_without_the_data_set(small_run, tmp_path):
    """A run of an older version does not say who they are: there they are class numbers."""
    models = shutil.copytree(small_run / 'Models', tmp_path / 'Models')
    assert api.Recogniser.load(RUN, models_dir=models, data_dir=tmp_path).people == [0, 3, 6, 9]
    (models / 'CAGEs_RN_models' / RUN / 'trained_on.json').unlink()
    assert api.Recogniser.load(RUN, models_dir=models, data_dir=tmp_path).people == [0, 1, 2, 3]


def test_recordings_are_read_in_the_order_of_the_training_joints(tmp_path):
    """A KGBD text whose joint k lies at x = k: in another skeleton's order every joint keeps its own x."""
    from sge_la.data.raw.kgbd import JOINT_NAMES

    lines = [f'{name};{k};0;2' for k, name in enumerate(JOINT_NAMES)]
    (tmp_path / '1.txt').write_text('\n'.join(lines * 2))
    target = SKELETONS['kinect_v1']
    recording = read_recording(tmp_path / '1.txt', target)
    frames, numbers = recording.frames, recording.numbers
    assert (frames.shape, numbers) == ((2, 20, 3), None)
    source = SKELETONS['kgbd']
    assert frames[0, :, 0].tolist() == [source.index(joint) for joint in target.joints]


def test_command_names_people(small_run, places, walking, tmp_path, capsys):
    np.save(tmp_path / 'walk.npy', walking.skeletons[:2].reshape(-1, 20, 3))
    flags = ['--RN_dir', RUN, '--gpu', '-1', *(f'--{name}={path}' for name, path in places.items())]
    main([*flags, '--top', '2', str(tmp_path / 'walk.npy')])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith('walk.npy: 2 sequences of 6 frames')
    assert [line[:5] for line in lines[1:]] == ['  1. ', '  2. ']
    # Of a run that is named by its path the encoders lie beside it.
    path = places['models_dir'] / 'CAGEs_RN_models' / RUN
    data = f'--data_dir={places["data_dir"]}'
    main(['--RN_dir', str(path), data, '--gpu', '-1', '--top', '2', str(tmp_path / 'walk.npy')])
    assert capsys.readouterr().out.splitlines() == lines
    with pytest.raises(UserError, match='no such file'):
        main([*flags, str(tmp_path / 'none.npy')])
    np.save(tmp_path / 'short.npy', walking.skeletons[0, :5])
    with pytest.raises(UserError, match='6 frames in a row or more, found 5'):
        main([*flags, str(tmp_path / 'short.npy')])


@pytest.mark.parametrize('source', ['sge_la/api.py', 'docs/trained-models.md'])
def test_example_runs(source, small_run, walking, tmp_path, monkeypatch, capsys):
    """The example of the module, and that of the documents, on another run."""
    text = (ROOT / source).read_text()
    pattern = r'```python\n(.*?sge_la.load.*?)```' if source.endswith('.md') else r'\n\n(    import numpy.*?)\n"""'
    found = re.search(pattern, text, re.DOTALL)
    assert found, f'{source} has no example of sge_la.load'
    code = textwrap.dedent(found[1]).replace('DEMO_LA_RN_ap_6_0.1_0pre_rev_rec', RUN)
    (tmp_path / 'demo').symlink_to(small_run)
    np.save(tmp_path / 'walk.npy', walking.skeletons[:2].reshape(-1, 20, 3))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, source, 'exec'), names)
    assert names['cages'].shape == (1, 6, 768)
    assert 'Answer(person=' in capsys.readouterr().out


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open, self.images, self.links, self.words = [], 0, [], ''
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_data(self, data):
        self.words += data

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ('meta', 'img'):
            self.open.append(tag)
        self.images += tag == 'img'
        self.links += [value for name, value in attrs if name in ('src', 'href')]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_evaluate_writes_figures_report_and_features(small_run, walking, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    evaluate.main([*small_flags(small_run), '--report', '--save_features', str(tmp_path / 'cages')])
    folder = small_run / 'Models' / 'CAGEs_RN_models' / RUN
    drawn = {path.name for path in (folder / 'figures').iterdir()}
    for name in ('cmc', 'roc', 'confusion', 'attention', 'reconstruction', 'tsne'):
        assert {f'Walking-{name}.png', f'Walking-{name}.pdf'} <= drawn
    assert {'training.png', 'training.pdf'} <= drawn
    assert any(name.startswith('Walking-match-') for name in drawn)
    page = _Page()
    text = (folder / 'report.html').read_text()
    page.feed(text)
    assert page.open == []
    assert page.images == len(drawn) // 2
    assert all(link.startswith('data:image/png;base64,') for link in page.links)  # nothing from the network
    for words in ('Test set Walking', 'all sequences', 'vote of each recording', 'Settings', 'Environment'):
        assert words in text
    assert '<h1>Person re-identification on BIWI: CAGEs of 6 frames</h1>' in text
    assert 'python train.py --dataset BIWI --batch_size 8 --epochs 2 --rn_epochs 2 ' in text
    # An option that was left alone is no line, and neither is a flag that was not given; a number is, even 0.
    assert '<td>seed</td>' in text and '<td>ablation</td>' not in text and '<td>faithful</td>' not in text
    with np.load(tmp_path / 'cages.npz') as found:
        assert sorted(found) == [
            f'{name}_{key}' for name in ('Still', 'Walking', 'train') for key in ('cages', 'labels', 'recordings')
        ]
        assert found['train_cages'].shape == (32, 6, 768)
        np.testing.assert_array_equal(found['Walking_labels'], walking.labels)
        np.testing.assert_array_equal(found['Walking_recordings'], walking.recordings)


@pytest.mark.parametrize('there', ['cages', 'cages.npz'])
def test_features_replace_no_other_file(tmp_path, monkeypatch, there):
    """Of either name: the one that was given, and the one that is written."""
    (tmp_path / there).write_text('years of work')
    monkeypatch.setattr(run_figures, '_at_hand', lambda options: (None, SimpleNamespace(dataset=0, sources=0)))
    options = EvaluateOptions(save_features=str(tmp_path / 'cages'))
    with pytest.raises(UserError, match=f'{there}: there is another file of this name'):
        run_figures.show_run(options)
    assert (tmp_path / there).read_text() == 'years of work'


def test_the_page_shows_names_as_text(tmp_path):
    """Whoever made the files of a run chose the names in them, and a browser would run what is between the signs."""
    folder = tmp_path / '<s>run'
    folder.mkdir()
    scores = {'rank1': 0.5, 'nauc': 0.5, 'rank_n': [0.5, 1], 'sequences': 4, 'classes': 2, 'chance': 0.5}
    records.write_results(folder, {'test_sets': {'<i>test': {'all_sequences': {**scores, 'resampled': '<b>units'}}}})
    records.write_config(folder, {'options': {'<u>key': '<script>value'}, 'environment': {'os': '"<q>system'}})
    pictures = [folder / f'"<em>-{kind}.png' for kind in ('match-wrong', 'match-right', 'cmc')]
    for picture in pictures:
        picture.write_bytes(b'x')
    page = _Page()
    page.feed(write_report(folder, pictures).read_text())
    assert page.words.index('CMC') < page.words.index('of the same person') < page.words.index('of another person')
    assert page.open == [] and not page.tags & {'s', 'i', 'b', 'u', 'script', 'q', 'em'}
    for words in ('<s>run', '<i>test', '<b>units', '<u>key', '<script>value', '"<q>system', '"<em>. CMC'):
        assert words in page.words
    assert page.attributes == {'lang', 'charset', 'name', 'content', 'open', 'class', 'src', 'alt'}


def test_pictures_are_of_one_run():
    with pytest.raises(UserError, match='leave out --runs'):
        parse_train(['--runs', '2', '--figures'])
    with pytest.raises(UserError, match='not made for CASIA_B'):
        parse_evaluate(['--dataset', 'CASIA_B', '--report'])


def test_train_evaluate_and_load_do_what_the_commands_do(small_run, walking, tmp_path, capfd):
    """Quietly: the listener hears the lines; the run is that of the command, and is found by its folder alone."""
    heard: list[str] = []
    flags = {'data_dir': small_run / 'Datasets', 'batch_size': 8, 'rn_batch_size': 96, 'gpu': -1}
    with uncompiled():
        run = sge_la.train('BIWI', models_dir=tmp_path, epochs=2, rn_epochs=2, progress=heard.append, **flags)
    assert run == tmp_path / 'CAGEs_RN_models' / RUN and set(outcome(tmp_path)) <= set(outcome(small_run / 'Models'))
    assert [line.split(' Batch')[0] for line in heard if line.startswith('Epoch ')][:2] == [
        'Epoch   1/2',
        'Epoch   2/2',
    ]
    scores = sge_la.evaluate(run, data_dir=small_run / 'Datasets', gpu=-1)
    assert f'### Rank-1 Accuracy: {scores["Walking"]["selected"]["rank1"]:f}' in heard
    model = sge_la.load(run, data_dir=small_run / 'Datasets')
    np.testing.assert_array_equal(model.encode(walking.skeletons[:2]), model.encoder.encode(walking.skeletons[:2]))
    assert repr(model).startswith('<Recogniser of 4 people: <GaitEncoder of BIWI_LA') and len(repr(model)) < 200
    assert capfd.readouterr().out == ''
    with pytest.raises(UserError, match='one run at a time'):
        sge_la.train('BIWI', runs=2)


def test_missing_matplotlib_is_told_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(UserError, match='pip install matplotlib'):
        sge_la.train('BIWI', data_dir=tmp_path, figures=True)  # nor is the data set looked for


def test_a_data_set_shows_its_counts_in_one_line(places):
    shown = repr(load('BIWI', 6, places['data_dir'], warn=lambda text: None))
    assert re.fullmatch(
        r'<Dataset BIWI: \d+ training sequences of 6 frames and \d+ joints, 4 people; tests: Walking \d+>', shown
    )
