"""A run names the people that it was trained on, whatever the data set says later."""

from __future__ import annotations

import functools
import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import evaluate
import train
from sge_la import identify
from sge_la.data.prepare.__main__ import main as prepare
from sge_la.data.simulated.kinect import walkers
from sge_la.data.skeletons import SKELETONS, to_json
from sge_la.errors import Notice, UserError, run_command
from sge_la.runs import trained_on
from tests.command_line_cases import refused, uncompiled
from tests.data.generators import own_csv

SKELETON = SKELETONS['kinect_v1']


@functools.cache
def walks() -> dict[str, np.ndarray]:
    """Two walks of two simulated people, `[60, 20, 3]` each, in metres; the second is much taller."""
    raw = walkers(2, 2, seed=0)
    found = [raw.read(item).frames[10:70] * np.float32(1 + 0.4 * item.identity) for item in raw.recordings]
    return dict(zip(('a1', 'a2', 'b1', 'b2'), found, strict=True))


def write_raw(folder: Path, names: dict[str, str]) -> None:
    """Recordings a1, a2, b1, b2 of two people, who are called as `names` says; millimetres, y down."""
    folder.mkdir(exist_ok=True)
    (folder / 'skeleton.json').write_text(json.dumps({**to_json(SKELETON), 'units': 'mm', 'up': '-y'}))
    lines = ['file,person,recording,split']
    for file, frames in walks().items():
        (folder / f'{file}.csv').write_text(own_csv(frames * np.float32([1000, -1000, -1000]), SKELETON))
        lines.append(f'{file}.csv,{names[file[0]]},{file[1]},{"train" if file[1] == "1" else "test"}')
    (folder / 'recordings.csv').write_text('\n'.join(lines) + '\n')


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    """A folder with raw recordings, the data set that was prepared from them, and a run of two epochs."""
    home = tmp_path_factory.mktemp('trained_on')
    write_raw(home / 'raw', {'a': 'a', 'b': 'b'})
    prepared(home)
    flags = ['--dataset', 'Own', '--epochs', '1', '--rn_epochs', '2', '--batch_size', '8', '--gpu', '-1']
    with uncompiled():
        train.main([*flags, '--data_dir', str(home / 'Datasets'), '--models_dir', str(home / 'Models')])
    return home


def prepared(home: Path) -> None:
    assert run_command(prepare, ['Own', '--raw', str(home / 'raw'), '--data_dir', str(home / 'Datasets')]) == 0


def named(home: Path, capsys) -> tuple[int, list[str], str]:
    """Exit status, the first answer for each recording of `a` and `b`, and the error."""
    [network] = (home / 'Models' / 'CAGEs_RN_models').iterdir()
    flags = ['--RN_dir', network.name, '--data_dir', str(home / 'Datasets'), '--models_dir', str(home / 'Models')]
    capsys.readouterr()
    with uncompiled():
        status = run_command(identify.main, [*flags, '--gpu', '-1', *(str(home / f'raw/{x}1.csv') for x in 'ab')])
    said = capsys.readouterr()
    return status, re.findall(r'  1\. (\S+) ', said.out), said.err


def test_a_renamed_person_keeps_the_name_of_the_training(run, capsys):
    """Renamed to sort behind b, a is the second person of the data set, and still the first of the run."""
    before = named(run, capsys)
    assert before[0] == 0 and sorted(before[1]) == ['a', 'b']
    write_raw(run / 'raw', {'a': 'zoe', 'b': 'b'})
    prepared(run)
    assert named(run, capsys) == before
    [network] = (run / 'Models' / 'CAGEs_RN_models').iterdir()
    content = (network / trained_on.FILE).read_text()
    try:  # a run of an older version
        (network / trained_on.FILE).unlink()
        status, answers, error = named(run, capsys)
        assert status == 2 and answers == [] and 'does not say whom it was trained on' in refused(error)
        write_raw(run / 'raw', {'a': 'a', 'b': 'b'})
        prepared(run)
        assert named(run, capsys) == before
    finally:
        (network / trained_on.FILE).write_text(content)


def test_a_test_set_that_was_prepared_again_is_not_scored(run, tmp_path, capsys):
    """The features of the training are; where they are missing too, nothing is."""
    home = tmp_path / 'home'
    shutil.copytree(run, home)
    flags = ['--dataset', 'Own', '--data_dir', str(home / 'Datasets'), '--models_dir', str(home / 'Models')]

    def scored(*more) -> tuple[int, str, str]:
        capsys.readouterr()
        with uncompiled():
            status = run_command(evaluate.main, [*flags, '--gpu', '-1', *more])
        return status, *capsys.readouterr()

    status, before, error = scored()
    assert status == 0 and 'warning' not in error
    (home / 'raw' / 'b2.csv').write_text(own_csv(walks()['b2'][::-1] * np.float32([1000, -1000, -1000]), SKELETON))
    prepared(home)
    status, after, _ = scored()
    assert status == 0 and 'warning: the test set test is not the one of the training' in after
    lines = [[line for line in text.splitlines() if line.startswith('### ')] for text in (before, after)]
    assert lines[0] == lines[1]
    [network] = (home / 'Models' / 'CAGEs_RN_models').iterdir()
    (network / 'val_X.npy').unlink()
    status, _, error = scored()
    assert status == 2 and 'was prepared again since' in refused(error)


