"""Galleries: people who are enrolled, strangers, what is kept of whom, and two writers at once."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import sge_la
from sge_la.data import load
from sge_la.data.skeletons import for_dataset
from sge_la.enrol import file
from sge_la.enrol.__main__ import main as gallery_main
from sge_la.enrol.gallery import EnrolledRecording, Gallery, Threshold
from sge_la.errors import UserError, run_command
from sge_la.files.locks import InUse, claim_file
from sge_la.files.npz import read_npz, write_npz
from sge_la.identify import main as identify
from tests.conftest import part
from tests.data.generators import own_csv
from tests.fuzz.bounds import hold_to_its_word
from tests.fuzz.mutation import cases

RUN = 'BIWI_LA_RN_ap_6_0.1_0pre_rev_rec'
# Four people have two recordings in the training set and two in each test set: labels 0, 3, 6 and 9.
NAMES = {0: 'Ann', 3: 'Ben', 6: 'Cleo', 9: 'Dana'}


@pytest.fixture(scope='module')
def walks(untouched_run, tmp_path_factory) -> Path:
    """A `.npy` file of each recording: `Ann-train-0.npy`, `Ann-Still-1.npy` and so on."""
    folder = tmp_path_factory.mktemp('walks')
    dataset = load('BIWI', 6, untouched_run / 'Datasets', tests=['Walking', 'Still'], warn=lambda text: None)
    for name, split in {'train': dataset.train, **dataset.tests}.items():
        for label, rows in split.ids.items():
            for number, recording in enumerate(np.unique(split.recordings[rows])):
                own = rows[split.recordings[rows] == recording]
                np.save(folder / f'{NAMES[label]}-{name}-{number}.npy', split.skeletons[own].reshape(-1, 20, 3))
    return folder


def command(path: Path, run: Path, action: str, *words: object) -> list[str]:
    places = ['--data_dir', run / 'Datasets', '--models_dir', run / 'Models', '--gpu', '-1']
    return [action, str(path), *map(str, (*words, *places))]


@pytest.fixture(scope='module')
def made(untouched_run, walks) -> Path:
    """A gallery of Ann, Ben and Cleo, two recordings each."""
    path = walks / 'made.npz'
    gallery_main(command(path, untouched_run, 'new', '--RN_dir', RUN, '--far', '0.2'))
    for person in ('Ann', 'Ben', 'Cleo'):
        own = (walks / f'{person}-train-{number}.npy' for number in (0, 1))
        gallery_main(command(path, untouched_run, 'add', '--person', person, *own))
    return path


@pytest.fixture
def enrolled(made, tmp_path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(made, tmp_path / 'demo.npz'))


@pytest.fixture
def gallery(enrolled, untouched_run, capsys) -> Callable[..., str]:
    """Runs `gallery ACTION demo.npz ...`, which must succeed or end as `status` says, and returns what it says."""

    def run(action: str, *words: object, status: int = 0) -> str:
        capsys.readouterr()
        found = run_command(gallery_main, command(enrolled, untouched_run, action, *words))
        out, err = capsys.readouterr()
        assert found == status, err
        return err if status else out

    return run


def identified(path: Path, walks: list[Path], untouched_run: Path, capsys) -> list[str]:
    capsys.readouterr()
    places = ['--models_dir', str(untouched_run / 'Models'), '--data_dir', str(untouched_run / 'Datasets')]
    assert run_command(identify, ['--gallery', str(path), *map(str, walks), *places, '--gpu', '-1']) == 0
    return capsys.readouterr().out.splitlines()


def test_people_are_named_and_a_stranger_is_not(enrolled, walks, untouched_run, capsys, gallery):
    files = [walks / f'{person}-Still-0.npy' for person in NAMES.values()]
    said = identified(enrolled, files, untouched_run, capsys)
    for line, path, name in zip(said, files, ('Ann', 'Ben', 'Cleo', 'unknown'), strict=True):
        assert line.startswith(f'{path}: {name} (nearest: '), line
    assert 'Ann: Ann-train-0.npy (4), Ann-train-1.npy (4)\n' in gallery('list')
    assert 'the encoder of its run' in gallery('check')


def test_one_recording_that_cannot_be_answered_keeps_no_other_from_it(enrolled, walks, untouched_run, tmp_path, capsys):
    np.save(tmp_path / 'short.npy', np.load(walks / 'Ann-Still-0.npy')[:3])
    files = [walks / 'Ann-Still-0.npy', tmp_path / 'short.npy', walks / 'Ben-Still-0.npy']
    places = ['--models_dir', str(untouched_run / 'Models'), '--data_dir', str(untouched_run / 'Datasets')]
    capsys.readouterr()
    assert run_command(identify, ['--gallery', str(enrolled), *map(str, files), *places, '--gpu', '-1']) == 2
    out, error = capsys.readouterr()
    first, second, third = out.splitlines()
    assert ': Ann (' in first and ': no answer: ' in second and ': Ben (' in third
    assert '1 of 3 recordings have no answer' in error


def test_python_answers_as_the_command_does(enrolled, walks, untouched_run, capsys):
    [line] = identified(enrolled, [walks / 'Ben-Walking-0.npy'], untouched_run, capsys)
    places = {'models_dir': untouched_run / 'Models', 'data_dir': untouched_run / 'Datasets'}
    sequences = np.load(walks / 'Ben-Walking-0.npy').reshape(-1, 6, 20, 3)
    answer = sge_la.Gallery.open(enrolled, **places).identify(sequences)
    assert line.endswith(f': {answer}') and answer.person == 'Ben'
    assert answer.probability > 0.5 and answer.nearest[0].distance < answer.threshold < answer.nearest[1].distance


def test_distances_are_those_of_mean_cages(enrolled, walks, untouched_run):
    """Twin: sequence by sequence, the nearest of each person's, and the mean over the recording."""
    places = {'models_dir': untouched_run / 'Models', 'data_dir': untouched_run / 'Datasets'}
    encoder = sge_la.GaitEncoder.load(RUN, **places)

    def vectors(*names: str) -> list[np.ndarray]:
        found = np.concatenate([np.load(walks / f'{name}.npy').reshape(-1, 6, 20, 3) for name in names])
        means = [sequence.mean(axis=0, dtype=np.float64) for sequence in encoder.encode(found)]
        return [mean / np.linalg.norm(mean) for mean in means]

    probes, answer = (
        vectors('Cleo-Still-1'),
        Gallery.open(enrolled, **places).identify(np.load(walks / 'Cleo-Still-1.npy').reshape(-1, 6, 20, 3)),
    )
    for near in answer.nearest:
        entries = vectors(*(f'{near.person}-train-{number}' for number in (0, 1)))
        nearest = [min(np.linalg.norm(probe - entry) for entry in entries) for probe in probes]
        assert near.distance == pytest.approx(np.mean(nearest), abs=1e-4)


