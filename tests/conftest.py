"""Fixtures that more than one room's tests use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from sge_la.data.write import NewSplit, write_dataset
from sge_la.layout import dataset_files

# No time limit an example (machines differ), the same examples every time, and nothing kept in the repository.
settings.register_profile('tests', deadline=None, derandomize=True, database=None)
settings.load_profile('tests')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--fuzz-cases',
        type=int,
        default=int(os.environ.get('SGE_LA_FUZZ_CASES', '2000')),
        help='damaged files a kind that the fuzz tests try (default: SGE_LA_FUZZ_CASES, or 2000)',
    )


@pytest.fixture(scope='session')
def fuzz_cases(request: pytest.FixtureRequest) -> int:
    """How many damaged files of each kind a fuzz test tries."""
    return request.config.getoption('--fuzz-cases')


@pytest.fixture(scope='session')
def reference() -> Path:
    """The folder of the numbers that the original computed."""
    default = Path(__file__).parents[2] / 'shared' / 'reference'
    folder = Path(os.environ.get('SGE_LA_REFERENCE', default))
    if not folder.is_dir():
        reason = f"the original's numbers are not in {folder} (SGE_LA_REFERENCE names another folder)"
        if os.environ.get('SGE_LA_REQUIRE_REFERENCE') == '1':
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def tiny_split(labels: list[int], length: int, joints: int, seed: int, recordings: bool = False) -> NewSplit:
    """Random sequences in metres, one for each label; each person has own mean joint positions."""
    skeletons = np.empty((len(labels), length, joints, 3), np.float32)
    for index, label in enumerate(labels):
        mean = np.random.default_rng(1000 + label).normal(0, 0.5, (1, joints, 3))
        noise = np.random.default_rng([seed, index]).normal(0, 0.05, (length, joints, 3))
        skeletons[index] = mean + noise
    ids = {label: [index for index, other in enumerate(labels) if other == label] for label in dict.fromkeys(labels)}
    # Each person's sequences come from two recordings, numbered through.
    numbers = [2 * label + (2 * ids[label].index(index) >= len(ids[label])) for index, label in enumerate(labels)]
    return NewSplit(skeletons, ids, recordings=np.array(numbers) if recordings else None)


@pytest.fixture
def write_tiny(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny data set and returns its `Datasets` folder.

    `write_tiny(name='BIWI', layout=2, length=6, joints=20, people=4, each=5, tests=None, view=None, ...)`: each of
    `people` persons (labels 0, 3, 6, ...) has `each` training sequences, one person after the other, and 2 in each
    test set (None: all that the layout has). Further arguments go to `write_dataset`.
    """

    def write(
        name: str = 'BIWI',
        layout: int = 2,
        *,
        length: int = 6,
        joints: int = 20,
        people: int = 4,
        each: int = 5,
        tests: list[str] | None = None,
        view: int | None = None,
        recordings: bool = False,
        data_dir: Path | None = None,
        **further: object,
    ) -> Path:
        data_dir = data_dir or tmp_path / 'Datasets'
        labels = [3 * person for person in range(people)]
        train = tiny_split(list(np.repeat(labels, each)), length, joints, 0, recordings)
        names = list(dataset_files(data_dir, name, length, layout, view).tests) if tests is None else tests
        splits = {
            test: tiny_split(list(np.repeat(labels, 2)), length, joints, 1 + number, recordings)
            for number, test in enumerate(names)
        }
        write_dataset(data_dir, name, train, splits, layout=layout, view=view, **further)
        return data_dir

    return write


@pytest.fixture(scope='session')
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make_small_run` makes; tests score it, and so add to it."""
    return make_small_run(tmp_path_factory.mktemp('small_run'))


def make_small_run(folder: Path) -> Path:
    """Makes a tiny BIWI of both test sets, recordings known (`Datasets`), and a run on it (`Models`).

    Four people of eight training sequences; two epochs of each stage with `--batch_size 8`.
    """
    import tensorflow as tf

    import train

    labels = [0, 3, 6, 9]
    tests = {name: tiny_split(list(np.repeat(labels, 4)), 6, 20, 1 + k, True) for k, name in enumerate(SMALL_TESTS)}
    write_dataset(folder / 'Datasets', 'BIWI', tiny_split(list(np.repeat(labels, 8)), 6, 20, 0, True), tests, layout=3)
    # Whoever asks first may run functions eagerly, which rounds otherwise.
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(False)
    try:
        train.main([*small_flags(folder), '--epochs', '2', '--rn_epochs', '2'])
    finally:
        tf.config.run_functions_eagerly(eagerly)
    return folder


SMALL_TESTS = ('Walking', 'Still')


def small_flags(folder: Path) -> list[str]:
    """The flags of train.py and evaluate.py for `small_run`."""
    return [
        '--gpu',
        '-1',
        '--batch_size',
        '8',
        '--data_dir',
        str(folder / 'Datasets'),
        '--models_dir',
        str(folder / 'Models'),
    ]