@pytest.fixture(scope='module')
def recogniser(run):
    from sge_la.api import Recogniser

    [network] = (run / 'Models' / 'CAGEs_RN_models').iterdir()
    with uncompiled():
        yield Recogniser.load(network, models_dir=run / 'Models', data_dir=run / 'Datasets')


def test_new_recordings_are_turned_as_those_of_the_training(run, recogniser, capsys):
    """The raw file, and its frames in metres with y up, have one answer and raise no doubt."""
    with warnings.catch_warnings(), uncompiled():
        warnings.simplefilter('error', Notice)
        answer = identify(walks()['a1'], recogniser)[0]
        assert abs(answer.score - identify(walks()['a1'] + np.float32(1e-4), recogniser)[0].score) < 0.1
    said = named(run, capsys)
    assert (
        said[0] == 0
        and said[2].startswith('note: this network names somebody for everyone')
        and said[1][0] == answer.person
    )


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda frames: frames * 1000, 'millimetres among metres'),
        (lambda frames: frames * np.float32([1, -1, -1]), 'upright along -y in all frames, and along y in what'),
        (lambda frames: frames[..., [0, 2, 1]], 'upright along z in all frames, and along y in what'),
    ],
)
def test_another_unit_or_direction_than_the_training_has_is_refused(recogniser, change, words):
    with uncompiled():
        with pytest.raises(UserError, match=words):
            identify(change(walks()['a1']), recogniser)
        with pytest.warns(Notice, match=words):
            assert len(identify(change(walks()['a1']), recogniser, accept=True)) == 2


def test_lost_joints_are_left_out_as_in_the_training(recogniser):
    frames = walks()['a1'].copy()
    frames[6:9, 3], frames[9, 3] = 0, np.nan
    with uncompiled(), pytest.warns(Notice, match='of 60 frames, 4 have lost joints: Head in 4 .first in frame 6'):
        answers = identify(frames, recogniser)
        kept = [frames[start : start + 6] for start in (0, *range(10, 55, 6))]
        assert answers == recogniser.identify(np.stack(kept))
    frames[::5, 3] = 0
    with (
        uncompiled(),
        pytest.warns(Notice, match='16 have lost joints'),
        pytest.raises(UserError, match='16 have lost'),
    ):
        identify(frames, recogniser)


def test_another_body_is_told(recogniser):
    left, right = np.array(SKELETON.pairs).T
    frames = walks()['a1'].copy()
    frames[:, [*left, *right]] = frames[:, [*right, *left]]
    with uncompiled(), pytest.warns(Notice, match='left and right are swapped or mirrored'):
        identify(frames, recogniser)
    with uncompiled(), pytest.warns(Notice, match='bones are 2 times as long as in what the model was trained on'):
        identify(2 * walks()['a1'], recogniser)


def test_a_run_that_does_not_say_what_bodies_were_like_works(run, recogniser):
    from sge_la.api import Recogniser

    path = next((run / 'Models' / 'CAGEs_RN_models').iterdir()) / trained_on.FILE
    content = path.read_text()
    short = {key: value for key, value in json.loads(content).items() if key in ('people', 'skeleton')}
    try:
        path.write_text(json.dumps(short))
        with uncompiled():
            old = Recogniser.load(path.parent, models_dir=run / 'Models', data_dir=run / 'Datasets')
            assert identify(1000 * walks()['a1'], old)
    finally:
        path.write_text(content)


@pytest.mark.parametrize(
    'change',
    [
        {'body': []},
        {'body': {}},
        {'way': {'lost': 'x', 'max_gap': 5}},
        {'way': {'lost': 'drop', 'max_gap': 5, 'axes': {'up': 3}}},
        *(
            {'body': {key: value}}
            for key in ('size', 'bones', 'profile', 'up', 'origin')
            for value in ([[1]], 'w', [None])
        ),
    ],
    ids=str,
)
def test_what_bodies_were_like_is_read_with_care(run, change, tmp_path):
    path = next((run / 'Models' / 'CAGEs_RN_models').iterdir()) / trained_on.FILE
    content = json.loads(path.read_text())
    change = {key: {**content[key], **value} if value and key == 'body' else value for key, value in change.items()}
    (tmp_path / trained_on.FILE).write_text(json.dumps({**content, **change}))
    with pytest.raises(UserError, match=r'trained_on\.json'):
        trained_on.read(tmp_path, 2, 20)


@pytest.mark.parametrize(
    'content', ['[]', '{"people": ["a"]}', '{"people": ["a", "\\u001b[1m"]}', '{"people": ["a", 1.5]}']
)
def test_a_file_that_is_no_such_thing_is_refused(tmp_path, content):
    (tmp_path / trained_on.FILE).write_text(content)
    with pytest.raises(UserError, match='should name the 2 people'):
        trained_on.read(tmp_path, 2, 20)


def test_what_is_kept_comes_back_and_is_written_once(tmp_path, write_tiny):
    from sge_la.data import load

    dataset = load('BIWI', data_dir=write_tiny(people=2), warn=lambda text: None)
    trained_on.keep(tmp_path, dataset)
    found = trained_on.read(tmp_path, 2, 20)
    assert found.people == (0, 3) and found.skeleton == dataset.skeleton
    (tmp_path / trained_on.FILE).write_text('{"people": ["x", "y"], "skeleton": null}')
    trained_on.keep(tmp_path, dataset)
    assert trained_on.read(tmp_path, 2, 20).people == ('x', 'y')
