"""Fixtures that more than one room's tests use, and how the tests are shared out between processes."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Two processes share the cores: each has one thread for its numbers. Set before anything imports a backend.
if 'PYTEST_XDIST_WORKER' in os.environ:
    for _variable in ('TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS', 'OMP_NUM_THREADS'):
        os.environ.setdefault(_variable, '1')
    os.environ.setdefault('XLA_FLAGS', '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1')
# What JAX compiles is kept for the next run, but tests leave nothing in anybody's home.
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', '')

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from sge_la.data.layout import dataset_files
from sge_la.data.write import NewSplit, write_dataset

# No time limit an example (machines differ), the same examples every time, and nothing kept in the repository.
settings.register_profile('tests', deadline=None, derandomize=True, database=None)
settings.load_profile('tests')


# Damaged files a kind in make test-all.
FUZZ_CASES = 2000
# Processor seconds that a test may take, its share of fixtures included, before it must bear the mark `slow`.
SLOW_SECONDS = 10.0
# Machines differ: one may be this much slower than those on which the marks were set before a test fails for it.
SLOWER_MACHINES = 2.0
# What make quick runs, beside the tests that bear the mark themselves: cases computed by hand.
QUICK = (
    *(
        'test_house',
        'test_errors',
        'test_files',
        'test_options',
        'test_sequences',
        'test_splits',
        'test_skeletons',
        'test_pretext',
    ),
    *('test_losses', 'test_adam', 'test_metrics', 'test_matching', 'test_statistics', 'test_baselines'),
)
# Modules whose tests measure memory or fill disks: one after the other, in one process.
ONE_AT_A_TIME = ('test_refusals', 'test_stopping', 'test_benchmarks', 'test_wrong_commands')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--fuzz-cases',
        type=fuzz_span,
        default=os.environ.get('SGE_LA_FUZZ_CASES', str(FUZZ_CASES)),
        metavar='[FIRST-]COUNT',
        help=f'damaged files a kind that the fuzz tests try, such as 200 or 200-2000 (default: {FUZZ_CASES})',
    )


def fuzz_span(text: str) -> range:
    first, _, stop = text.rpartition('-')
    return range(int(first or 0), int(stop))


@pytest.fixture(scope='session')
def fuzz_cases(request: pytest.FixtureRequest) -> range:
    """The numbers of the damaged files of each kind that a fuzz test tries."""
    return request.config.getoption('--fuzz-cases')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that try damaged files, and begins with the modules that take long."""
    for item in items:
        if 'fuzz_cases' in getattr(item, 'fixturenames', ()):
            item.add_marker('fuzz')
        if item.path.stem in QUICK:
            item.add_marker('quick')
    long = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in long)


def part(numbers: range, divisor: int) -> range:
    """One of so many parts of the cases, where each costs more or they are shared between files; never none."""
    start = numbers.start // divisor
    return range(start, max(numbers.stop // divisor, start + 1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Keeps a module's tests in one process, since they share fixtures; `loadscope` would part its classes."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split('::', 1)[0]
            return 'one at a time' if Path(module).stem in ONE_AT_A_TIME else module

    return ByModule(config, log)


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Fails a test that takes long without saying so."""
    item.config.stash[_STARTED] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    seconds = processor_seconds() - item.config.stash[_STARTED]
    load = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # busy cores share caches
    allowed = SLOW_SECONDS * SLOWER_MACHINES * load
    if call.when == 'teardown' and report.passed and seconds > allowed and not slow_by_its_mark(item):
        report.outcome = 'failed'
        report.longrepr = (
            f'{item.nodeid} took {seconds:.1f} s of processor time, more than {allowed:.1f}; '
            'make it shorter, or mark it slow'
        )
    return report


@contextlib.contextmanager
def nobodys_time(config: pytest.Config) -> Iterator[None]:
    """What serves the whole session does not count for the test that asks first."""
    start = processor_seconds()
    yield
    config.stash[_STARTED] += processor_seconds() - start


def slow_by_its_mark(item: pytest.Item) -> bool:
    on_jax = os.environ.get('KERAS_BACKEND') == 'jax' and item.get_closest_marker('slow_on_jax')
    return bool(on_jax or item.get_closest_marker('slow'))


_STARTED = pytest.StashKey[float]()


def pytest_terminal_summary(terminalreporter: object, config: pytest.Config) -> None:
    """Says what was left out, and how to run it."""
    left = ['the tests marked slow'] if 'not slow' in config.option.markexpr else []
    numbers = config.getoption('--fuzz-cases')
    if numbers.stop < FUZZ_CASES:
        left.append(f'{FUZZ_CASES - len(numbers)} of {FUZZ_CASES} damaged files a kind')
    if left:
        terminalreporter.write_line(f'Left out: {" and ".join(left)}; make test-all runs everything.')


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


@pytest.fixture(scope='session')
def samples() -> Path:
    """The folder of real files of sensors and pose estimators."""
    folder = Path(__file__).parents[2] / 'shared' / 'data' / 'samples'
    if not folder.is_dir():
        reason = f'real files of sensors are not in {folder}'
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
    return NewSplit(skeletons, ids, recordings=np.array(numbers) + 1000 * seed if recordings else None)


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
def small_run(tmp_path_factory: pytest.TempPathFactory, untouched_run: Path) -> Path:
    """A copy of `untouched_run` for each process; tests score it, and so add to it."""
    folder = tmp_path_factory.mktemp('small_run')
    return shutil.copytree(untouched_run, folder, dirs_exist_ok=True)


@pytest.fixture(scope='session')
def untouched_run(request: pytest.FixtureRequest) -> Path:
    """What `make_small_run` makes; nobody scores it, so that every file of it can be compared with."""
    return made_once(request, 'untouched_run', make_small_run)


@pytest.fixture(scope='session')
def compiled_steps(
    request: pytest.FixtureRequest, untouched_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """This process has compiled what trains on the data of `untouched_run`."""
    import train

    with nobodys_time(request.config):
        models = ['--models_dir', str(tmp_path_factory.mktemp('compiled'))]
        train.main([*training_flags(untouched_run), *models, '--epochs', '1', '--rn_epochs', '1'])


def made_once(request: pytest.FixtureRequest, name: str, make: Callable[[Path], Path]) -> Path:
    """A folder that the first of several test processes makes, and the others wait for."""
    factory = request.getfixturevalue('tmp_path_factory')
    parallel = 'PYTEST_XDIST_WORKER' in os.environ
    folder = (factory.getbasetemp().parent if parallel else factory.getbasetemp()) / name
    with nobodys_time(request.config), FileLock(f'{folder}.lock'):
        if not folder.exists():
            folder.mkdir()
            try:
                make(folder)
            except BaseException:
                shutil.rmtree(folder)  # the other process tries again, and fails with the reason
                raise
    return folder


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
        train.main([*training_flags(folder), '--epochs', '2', '--rn_epochs', '2'])
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


def training_flags(folder: Path) -> list[str]:
    """The same for train.py alone: 32 steps an epoch of the recognition network instead of 384."""
    return ['--rn_batch_size', '96', *small_flags(folder)]
