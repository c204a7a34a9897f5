"""Who is held out, and which recordings repeat another."""

from pathlib import Path

import numpy as np
import pytest

from sge_la.data.prepare import splits
from sge_la.data.prepare.settings import Settings
from sge_la.data.prepare.splits import hold_out, repeats
from sge_la.data.raw.recording import RawRecording, Recording
from sge_la.errors import UserError


def raws(*counts: int) -> list[RawRecording]:
    """Persons 0, 1, ... with so many recordings each, named `p0/1`, `p0/2`, ..."""
    return [
        RawRecording(f'p{person}/{number}', Path(), f'p{person}', person)
        for person, count in enumerate(counts)
        for number in range(1, count + 1)
    ]


def recorded(*arrays: np.ndarray) -> list[Recording]:
    return [Recording(raw, array) for raw, array in zip(raws(len(arrays)), arrays, strict=True)]


def test_the_last_recording_is_held_out_and_a_single_one_stays():
    assert hold_out(raws(3, 1, 2), 'last') == [{2, 5}]


def test_probe_and_gallery_leave_one_to_train_on():
    """Of 5: probe the last, gallery the two before; of 3: probe, one gallery; of 2: probe alone; of 1: nothing."""
    assert hold_out(raws(5, 3, 2, 1), 'last', count=3) == [{4, 7, 9}, {3, 6}, {2}]


@pytest.mark.parametrize(
    'rule, one, three',
    [
        ('first', [{0, 5}], [{0, 5}, {1}, {2}]),
        ('middle', [{2, 6}], [{2, 6}, {1}, {3}]),
    ],
)
def test_the_first_and_the_middle_one(rule, one, three):
    """Of five and of two; then the next ones, or those around it."""
    assert hold_out(raws(5, 2), rule) == one
    assert hold_out(raws(5, 2), rule, count=3) == three


def of_walks(*walks: str) -> list[RawRecording]:
    return [RawRecording(f'{at}', Path(), 'p', 0, walk=walk) for at, walk in enumerate(walks)]


def test_views_of_one_walk_are_held_out_together():
    """Two cameras saw walks a and b; recording 4 is alone."""
    seen = of_walks('a', 'b', 'a', 'b', '')
    assert hold_out(seen, 'first') == [{0, 2}]
    assert hold_out(seen, 'middle') == [{1, 3}]
    assert hold_out(seen, 'last') == [{4}]
    assert {frozenset(hold_out(seen, 'random', seed)[0]) for seed in range(9)} == {
        frozenset(held) for held in ([0, 2], [1, 3], [4])
    }
    assert hold_out(of_walks('a', 'a'), 'last') == [set()]
    with pytest.raises(UserError, match="'0' is to be held out and '2', which saw the same walk"):
        hold_out(seen, ('0', '4'))


def test_a_share_of_each_recording_is_tested():
    """Of 10, 3 and 1 sequences of 4 frames: 2, 1 and none."""
    firsts = [4 * np.arange(count) for count in (10, 3, 1)]
    tree = splits.within_recordings(raws(2, 1), firsts, Settings('KGBD', holdout='tail:0.2'))
    assert tree.train == [0, 1, 2] and tree.tests == {'probe': [0, 1]}
    assert {at: own.tolist() for at, own in tree.windows.items()} == {0: [32, 36], 1: [8]}
    drawn = [
        splits.within_recordings(raws(2, 1), firsts, Settings('X', holdout='windows:0.2', seed=seed))
        for seed in (1, 1, 2)
    ]
    first, again, other = (tree.windows[0].tolist() for tree in drawn)
    assert first == again != other and len(set(first)) == 2 and first == sorted(first)
    with pytest.raises(UserError, match='a probe and a gallery'):
        splits.within_recordings(raws(2), firsts, Settings('KGBD', layout=3, holdout='tail:0.2'))


def test_random_choice_is_repeatable_and_does_not_depend_on_others():
    people = raws(*[6] * 40)
    chosen = hold_out(people, 'random', seed=3)
    assert chosen == hold_out(people, 'random', seed=3)
    assert chosen != hold_out(people, 'random', seed=4)
    assert {index for index in chosen[0] if index < 60} == hold_out(people[:60], 'random', seed=3)[0]
    # Every place is chosen by somebody.
    assert {index % 6 for index in chosen[0]} == set(range(6))


def test_named_recordings_are_held_out():
    assert hold_out(raws(3, 2), ('p0/1', 'p0/3')) == [{0, 2}]