@pytest.mark.parametrize('name', ['a\u00a0b.npy', 'x\u202e.npy', 'y\n.npy', 'z\udce9.npy', 'n' * 240 + '.npy'])
def test_a_recording_may_be_called_anything(enrolled, gallery, walks, tmp_path, name):
    """What is kept of its name can be read and shown; nobody who was there before is lost."""
    shutil.copy(walks / 'Ann-Still-0.npy', tmp_path / name)
    gallery('add', '--person', 'Dora', tmp_path / name)
    assert {'Ann', 'Ben', 'Cleo', 'Dora'} == set(file.read(enrolled).people) and 'Dora: ' in gallery('list')


def test_nothing_is_left_of_who_was_removed(enrolled, gallery):
    before = file.read(enrolled)
    assert 'Ben is removed, with 8 sequences' in gallery('remove', '--person', 'Ben')
    content = enrolled.read_bytes()
    for recording in before.recordings:
        assert (recording.digest.encode() in content) == (recording.person != 'Ben')
    assert b'Ben' not in content
    for place, vector in enumerate(before.vectors):
        assert (vector.tobytes() in content) == (not 8 <= place < 16)
    assert file.read(enrolled).thresholds != before.thresholds
    assert [path.name for path in enrolled.parent.iterdir()] == ['demo.npz']


