"""Naming people with runs of other kinds than the usual one, and from other files than `.npy`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from sge_la.api import Recogniser
from sge_la.data import load
from sge_la.data.skeletons import for_dataset
from sge_la.errors import Notice, run_command
from sge_la.features import cages
from sge_la.features.sources import by_source
from sge_la.identify import main
from tests.command_line_cases import frame_scores, uncompiled, write_people
from tests.data.generators import own_csv, trc_text

FLAGS = '--epochs 1 --rn_epochs 2 --batch_size 12 --gpu -1'


@pytest.fixture(scope='module', autouse=True)
def fast():
    with uncompiled():
        yield


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp('identify') / 'Datasets'
    for name in ('IAS', 'KGBD'):
        write_people(place, name, recordings=True)
    return place


def trained(data_dir: Path, flags: str) -> tuple[Recogniser, Path]:
    """A run of these flags, and the folder of its network."""
    import train

    models = data_dir.parent / flags.replace(' ', '')
    train.main([*flags.split(), *FLAGS.split(), '--data_dir', str(data_dir), '--models_dir', str(models)])
    [folder] = (models / 'CAGEs_RN_models').iterdir()
    return Recogniser.load(folder, models_dir=models, data_dir=data_dir), folder


def known_rows(data_dir: Path, name: str, test: str) -> np.ndarray:
    """The test sequences `[S, T, J, 3]` in the order of the run's own features."""
    split = load(name, 6, data_dir, warn=lambda text: None).tests[test]
    return split.skeletons[cages.original_rows(split.ids, pad=False)]


def test_one_prediction_a_sequence(data_dir):
    """Twin: NumPy on the features that the run has written."""
    run, folder = trained(data_dir, '--dataset KGBD --manner sc')
    expected, _ = frame_scores(folder)
    np.testing.assert_allclose(run.scores(known_rows(data_dir, 'KGBD', 'probe')), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('test', 'features'), [('A', 'val'), ('B', 'val_2')])
def test_ias_answers_with_the_joint_network(data_dir, test, features):
    """Of its three checkpoints the one that is named for no test set: who comes is not known."""
    run, folder = trained(data_dir, '--dataset IAS')
    assert (folder / 'A_trained_model.ckpt.index').exists()
    frames, _ = frame_scores(folder, features=features)
    expected = frames.reshape(-1, 6, frames.shape[1]).mean(axis=1)
    np.testing.assert_allclose(run.scores(known_rows(data_dir, 'IAS', test)), expected, rtol=1e-4, atol=1e-4)
    assert run.people == [0, 3, 6]


@pytest.mark.slow
def test_three_encoders(data_dir):
    """rev_rec and prediction see the frames in order: their columns are those of the run. sorting draws orders anew."""
    run, folder = trained(data_dir, '--dataset KGBD --model rev_rec_plus')
    walks = known_rows(data_dir, 'KGBD', 'probe')
    found = run.encoder.encode(walks)
    assert found.shape == (24, 6, 3 * 768) and run.scores(walks).shape == (24, 3)
    kept = by_source(np.load(folder / 'val_X.npy'), 3)
    np.testing.assert_allclose(by_source(found.reshape(-1, 2304), 3)[:, :, :2], kept[:, :, :2], atol=1e-5)
    answers = run.identify(walks[:4])
    assert {answer.person for answer in answers} == {0, 3, 6}


def test_csv_is_read_as_npy_and_sequences_cross_no_jump(data_dir, tmp_path, capsys):
    """13 frames are two sequences of six; with a jump after the seventh, one before and one behind it."""
    flags = '--dataset KGBD --manner sc'
    _, folder = trained(data_dir, flags)
    frames = np.round(known_rows(data_dir, 'KGBD', 'probe')[:3].reshape(-1, 20, 3)[:13], 4)
    skeleton = for_dataset('KGBD')
    np.save(tmp_path / 'walk.npy', frames)
    (tmp_path / 'walk.csv').write_text(own_csv(frames, skeleton))
    (tmp_path / 'jump.csv').write_text(own_csv(frames, skeleton, [*range(7), *range(20, 26)]))
    places = [
        '--models_dir',
        str(folder.parents[1]),
        '--data_dir',
        str(data_dir),
        '--gpu',
        '-1',
        '--RN_dir',
        folder.name,
    ]
    (tmp_path / 'walk.trc').write_text(trc_text(frames, skeleton.joints))
    shown = {}
    for name in ('walk.npy', 'walk.csv', 'walk.trc', 'jump.csv'):
        capsys.readouterr()
        main([*places, str(tmp_path / name)])
        title, *shown[name] = capsys.readouterr().out.splitlines()
        assert title.endswith(f'{name}: 2 sequences of 6 frames') and len(shown[name]) == 3
    assert shown['walk.csv'] == shown['walk.trc'] == shown['walk.npy'] != shown['jump.csv']
    table = [line.split(',', 1) for line in own_csv(np.repeat(frames, 2, axis=0), skeleton, [1, 9] * 13).splitlines()]
    lines = [f'body_id,{rest}' if name == 'frame' else f'{name},{rest}' for name, rest in table]
    (tmp_path / 'two.csv').write_text('\n'.join(lines))
    with pytest.warns(Notice, match=r'two\.csv has 2 bodies \(1 in 13 frames, 9 in 13 frames\): 1 is read'):
        main([*places, str(tmp_path / 'two.csv')])
    capsys.readouterr()
    main([*places, '--body', '9', str(tmp_path / 'two.csv')])
    assert capsys.readouterr().out.splitlines()[1:] == shown['walk.csv']


@pytest.mark.parametrize(
    ('flags', 'words'), [('--top 0', 'at least 1 was expected'), ('--gpu x', "expected a GPU's number")]
)
def test_impossible_flags_are_refused(tmp_path, capsys, flags, words):
    (tmp_path / 'walk.npy').touch()
    command = ['--RN_dir', 'none', str(tmp_path / 'walk.npy'), *flags.split()]
    with contextlib.suppress(SystemExit):  # argparse's own way
        run_command(main, command)
    assert words in capsys.readouterr().err
