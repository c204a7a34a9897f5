"""Where strangers begin for a network's own answers: found on people left out of the training, kept, and answered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sge_la import api
from sge_la.data import load
from sge_la.data.unknown import unknown_people
from sge_la.errors import UserError, run_command
from sge_la.evaluation.openset import OpenSet
from sge_la.evaluation.openset_network import NetworkAnswers, NetworkThresholds, network_digest
from sge_la.evaluation.openset_protocol import crossed
from sge_la.evaluation.threshold import Threshold
from sge_la.export import export
from sge_la.identify import main as identify
from tests.command_line_cases import Commands, uncompiled
from tests.evaluation.conftest import SEVEN

RUN = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec_select-val_unknown-0.6'
STRANGERS = unknown_people(SEVEN, 0.6, 3)


@pytest.fixture
def commands(places, capsys):
    with uncompiled():
        found = Commands(capsys, places / 'Datasets', places / 'Models')
        if not found.network(RUN).is_dir():
            found.train('--dataset KGBD --unknown 0.6 --seed 3 --select val')
            assert 'identify names nobody for a recording whose highest logit is below' in found.out
        yield found


def loaded(commands: Commands) -> api.Recogniser:
    return api.Recogniser.load(RUN, models_dir=commands.models_dir, data_dir=commands.data_dir)


def test_thresholds_come_from_who_was_left_out(commands):
    """Twin: of the training set the strangers' sequences, and their recordings, from the Python API's scores.

    With so few, none of them may be accepted: the threshold is the highest of their highest logits.
    """
    run, train = loaded(commands), load('KGBD', 6, commands.data_dir, warn=lambda text: None).train
    rows = np.isin(train.labels, STRANGERS)
    scores = run.scores(train.skeletons[rows])
    recordings = [scores[train.recordings[rows] == one].mean(axis=0) for one in set(train.recordings[rows])]
    assert run.strangers.people == 4 and run.strangers.far == 0.01
    for level, found in (('sequence', scores), ('recording', recordings)):
        threshold = run.strangers.thresholds[level]
        assert threshold.strangers == len(found) and -threshold.distance == pytest.approx(np.max(found), abs=1e-5)
        assert threshold.recognised is not None  # on what --select val held out


def test_a_stranger_is_answered_unknown(commands, tmp_path, capsys):
    """A recording that has told the threshold is below it; one whose score is made large enough is named."""
    run, train = loaded(commands), load('KGBD', 6, commands.data_dir, warn=lambda text: None).train
    walk = train.skeletons[train.recordings == train.recordings[train.labels == STRANGERS[0]][0]]
    np.save(tmp_path / 'walk.npy', walk.reshape(-1, 20, 3))
    doubt = run.doubt(walk)
    assert doubt.unknown and doubt.score <= doubt.threshold
    places = ['--models_dir', str(commands.models_dir), '--data_dir', str(commands.data_dir), '--gpu', '-1']

    def said() -> str:
        capsys.readouterr()
        assert run_command(identify, ['--RN_dir', RUN, *places, str(tmp_path / 'walk.npy'), '--accept']) == 0
        out, error = capsys.readouterr()
        assert 'nobody is answered' not in error
        return out

    assert f'walk.npy: unknown (score {doubt.score:.3f}, threshold {doubt.threshold:.3f}' in said()
    path = commands.network(RUN) / 'strangers.json'
    before = path.read_text()
    content = json.loads(before)
    content['thresholds']['recording'] |= {'distance': 1000.0, 'slope': 2.0, 'offset': 2 * doubt.score}
    path.write_text(json.dumps(content))
    first = run.identify(walk)[0].person
    assert f'walk.npy: {first} (score {doubt.score:.3f}, threshold -1000.000; {first} with probability 50.0%' in said()
    path.unlink()
    try:
        assert run_command(identify, ['--RN_dir', RUN, *places, str(tmp_path / 'walk.npy'), '--accept']) == 0
        assert 'names somebody for everyone, since nothing tells how strangers score' in capsys.readouterr().err
    finally:
        path.write_text(before)


def test_an_exported_run_knows_strangers_too(commands, tmp_path):
    path = tmp_path / 'run.safetensors'
    export(RUN, path, models_dir=commands.models_dir, data_dir=commands.data_dir)
    assert api.load(path).strangers == loaded(commands).strangers


def test_evaluation_finds_them_anew(commands):
    commands.evaluate(f'--RN_dir {RUN} --protocol openset --far 0.5')
    assert 'which other unknown people in the training set give for FAR 50 %: DIR ' in commands.out
    assert loaded(commands).strangers.far == 0.5
    commands.evaluate(f'--RN_dir {RUN} --protocol openset')
    assert loaded(commands).strangers.far == 0.01


def test_no_stranger_chooses_the_threshold_that_he_is_tested_at():
    """Strangers 7 and 8: in training 7 scores 1 and 8 scores 3; in the test 7 scores 2 and 8 scores 2.5; known 2.2.

    At 8's threshold, just above 3, 7 is refused, and the known; at 7's, just above 1, 8 gets in, and the known.
    """

    def answers(scores: list[float], labels: list[int]) -> NetworkAnswers:
        known = np.array(labels) < 7
        found = OpenSet(-np.array(scores), known, known)
        return NetworkAnswers({'maximum logit': found}, np.array(labels), np.array(labels))

    tested, asked = answers([2, 2.5, 2.2], [7, 8, 1]), answers([1, 3], [7, 8])
    threshold, recognised, accepted = crossed(tested, asked, 0.01)
    assert threshold == pytest.approx(2) and (recognised, accepted) == (0.5, 0.5)
    assert crossed(tested, answers([1], [7]), 0.01) is None


PARAMS = {'Variable': np.ones((2, 3), np.float32)}


def content() -> dict:
    found = {level: Threshold(-2.0, 9, 0.5, 1.0, 2.0) for level in ('sequence', 'recording')}
    return json.loads(json.dumps(NetworkThresholds(network_digest(PARAMS), 0.01, 3, found).to_json()))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'digest': '0' * 64}, 'for another network than this one'),
        ({'far': 2}, 'is no number from 0 to 1'),
        ({'thresholds': {}}, 'thresholds are missing'),
        ({'thresholds': {'sequence': {'distance': 'far', 'strangers': 1}}}, 'is no number'),
        ({'thresholds': {'sequence': {'distance': 1, 'strangers': 0}}}, 'rests on no distance'),
        ({'people': None}, 'thresholds are missing'),
        ({'more': 1}, 'unexpected keyword'),
    ],
)
def test_what_no_run_says_is_refused(change, words):
    assert NetworkThresholds.from_json(content(), PARAMS, 'f').to_json() == content()
    with pytest.raises(UserError, match=words):
        NetworkThresholds.from_json({**content(), **change}, PARAMS, 'f')
