"""Runs in one safetensors file: the same answers bit for bit, nobody named unasked, files of strangers refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sge_la
from sge_la import checkpoints, export
from sge_la.data.skeletons import SKELETONS
from sge_la.errors import UserError, run_command
from sge_la.features.files import feature_sources
from sge_la.features.inputs import Inputs
from sge_la.features.sources import feature_shape
from sge_la.files.text import write_json
from sge_la.runs import records, trained_on
from sge_la.runs.plan import plan_of
from sge_la.runs.trained_on import TrainedOn
from sge_la.settings.command_line import parse_train
from tests.command_line_cases import refused
from tests.fuzz.test_fuzz_checkpoints import damage, put, try_all

safetensors = pytest.importorskip('safetensors.numpy', reason='the extra [safetensors] is not installed')

PEOPLE = ('Ada Lovelace', 'Ben', 'Cy', 'Di')
JOINTS = 20


def random_run(models_dir: Path, *flags: str) -> Path:
    """A run with random weights, as training would leave it; the folder of its network."""
    options = parse_train(['--dataset', 'KGBD', '--models_dir', str(models_dir), *flags])
    plan, random = plan_of(options, joints=JOINTS), np.random.default_rng(0)
    skeleton = SKELETONS['kinect_v1']

    def drawn(shapes: dict, *first: int) -> dict[str, np.ndarray]:
        return {name: random.normal(0, 0.1, (*first, *shape)).astype(np.float32) for name, shape in shapes.items()}

    for job in {job.folders['x']: job for job in plan.encoders}.values():
        joints, config = JOINTS, job.config
        if plan.recipe:
            walks = random.normal(size=(9, config.length, JOINTS, 3)).astype(np.float32)
            made = Inputs.fit(walks, np.arange(9), skeleton, centred=True, standardised=True)
            joints = made.width
        shapes = checkpoints.encoder_shapes(
            joints, config.length, contrastive=config.contrastive, attends=config.attends
        )
        checkpoints.save_encoder(job.folders, drawn(shapes, 3), as_npz=True)
        if plan.recipe:
            made.save(job.folders['x'])
    _, width = feature_shape(feature_sources(plan), plan.manner)
    checkpoints.save_recognition(plan.network, drawn(checkpoints.recognition_shapes(width, len(PEOPLE))), as_npz=True)
    records.write_config(plan.network, {'options': plan.options, 'record': {'data': '123 sequences, 00000000'}})
    write_json(plan.network / trained_on.FILE, TrainedOn(PEOPLE, skeleton).to_json())
    return plan.network


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    return random_run(tmp_path_factory.mktemp('Models'))


@pytest.fixture(scope='module')
def content(run, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp('exported') / 'run.safetensors'
    export.export(run, path)
    return path.read_bytes()


def parts(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and texts of a file's content."""
    size = int.from_bytes(content[:8], 'little')
    return safetensors.load(content), json.loads(content[8 : 8 + size])['__metadata__']


@pytest.mark.parametrize('flags', ['', '--recipe modern', '--model rev_rec_plus', '--model rev_rec_plus --faithful'])
def test_a_file_answers_as_its_run_bit_for_bit(tmp_path, flags):
    """One encoder; inputs of bones; three tasks, of which one shuffles frames by the seed; one encoder thrice."""
    folder = random_run(tmp_path / 'Models', *flags.split(), '--seed', '3')
    assert export.export(folder, tmp_path / 'run.safetensors', people=True) == 0
    ours, found = sge_la.load(folder, backend='numpy'), sge_la.load(tmp_path / 'run.safetensors', backend='numpy')
    walks = np.random.default_rng(1).normal(size=(7, 6, JOINTS, 3)).astype(np.float32)
    np.testing.assert_array_equal(found.encode(walks), ours.encode(walks))
    np.testing.assert_array_equal(found.scores(walks), ours.scores(walks))
    assert found.identify(walks) == ours.identify(walks) and found.trained_on == ours.trained_on
    assert found.encoder.plan.network.name == folder.name  # a gallery that was made with the run takes its file


def test_nobody_is_named_unasked(run, tmp_path, capsys):
    walks = np.zeros((1, 6, JOINTS, 3), np.float32)
    for flags, people in (([], (0, 1, 2, 3)), (['--people'], PEOPLE)):
        path = tmp_path / f'{len(flags)}.safetensors'
        assert run_command(export.main, ['--RN_dir', str(run), '--output', str(path), *flags]) == 0
        said = capsys.readouterr().out
        assert ('names are personal data' in said) == bool(flags) and f'Model card: {path}.md' in said
        assert {answer.person for answer in sge_la.load(path).identify(walks)} == set(people)
        card = path.with_name(f'{path.name}.md').read_text()
        assert '| KGBD |' in card and '4 people, 123 sequences' in card and f"load('{path.name}')" in card
        assert (b'Ada' in path.read_bytes()) == bool(flags) and 'Ada' not in card