def test_what_a_killed_writer_left_is_cleared_away(enrolled):
    """Half a gallery holds people too; another file's is not ours."""
    own, other = (enrolled.with_name(f'.{name}.0123abcd.partial') for name in ('demo.npz', 'demo.npz.more'))
    for path in (own, other):
        path.write_bytes(b'half')
    with file.changing(enrolled):
        assert not own.exists() and other.exists()
        with pytest.raises(InUse, match=r'demo\.npz is in use by process'):
            claim_file(enrolled, seconds=0)


def test_two_writers_lose_nothing(enrolled):
    """Each reads, changes and writes forty times over; both names are counted up to forty."""

    def write(person: str) -> None:
        for number in range(40):
            with file.changing(enrolled) as put:
                there = file.read(enrolled)
                own = EnrolledRecording(person, f'{number}.npy', f'{number:031x}{ord(person[0]) % 10}', 1)
                put(
                    replace(
                        there,
                        recordings=(*there.recordings, own),
                        vectors=there.vectors[[*range(len(there.vectors)), 0]],
                    )
                )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, ['Eve', 'Finn']))
    names = [recording.person for recording in file.read(enrolled).recordings]
    assert (names.count('Eve'), names.count('Finn')) == (40, 40)


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['add', '--person', 'Ann', '{walks}/Ann-train-0.npy'], 'is enrolled already, as Ann-train-0.npy of Ann'),
        (
            ['add', '--person', 'Unknown', '{walks}/Ann-Still-0.npy'],
            "should not be 'Unknown', the answer for strangers",
        ),
        (['add', '--person', 'a\x1b', '{walks}/Ann-Still-0.npy'], 'printable characters'),
        (['add', '{walks}/Ann-Still-0.npy'], 'give --person NAME'),
        (['add', '--person', 'Ann', '{walks}/none.npy'], 'there is no such file'),
        (['remove', '--person', 'Ann', '--person', 'Ben'], 'takes one --person, found 2'),
        (['remove', '--person', 'Zoe'], 'nobody in the gallery is called Zoe: it has Ann, Ben, Cleo'),
        (['new', '--RN_dir', RUN], 'is there already'),
        (['list', '--person', 'Ann'], 'takes no --person'),
    ],
)
def test_mistakes_change_nothing(enrolled, gallery, walks, words, sentence):
    before = enrolled.read_bytes()
    assert sentence in gallery(*(word.format(walks=walks) for word in words), status=2)
    assert enrolled.read_bytes() == before


def test_gallery_of_another_encoder_is_refused(enrolled, gallery, walks):
    file.write(enrolled, replace(file.read(enrolled), digest='0' * 64))
    for words in (['check'], ['add', '--person', 'Dana', walks / 'Dana-Still-0.npy']):
        assert 'whose distances mean nothing here' in gallery(*words, status=2)


def test_one_person_answers_nothing(enrolled, gallery):
    for person in ('Ann', 'Ben'):
        gallery('remove', '--person', person)
    with pytest.raises(UserError, match='at least two people'):
        file.read(enrolled).distances(np.zeros((1, 6, 20, 3)))


def small_gallery() -> Gallery:
    """Of two people with three sequences, which no encoder has made."""
    recordings = tuple(EnrolledRecording(name, f'{name}.npy', f'{k:032x}', 1 + k) for k, name in enumerate('ab'))
    thresholds = {level: Threshold(0.5, 3, 0.5, 2.0, -1.0) for level in ('sequence', 'recording')}
    return Gallery('1' * 64, RUN, 6, 20, None, 0.01, recordings, np.eye(3, 4, dtype=np.float32), thresholds)


