"""A run names the people that it was trained on, whatever the data set says later."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import evaluate
import train
from sge_la import identify
from sge_la.data.prepare.__main__ import main as prepare
from sge_la.data.skeletons import SKELETONS, to_json
from sge_la.errors import UserError, run_command
from sge_la.runs import trained_on
from tests.command_line_cases import refused, uncompiled
from tests.data.generators import body, own_csv

SKELETON = SKELETONS['kinect_v1']


def write_raw(folder: Path, names: dict[str, str]) -> None:
    """Recordings a1, a2, b1, b2 of two people, who are called as `names` says."""
    folder.mkdir(exist_ok=True)
    (folder / 'skeleton.json').write_text(json.dumps(to_json(SKELETON)))
    lines = ['file,person,recording,split']
    for number, file in enumerate(('a1', 'a2', 'b1', 'b2')):
        (folder / f'{file}.csv').write_text(own_csv(body(60, 20, number), SKELETON))
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
    (home / 'raw' / 'b2.csv').write_text(own_csv(body(60, 20, 7), SKELETON))
    prepared(home)
    status, after, _ = scored()
    assert status == 0 and 'warning: the test set test is not the one of the training' in after
    lines = [[line for line in text.splitlines() if line.startswith('### ')] for text in (before, after)]
    assert lines[0] == lines[1]
    [network] = (home / 'Models' / 'CAGEs_RN_models').iterdir()
    (network / 'val_X.npy').unlink()
    status, _, error = scored()
    assert status == 2 and 'was prepared again since' in refused(error)


@pytest.mark.parametrize(
    'content', ['[]', '{"people": ["a"]}', '{"people": ["a", "\\u001b[1m"]}', '{"people": ["a", 1.5]}']
)
def test_a_file_that_is_no_such_thing_is_refused(tmp_path, content):
    (tmp_path / trained_on.FILE).write_text(content)
    with pytest.raises(UserError, match='should name the 2 people'):
        trained_on.read(tmp_path, 2)


def test_what_is_kept_comes_back_and_is_written_once(tmp_path, write_tiny):
    from sge_la.data import load

    dataset = load('BIWI', data_dir=write_tiny(people=2), warn=lambda text: None)
    trained_on.keep(tmp_path, dataset)
    found = trained_on.read(tmp_path, 2)
    assert found.people == (0, 3) and found.skeleton == dataset.skeleton
    (tmp_path / trained_on.FILE).write_text('{"people": ["x", "y"], "skeleton": null}')
    trained_on.keep(tmp_path, dataset)
    assert trained_on.read(tmp_path, 2).people == ('x', 'y')