def test_anybody_can_read_what_it_is(content):
    arrays, texts = parts(content)
    assert arrays['x/memory_layer/kernel'].shape == (256, 256) and arrays['recognition/W'].shape == (256, 4)
    words = {name: json.loads(texts[name]) for name in ('length', 'joints', 'units', 'task', 'encoding', 'recipe')}
    assert words == {
        **{'length': 6, 'joints': 20, 'units': 'metres', 'task': 'rev_rec'},
        **{'encoding': 'CAGE', 'recipe': 'original'},
    }
    assert json.loads(texts['skeleton'])['joints'][3] == 'Head' and 'people' not in texts


STRANGE = {
    'format': (lambda arrays, texts: texts.pop('format'), "says 'nothing'"),
    'length': (lambda arrays, texts: texts.update(length='8'), 'says length'),
    'no joints': (lambda arrays, texts: texts.update(joints='true'), 'should say joints'),
    'other options': (lambda arrays, texts: texts.update(options='[]'), 'options of a run'),
    'a path': (lambda arrays, texts: texts.update(options='{"dataset": "../x"}'), "a data set's name"),
    'no json': (lambda arrays, texts: texts.update(trained_on='{'), "JSON as 'trained_on'"),
    'deep json': (lambda arrays, texts: texts.update(trained_on='[' * 100_000), "JSON as 'trained_on'"),
    'few people': (lambda arrays, texts: texts.update(trained_on='{"people": ["A"]}'), 'name the 4 people'),
    'odd names': (lambda arrays, texts: arrays.update(spy=np.ones(1, np.float32)), "holds 'spy'"),
    'missing': (lambda arrays, texts: arrays.pop('y/b1'), 'no b1'),
    'a shape': (lambda arrays, texts: arrays.update({'z/b1': np.ones(3, np.float32)}), 'b1 [3]'),
    'nan': (lambda arrays, texts: arrays['recognition/W'].fill(np.nan), 'NaN'),
    'float64': (lambda arrays, texts: arrays.update({'x/b1': np.ones(256)}), "'x/b1' holds F64"),
    'no network': (lambda arrays, texts: [arrays.pop(n) for n in [*arrays] if n[0] == 'r'], '(recognition)'),
}


@pytest.mark.parametrize(('change', 'words'), STRANGE.values(), ids=STRANGE)
def test_odd_files_are_told_in_a_sentence(content, tmp_path, change, words):
    arrays, texts = parts(content)
    arrays = {name: value.copy() for name, value in arrays.items()}
    change(arrays, texts)
    (tmp_path / 'odd.safetensors').write_bytes(safetensors.save(arrays, texts))
    with pytest.raises(UserError) as told:
        sge_la.load(tmp_path / 'odd.safetensors')
    assert words in str(told.value) and 'odd.safetensors' in str(told.value) and '\n' not in str(told.value)


@pytest.mark.parametrize(
    ('start', 'words'),
    [
        (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer'),
        (b'', 'sound .safetensors file'),
        ((1 << 40).to_bytes(8, 'little') + b'{}', 'of them before its numbers'),
        (b'PK\x03\x04' + b'\0' * 4, 'before its numbers'),
    ],
)
def test_other_files_are_refused(tmp_path, start, words):
    (tmp_path / 'odd.safetensors').write_bytes(start)
    with pytest.raises(UserError, match=words):
        sge_la.load(tmp_path / 'odd.safetensors')


def test_a_file_cannot_be_scored(content, tmp_path, capsys):
    import evaluate

    (tmp_path / 'run.safetensors').write_bytes(content)
    assert run_command(evaluate.main, ['--RN_dir', str(tmp_path / 'run.safetensors')]) == 2
    assert 'should be the folder of a run, and is a file' in refused(capsys.readouterr().err)


def test_without_the_package(run, tmp_path, monkeypatch, capsys):
    from sge_la.files import safetensors as ours

    for module in (export, ours):
        monkeypatch.setattr(module, 'find_spec', lambda name: None)
    wish = ['--RN_dir', str(run), '--output', str(tmp_path / 'new.safetensors')]
    assert run_command(export.main, wish) == 2
    assert 'pip install safetensors' in refused(capsys.readouterr().err) and not [*tmp_path.iterdir()]
    (tmp_path / 'there.safetensors').touch()
    with pytest.raises(UserError, match='pip install safetensors'):
        sge_la.load(tmp_path / 'there.safetensors')


def test_damaged_files(tmp_path, fuzz_cases):
    """What is read has the shapes that the header says, and no more bytes than the file."""
    from sge_la.files.safetensors import read_safetensors

    arrays = {'x/W1': np.arange(6, dtype=np.float32).reshape(2, 3), 'recognition/b1': np.ones(4, np.float32)}
    whole, path = safetensors.save(arrays, {'format': 'SGE-LA run 1', 'length': '6'}), tmp_path / 'run.safetensors'

    def spoil(chance):
        content = damage(whole, chance)
        put(path, content)
        return content

    def right(found):
        return sum(value.nbytes for value in found[0].values()) <= path.stat().st_size

    try_all(fuzz_cases, spoil, lambda: read_safetensors(path), right)
