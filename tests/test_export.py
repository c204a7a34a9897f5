"""Exported models give the answers of the run, in a process that knows nothing of this code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from sge_la import export
from sge_la.api import Recogniser, load
from sge_la.errors import UserError, run_command
from tests.command_line_cases import refused, uncompiled
from tests.conftest import training_flags

pytestmark = pytest.mark.skipif(keras.backend.backend() != 'tensorflow', reason='models are exported by TensorFlow')

RUN = 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'
_LOAD = {
    'saved_model': """
        import tensorflow as tf
        answer = tf.saved_model.load(place).signatures['serving_default']
        run = lambda walks: {name: value.numpy() for name, value in answer(skeletons=tf.constant(walks)).items()}
    """,
    'onnx': """
        import onnxruntime
        session = onnxruntime.InferenceSession(place)
        names = [output.name for output in session.get_outputs()]
        run = lambda walks: dict(zip(names, session.run(names, {'skeletons': walks})))
    """,
}
_ANSWER = """
        import sys
        import numpy as np
        assert 'sge_la' not in sys.modules
        walks = np.load('walks.npy')
        np.savez('found.npz', few=run(walks[:1])['logits'], **run(walks))
"""


def in_another_process(folder: Path, place: Path, format: str) -> dict[str, np.ndarray]:
    """Answers of an exported model to `walks.npy` in a folder, and its logits of the first walk alone as `few`."""
    lines = [f'place = {str(place)!r}', *(_LOAD[format] + _ANSWER).splitlines()]
    (folder / 'use.py').write_text('\n'.join(line.strip() for line in lines))
    done = subprocess.run([sys.executable, 'use.py'], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / 'found.npz'))


def described(place: Path, format: str) -> dict[str, str]:
    """What an exported model says of itself."""
    if format == 'saved_model':
        return json.loads((place / 'assets' / 'description.json').read_text())
    import onnx

    model = onnx.load(place)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == 'N'
    return {prop.key: prop.value for prop in model.metadata_props}


def need(format: str) -> None:
    if format == 'onnx':
        for name in ('tf2onnx', 'onnxruntime'):
            pytest.importorskip(name, reason='the extra [onnx] is not installed: pip install tf2onnx onnxruntime')


@pytest.fixture(scope='module')
def places(small_run) -> dict[str, Path]:
    return {'models_dir': small_run / 'Models', 'data_dir': small_run / 'Datasets'}


@pytest.fixture(scope='module')
def flags(places) -> list[str]:
    return ['--RN_dir', RUN, *(f'--{name}={path}' for name, path in places.items())]


@pytest.mark.slow
@pytest.mark.parametrize('format', ['saved_model', 'onnx'])
def test_answers_of_another_process_are_alike(places, flags, tmp_path, capsys, format):
    need(format)
    place = tmp_path / 'there' / ('model.onnx' if format == 'onnx' else 'model')
    assert run_command(export.main, [*flags, '--output', str(place)]) == 0
    assert 'its answers differ from ours by' in capsys.readouterr().out
    card = place / 'README.md' if format == 'saved_model' else place.with_name('model.onnx.md')
    assert {path.name for path in place.parent.iterdir()} == {place.name, card.name} - {'README.md'}
    assert '`[N, 6, 20, 3]`' in card.read_text() and f"'{place.name}'" in card.read_text()
    words = described(place, format)
    assert {name: words[name] for name in ('length', 'joints', 'units')} == {
        **{'length': '6', 'joints': '20', 'units': '"metres"'}
    } and 'people' not in words
    walks = np.random.default_rng(1).normal(size=(70, 6, 20, 3)).astype(np.float32)  # 1 and 70: any number
    np.save(tmp_path / 'walks.npy', walks)
    found, run = in_another_process(tmp_path, place, format), Recogniser.load(RUN, **places)
    np.testing.assert_allclose(found['cages'], run.encoder.encode(walks), atol=1e-5)
    expected = run.scores(walks)
    np.testing.assert_allclose(found['logits'], expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(found['few'], found['logits'][:1], atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    'kind',
    [['--manner', 'sc'], ['--frozen', '1'], ['--encoding', 'AGE'], ['--ablation', 'GE'], ['--model', 'prediction']],
    ids=' '.join,
)
def test_kinds_of_runs(small_run, tmp_path, kind):
    """Joined frames, vectors of the contrast head, models without one, states of an encoder without decoder."""
    pytest.importorskip('safetensors')
    import train

    with uncompiled():
        train.main(
            [*training_flags(small_run), *kind, '--models_dir', str(tmp_path), '--epochs', '1', '--rn_epochs', '1']
        )
    [run] = tmp_path.glob('*_RN_models/*')
    walks = np.random.default_rng(2).normal(size=(5, 6, 20, 3)).astype(np.float32)
    recogniser = Recogniser.load(run, models_dir=tmp_path, data_dir=small_run / 'Datasets')
    found = {name: np.asarray(value) for name, value in export.answer_of(recogniser)(walks).items()}
    for name, expected in (('cages', recogniser.encoder.encode(walks)), ('logits', recogniser.scores(walks))):
        np.testing.assert_allclose(found[name], expected, atol=1e-5 * max(1, np.abs(expected).max()))
    export.export(run, tmp_path / 'run.safetensors', data_dir=small_run / 'Datasets')
    np.testing.assert_array_equal(load(tmp_path / 'run.safetensors').scores(walks), recogniser.scores(walks))


def test_shuffled_frames_cannot_be_exported(small_run, tmp_path):
    import train

    flags = ['--model', 'sorting', '--models_dir', str(tmp_path), '--epochs', '1', '--rn_epochs', '1']
    with uncompiled():
        train.main([*training_flags(small_run), *flags])
    [run] = tmp_path.glob('*_RN_models/*')
    with pytest.raises(UserError, match='shuffle the frames'):
        export.export(run, tmp_path / 'new', models_dir=tmp_path)
    assert not (tmp_path / 'new').exists()


def test_other_answers_are_not_written(places, tmp_path, monkeypatch):
    """A network whose last bias is off by a hundredth."""
    real = export.answer_of

    def wrong(recogniser):
        answer = real(recogniser)
        return lambda walks: {name: value * 1.01 for name, value in answer(walks).items()}

    monkeypatch.setattr(export, 'answer_of', wrong)
    with pytest.raises(UserError, match='it was not written'):
        export.export(RUN, tmp_path / 'new', **places)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('logits', [np.full((1, 2), np.nan), np.ones((1, 3))])
def test_answers_that_are_no_numbers_or_too_many_differ(logits):
    encoder = SimpleNamespace(length=1, joints=1, encode=lambda walks: np.ones((len(walks), 1, 4)))
    recogniser = SimpleNamespace(encoder=encoder, scores=lambda walks: np.ones((len(walks), 2)))

    def answers(walks):
        return {'cages': encoder.encode(walks), 'logits': np.repeat(logits, len(walks), axis=0)}

    with pytest.raises(UserError, match='it was not written'):
        export._checked(answers, recogniser)


def test_wishes_that_cannot_be_had_are_told_at_once(flags, tmp_path, monkeypatch, capsys):
    """Before TensorFlow is started; each in one sentence."""
    monkeypatch.setattr(export, 'find_spec', lambda name: None)
    (tmp_path / 'there').mkdir()
    for further, words in (
        (['--output', str(tmp_path / 'there')], 'exists already'),
        (['--output', str(tmp_path / 'model'), '--format', 'onnx'], 'ends in .onnx'),
        (['--output', str(tmp_path / 'model.onnx'), '--format', 'safetensors'], 'ends in .safetensors'),
        (['--output', str(tmp_path / 'model.onnx'), '--format', 'saved_model'], 'leave out .onnx'),
        (['--output', str(tmp_path / 'model.onnx'), '--format', 'onnx'], 'tf2onnx and onnxruntime, not installed'),
    ):
        assert run_command(export.main, [*flags, *further]) == 2
        assert words in refused(capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ['there']