@pytest.mark.parametrize(
    'names, message',
    [(('p0/9',), "'p0/9'.*none of that name"), (('p1/1', 'p1/2'), 'all recordings of p1')],
)
def test_bad_lists_are_refused(names, message):
    with pytest.raises(UserError, match=message):
        hold_out(raws(3, 2), names)


def test_people_who_train_on_others_may_give_all():
    assert hold_out(raws(2, 1), 'last', others_train={1}) == [{1, 2}]
    assert hold_out(raws(2, 1), ('p1/1',), others_train={1}) == [{2}]


def test_copies_are_found_and_look_alikes_are_not():
    one = np.arange(60, dtype=np.float32).reshape(1, 20, 3)
    near = one.copy()
    near[0, 0, 0] += np.float32(1e-4)
    empty = one[:0]
    found = repeats(recorded(one, near, one.copy(), empty, empty, one.reshape(2, 10, 3), one))
    assert found == {2: 0, 6: 0}


def test_a_common_beginning_or_end_is_no_copy():
    one = np.arange(180, dtype=np.float32).reshape(3, 20, 3)
    first, last = one.copy(), one.copy()
    first[0] += 1
    last[2] += 1
    assert repeats(recorded(one, first, last, one[:2])) == {}


def with_parts(*rows: tuple[int, str]) -> list[RawRecording]:
    return [RawRecording(f'{at}', Path(), f'p{person}', person, part) for at, (person, part) in enumerate(rows)]


def test_own_split_follows_the_table_and_holds_out_for_the_rest():
    """Person 0 has both; person 1 has a test recording, so the free one is trained on; person 2 is left to the rule;
    person 3 has one to train on, so the free one may go."""
    rows = [(0, 'train'), (0, 'test'), (1, ''), (1, 'test'), (2, ''), (2, ''), (3, 'train'), (3, '')]
    (tree,) = splits.own(with_parts(*rows), Settings('X', holdout='last'))
    assert tree.tests == {'test': [1, 3, 5, 7]}
    assert tree.train == [0, 2, 4, 6]


def test_ks20_takes_are_chosen_alike_in_all_views():
    recordings = [
        RawRecording(f'{view}/{take}_{person}', Path(), f'p{person}', person, f'gc{take}', view)
        for person in range(4)
        for view in range(5)
        for take in (1, 2, 3)
    ]
    for rule in ('last', 'random'):
        random_split, *views = splits.ks20(recordings, Settings('KS20', holdout=rule, seed=1))
        probe = [recordings[index] for index in random_split.tests['probe']]
        assert len({(raw.identity, raw.part) for raw in probe}) == 4 and len(probe) == 20
        assert sorted([*random_split.train, *random_split.tests['probe']]) == list(range(60))
        assert [tree.view for tree in views] == [0, 1, 2, 3, 4]
        for tree in views:
            assert {recordings[index].view for index in tree.tests['probe']} == {tree.view}
            assert {recordings[index].view for index in tree.train} == set(range(5)) - {tree.view}
        (tree,) = splits.ks20(recordings, Settings('KS20', layout=3, holdout=rule, seed=1))
        assert [len(part) for part in (tree.train, tree.tests['probe'], tree.tests['gallery'])] == [20, 20, 20]
        assert sorted([*tree.train, *tree.tests['probe'], *tree.tests['gallery']]) == list(range(60))


def test_casia_b_conditions_train_on_the_first_half_of_the_people():
    rows = [(person, part) for person in (1, 2, 5, 9, 10) for part in ('nm', 'bg', 'cl')]
    (tree,) = splits.casia_b_conditions(with_parts(*rows), Settings('CASIA_B'))
    assert tree.train == [0, 1, 2, 3, 4, 5] and tree.open_set
    assert tree.tests == {'all': [*range(6, 15)], 'nm': [6, 9, 12], 'bg': [7, 10, 13], 'cl': [8, 11, 14]}


def test_an_unknown_view_is_refused():
    with pytest.raises(UserError, match='views 0 to 4, found 5'):
        splits.ks20(raws(2), Settings('KS20', holdout='last', views=(5,)))


@pytest.mark.parametrize('name', ['KGBD', 'KS20', 'X'])
def test_a_list_cannot_tell_probe_from_gallery(name):
    split = {'KGBD': splits.one_per_person, 'KS20': splits.ks20, 'X': splits.own}[name]
    with pytest.raises(UserError, match='layout 3'):
        split(raws(3), Settings(name, layout=3, holdout=('p0/1',)))