def test_damaged_galleries(tmp_path, fuzz_cases):
    path = tmp_path / 'g.npz'
    file.write(path, small_gallery())

    def check(found: Gallery, content: bytes) -> None:
        assert len(found.vectors) == sum(recording.sequences for recording in found.recordings)
        assert all(person.isprintable() for person in found.people) and len(found.thresholds) in (0, 2)

    _, refused = hold_to_its_word(
        cases([path.read_bytes()], part(fuzz_cases, 2)), path, lambda _: file.read(path), check
    )
    assert refused > 0.5 * len(part(fuzz_cases, 2))


@pytest.mark.parametrize(
    'change',
    [
        {'format': 'another'},
        {'far': 2},
        {'recordings': [['a', 'a.npy', '0' * 32, 3], ['b', 'b.npy', '0' * 32, 0]]},
        {'recordings': [['a', 'a.npy', '0' * 32, 3], ['b', 'b.npy', '0' * 32, 1]]},
        {'recordings': [['unknown', 'a.npy', '0' * 32, 1], ['b', 'b.npy', '1' * 32, 2]]},
        {'recordings': [['a\x1b[2J', 'a.npy', '0' * 32, 1], ['b', 'b.npy', '1' * 32, 2]]},
        {'thresholds': {}},
        {'thresholds': {'sequence': {'distance': 1e300, 'strangers': 1}, 'recording': {'distance': 1, 'strangers': 1}}},
        {'encoder': {'digest': '1' * 64, 'run': '../../elsewhere', 'length': 6, 'joints': 20}},
    ],
)
def test_what_no_gallery_says_is_refused(tmp_path, change):
    path = tmp_path / 'g.npz'
    file.write(path, small_gallery())
    arrays, meta = read_npz(path)
    write_npz(path, arrays, {**meta, **change})
    with pytest.raises(UserError, match='gallery'):
        file.read(path)


def test_what_is_too_large_to_be_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(file, '_MAX_BYTES', 2 * file.MAX_META_BYTES + 47)  # three vectors of four values have 48
    with pytest.raises(UserError, match='the most for a gallery'):
        file.write(tmp_path / 'g.npz', small_gallery())
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(file, '_MAX_BYTES', 2 * file.MAX_META_BYTES + 48)
    file.write(tmp_path / 'g.npz', small_gallery())
    assert len(file.read(tmp_path / 'g.npz').vectors) == 3


@pytest.mark.parametrize('run', ['', 'my run', 'Läufer'])
def test_a_run_whose_name_could_not_be_read_again_is_not_written(tmp_path, run):
    """Folders may be called anything; `--RN_dir .` has no name at all."""
    with pytest.raises(UserError, match='its run should have a folder of letters'):
        file.write(tmp_path / 'g.npz', replace(small_gallery(), run=run))
    assert not any(tmp_path.iterdir())


def test_a_recording_without_sequences_is_not_enrolled():
    with pytest.raises(UserError, match=r'c\.npy should have one sequence or more'):
        small_gallery().with_recordings('c', [('c.npy', np.empty((0, 6, 20, 3), np.float32))])


def test_vectors_must_be_of_unit_length(tmp_path):
    path = tmp_path / 'g.npz'
    file.write(path, replace(small_gallery(), vectors=np.full((3, 4), np.nan, np.float32)))
    with pytest.raises(UserError, match='not of unit length'):
        file.read(path)
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read('meta.json'))['format'] == file.FORMAT


