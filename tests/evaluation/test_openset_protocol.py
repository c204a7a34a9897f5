"""`evaluate.py --protocol openset`, and runs that are trained without some of the people."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sge_la import api, checkpoints
from sge_la.data import load
from sge_la.data.unknown import unknown_people
from sge_la.errors import UserError
from sge_la.evaluation.openset_network import by_score
from sge_la.evaluation.openset_protocol import _lines, answered
from sge_la.evaluation.sides import Side
from sge_la.settings.command_line import parse_evaluate
from tests.command_line_cases import Commands, refused, uncompiled
from tests.evaluation.conftest import SEVEN

RUN = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec_unknown-0.6'


@pytest.fixture
def commands(places, capsys):
    with uncompiled():
        yield Commands(capsys, places / 'Datasets', places / 'Models')


def side(name: str, vectors: list[list[float]], labels: list[int], recordings: list[int] | None) -> Side:
    known = None if recordings is None else np.array(recordings)
    return Side(name, np.array(vectors, np.float32), np.array(labels), known, np.arange(len(labels)))


def test_case_by_hand():
    """On a circle, in degrees: person 1 at 0 and 10, person 2 at 90 and 100, person 3, who is unknown, at 50.

    Probes: 1 at 5, whose nearest are at 5 degrees; 2 at 99, in the recording that is enrolled at 100, so that only that
    at 90 counts, 9 degrees away; the unknown at 40, 30 degrees from 1. All known are nearer than the stranger.
    """

    def at(*degrees: float) -> list[list[float]]:
        return [[np.cos(np.radians(angle)), np.sin(np.radians(angle))] for angle in degrees]

    entries = side('g', at(0, 10, 90, 100, 50), [1, 1, 2, 2, 3], [1, 2, 3, 4, 5])
    found = answered(side('p', at(5, 99, 40), [1, 2, 3], [0, 4, 7]), entries, [3], 0.01)
    chords = 2 * np.sin(np.radians(np.array([5, 9, 30]) / 2))
    for level in ('sequence', 'recording'):
        np.testing.assert_allclose(found[level].answers.distances, chords, atol=1e-6)
        assert found[level].answers.known.tolist() == found[level].answers.right.tolist() == [True, True, False]
        # Strangers among the enrolled: 1 at 10 is 80 degrees from 2, and so is 2 at 90; nobody is accepted so far away.
        threshold, recognised, accepted = found[level].own
        assert threshold == pytest.approx(2 * np.sin(np.radians(40)), abs=1e-6)
        assert (recognised, accepted) == (1, 1)


def test_one_stranger_in_words():
    """Nothing can be resampled, so that nothing is in brackets; one is not said to be many."""
    vectors = [[1.0, 0], [0, 1], [0.6, 0.8]]
    probe, gallery = (side(name, vectors, [1, 2, 3], numbers) for name, numbers in (('p', [1, 2, 3]), ('g', [4, 5, 6])))
    said = list(_lines(probe, gallery, [3], answered(probe, gallery, [3], 0.01), 0.01, ''))
    assert '  (1 recording of unknown people: a FAR below 1 cannot be told from 0)' in said
    assert said[-1].startswith('(no intervals: at least two recordings') and not any('[' in line for line in said)


def test_unknown_recordings_are_scored_by_sequence_alone():
    vectors = [[1.0, 0], [0, 1], [0.6, 0.8]]
    found = answered(side('p', vectors, [1, 2, 3], None), side('g', vectors, [1, 2, 3], None), [3], 0.01)
    assert list(found) == ['sequence'] and found['sequence'].own is None


def test_people_are_drawn_by_seed():
    people = range(0, 60, 3)
    drawn = {seed: unknown_people(people, 0.2, seed) for seed in range(4)}
    assert drawn[0] == unknown_people(people, 0.2, 0) and len(set(drawn.values())) == 4
    assert all(len(some) == 4 and set(some) <= set(people) and list(some) == sorted(some) for some in drawn.values())
    with pytest.raises(UserError, match='leaves 1 of 3 people'):
        unknown_people([1, 2, 3], 0.6, 0)


@pytest.fixture
def trained(commands) -> Commands:
    """With a run without four of the people."""
    if not commands.network(RUN).is_dir():
        commands.train('--dataset KGBD --unknown 0.6 --seed 3')
    return commands


def kept(commands: Commands, key: str) -> dict:
    [found] = json.loads((commands.network(RUN) / 'results.json').read_text())['openset'][key]['probe → train']
    return found


def test_a_run_without_people_meets_them_as_strangers(trained):
    assert checkpoints.load_recognition(trained.network(RUN), slots=False).params['Variable'].shape == (3,)
    strangers = unknown_people(SEVEN, 0.6, 3)
    run = api.Recogniser.load(RUN, models_dir=trained.models_dir, data_dir=trained.data_dir)
    assert sorted([*run.people, *strangers]) == list(SEVEN)
    for named in (f'--RN_dir {RUN}', '--dataset KGBD --unknown 0.6'):
        trained.evaluate(f'--protocol openset {named}')
        assert 'Unknown: trained without 60 % of the people' in trained.out
        assert 'The encoders were trained without the 4 unknown people\n' in trained.out
        assert f'People: 3 enrolled, 4 unknown ({", ".join(map(str, strangers))})\n' in trained.out
        assert 'By recording: 6 of enrolled people, 8 of unknown people\n' in trained.out
    assert 'Recognition network, by recording, energy:\n  DIR at FAR 0.1 %: ' in trained.out
    found = kept(trained, '4 unknown')
    assert found['unknown'] == list(strangers) and 0 <= found['recording']['eer'] <= 1
    assert f'EER: {found["sequence"]["eer"]:.4f} [' in trained.out
    trained.evaluate(f'--RN_dir {RUN}')
    assert '24 sequences' in trained.out  # of 56, 32 are the strangers'


def test_newcomers_are_enrolled_among_those_left_out(trained):
    trained.evaluate(f'--RN_dir {RUN} --protocol openset --newcomers')
    assert 'trained on none of the people here' in trained.out and 'Recognition network' not in trained.out
    strangers = unknown_people(SEVEN, 0.6, 3)
    found = unknown_people(strangers, 0.5, 3)
    assert f'People: 2 enrolled, 2 unknown ({", ".join(map(str, found))})\n' in trained.out
    assert kept(trained, '2 unknown')['unknown'] == list(found) and set(found) < set(strangers)


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        ('--splits 2', 'was trained without those of one split'),
        ('--seed 1', 'draws other unknown people than seed 3'),
        ('--unknown 0.3', 'a run with unknown 0.6'),
    ],
)
def test_other_strangers_than_the_run_allows(trained, flags, words):
    assert trained.try_evaluate(f'--RN_dir {RUN} --protocol openset {flags}') == 2
    assert words in refused(trained.err)


def test_scores_of_logits_by_hand():
    """Class 1 of 2 is right. Maximum logit: 2, 1. Energy: log(e^2 + e^1), log(e^1 + e^1)."""
    found = by_score(np.array([[1.0, 2.0], [1.0, 1.0]]), np.array([1, -1]))
    np.testing.assert_allclose(found['maximum logit'].distances, [-2, -1])
    np.testing.assert_allclose(found['energy'].distances, [-np.log(np.e**2 + np.e), -1 - np.log(2)])
    assert all(one.right.tolist() == [True, False] for one in found.values())


def test_network_scores_are_those_of_the_run(trained):
    """Twin: the answers of the Python API, and the mean over each recording."""
    trained.evaluate(f'--protocol openset --RN_dir {RUN}')
    found = kept(trained, '4 unknown')['network']['recording']['maximum logit']
    run = api.Recogniser.load(RUN, models_dir=trained.models_dir, data_dir=trained.data_dir)
    split = load('KGBD', 6, trained.data_dir, warn=lambda text: None).tests['probe']
    scores = run.scores(split.skeletons)
    means = {recording: scores[split.recordings == recording].mean(axis=0) for recording in set(split.recordings)}
    person = {recording: split.labels[split.recordings == recording][0] for recording in means}
    known, strangers = ([means[k].max() for k in means if (person[k] not in run.people) == other] for other in (0, 1))
    wins = np.mean([(one > other) + (one == other) / 2 for one in known for other in strangers])
    assert found['auroc'] == pytest.approx(wins)


def test_a_run_on_everybody_says_so(small_run, capsys):
    import evaluate
    from tests.conftest import small_flags

    evaluate.main([*small_flags(small_run), '--protocol', 'openset', '--unknown', '0.25', '--splits', '2'])
    printed = capsys.readouterr().out
    assert 'trained on everybody, the unknown people too: for them this is no open set' in printed
    assert '### Probe Walking, gallery Still, split 2 of 2\nPeople: 3 enrolled, 1 unknown (' in printed
    assert 'By recording, over 2 splits of people: DIR at FAR 0.1 %: 1.0000 ± 0.0000' in printed
    assert '(2 recordings of unknown people: a FAR below 0.5 cannot be told from 0)' in printed


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (
            '--protocol openset --level recording',
            'leave out --level',
        ),
        ('--splits 2', 'add --protocol openset'),
        ('--far 0.1', 'add --protocol openset'),
        ('--newcomers', 'add --protocol openset'),
        ('--dataset CASIA_B --unknown 0.2', '--unknown is not for CASIA_B'),
        ('--dataset CASIA_B --protocol openset', '--protocol openset on CASIA_B is --protocol CME'),
        ('--unknown 1.5', 'a share from 0.001 to 1'),
    ],
)
def test_flags_that_mean_nothing(flags, words):
    with pytest.raises((UserError, SystemExit), match=words):
        parse_evaluate(flags.split())