class TestStream:
    """`identify --stream`, from standard input."""

    @pytest.fixture
    def stream(self, enrolled, untouched_run, capsys, monkeypatch) -> Callable[..., list[str]]:
        def run(text: str, *words: str, status: int = 0) -> list[str]:
            places = ['--models_dir', str(untouched_run / 'Models'), '--data_dir', str(untouched_run / 'Datasets')]
            monkeypatch.setattr('sys.stdin', SimpleNamespace(buffer=io.BytesIO(text.encode())))
            capsys.readouterr()
            command = ['--stream', *(words or ('--gallery', str(enrolled))), *places, '--gpu', '-1']
            assert run_command(identify, command) == status
            return (capsys.readouterr().err if status else capsys.readouterr().out).splitlines()

        return run

    def lines(self, *files: Path) -> list[str]:
        """A header, and the frames of recordings one behind the other."""
        frames = np.concatenate([np.load(file) for file in files])
        return own_csv(frames, for_dataset('BIWI')).splitlines()

    def test_each_sequence_is_answered_and_votes(self, stream, walks, enrolled, untouched_run):
        """Two sequences of Ann's, two of a stranger's, and after an empty line two of Ben's."""
        two = self.lines(walks / 'Ann-Still-0.npy', walks / 'Dana-Still-0.npy')
        said = stream('\n'.join([*two, '', *self.lines(walks / 'Ben-Still-0.npy')[1:]]))
        form = re.compile(r'lines (\d+) to (\d+): (\w+) .*vote: (\w+), (\d) of (\d) sequences?')
        heads = [form.fullmatch(line).groups() for line in said]
        assert heads == [
            ('2', '7', 'Ann', 'Ann', '1', '1'),
            ('8', '13', 'Ann', 'Ann', '2', '2'),
            ('14', '19', 'unknown', 'Ann', '2', '3'),
            ('20', '25', 'unknown', 'Ann', '2', '4'),
            ('27', '32', 'Ben', 'Ben', '1', '1'),
            ('33', '38', 'Ben', 'Ben', '2', '2'),
        ]
        gallery = Gallery.open(enrolled, models_dir=untouched_run / 'Models', data_dir=untouched_run / 'Datasets')
        first = gallery.distances(np.round(np.load(walks / 'Ann-Still-0.npy'), 6)[None, :6])
        assert f'nearest: Ann {first.min():.3f}, ' in said[0]

    def test_frames_without_header_and_the_network(self, stream, walks):
        """As the network answers the file."""
        text = '\n'.join(self.lines(walks / 'Cleo-Still-0.npy')[1:])
        said = stream(text, '--RN_dir', RUN)
        assert [line.split(' (')[0] for line in said] == ['lines 1 to 6: 6', 'lines 7 to 12: 6']

    def test_what_cannot_be_answered_is_said(self, stream, walks):
        """A line that is no frame, and coordinates in millimetres; all that stands before and behind them is answered.

        Of the 24 frames, in lines 2 to 25, number 8 is none, and numbers 15 to 17 are in millimetres.
        """
        header, *frames = self.lines(*(walks / f'Ann-{name}-0.npy' for name in ('Still', 'Walking')))
        frames[8] = 'no frame'
        for at in range(15, 18):
            frames[at] = ','.join(f'{1000 * float(number):.1f}' for number in frames[at].split(','))
        said = stream('\n'.join([header, *frames]))
        form = re.compile(r'lines (\d+) to (\d+): (Ann|not answered)')
        assert [form.match(line).groups() for line in said] == [
            ('2', '7', 'Ann'),
            ('8', '13', 'not answered'),
            ('11', '16', 'Ann'),
            ('17', '22', 'not answered'),
            ('20', '25', 'Ann'),
        ]
        assert 'standard input, line 10: 60 columns were expected' in said[1]
        assert 'bring all recordings to one unit' in said[3]
        assert said[4].endswith('vote: Ann, 3 of 3 sequences')

    @pytest.mark.parametrize(
        ('text', 'sentence'),
        [('', 'should have 6 frames or more'), ('Hip_x,Hip_y,Hip_z\n' + 6 * '1,2,3\n', 'of 20 joints were expected')],
    )
    def test_no_frames(self, stream, text, sentence):
        [error] = stream(text, status=2)
        assert sentence in error


def test_files_and_stream_are_not_joined(enrolled, capsys):
    for words in ([], ['walk.npy', '--stream'], ['--stream', '--body', '9']):
        assert run_command(identify, ['--gallery', str(enrolled), *words]) == 2
        assert 'one of the two' in capsys.readouterr().err
