"""Damaged checkpoints, states, lock files and histories: a right result or a `UserError`, and nothing else.

Bytes are flipped, cut, swapped, repeated and inserted at random, seeded by the case's number, so that a failing case
can be run again. The files are small, so that most damage hits what is parsed. A case that hangs is ended by an alarm.
"""

from __future__ import annotations

import contextlib
import random
import signal
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sge_la.checkpoints import (
    describe,
    encoder_shapes,
    load_encoder,
    load_recognition,
    read_bundle,
    recognition_shapes,
    save_encoder,
    save_recognition,
)
from sge_la.checkpoints.table import read_table, write_table
from sge_la.errors import UserError
from sge_la.files import locks
from sge_la.files.locks import claim
from sge_la.files.npz import read_npz, write_npz
from sge_la.runs import records, state_files
from sge_la.settings.names import parse_run_name
from sge_la.settings.papers import is_dataset_name

resource = pytest.importorskip('resource')

STEM = 'trained_model.ckpt'
MEMORY = 1 << 30
HANG_SECONDS = 20
NUMBERS = [0, 1, 2, 7, 8, 0x0A, 0x12, 0x1A, 0x20, 0x28, 0x35, 0x3A, 0x7F, 0x80, 0xFE, 0xFF]


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Ends a hang, and refuses memory beyond what the process holds now and 1 GiB."""

    def hang(*_: object) -> None:
        raise TimeoutError(f'a case took more than {HANG_SECONDS} seconds')

    pages = int(Path('/proc/self/statm').read_text().split()[0]) if Path('/proc/self/statm').exists() else 0
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, hang)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def damage(content: bytes, chance: random.Random) -> bytes:
    """One to four damages of a random kind."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice([1, 1, 1, 2, 4, 8, 32]))
        kind = chance.randrange(7)
        if kind == 0 and start < len(data):
            data[start] ^= 1 << chance.randrange(8)
        elif kind == 1 and start < len(data):
            data[start] = chance.choice(NUMBERS)
        elif kind == 2:
            del data[start : chance.choice([end, len(data)])]
        elif kind == 3:
            data[start:start] = chance.randbytes(chance.randint(1, 9))
        elif kind == 4:
            other = chance.randrange(len(data) + 1)
            data[start:start] = data[other : other + 16]
        elif kind == 5:
            data[start:end] = bytes([chance.choice(NUMBERS)]) * (end - start)
        else:
            other = chance.randrange(len(data) + 1)
            data[start:end], data[other : other + end - start] = data[other : other + end - start], data[start:end]
    return bytes(data)


def put(path: Path, content: bytes) -> None:
    """Writes a new file: overwriting one makes some file systems flush it to the disk, which takes milliseconds."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def try_all(
    cases: range, prepare: Callable[[random.Random], object], read: Callable[[], object], check: Callable
) -> None:
    """Runs `prepare` and `read` for every case; what `read` returns goes to `check`, a `UserError` is one sentence."""
    refused = 0
    with limits(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # names that are ignored
        for case in cases:
            chance = random.Random(case)
            spoiled = prepare(chance)
            signal.alarm(HANG_SECONDS)
            try:
                result = read()
            except UserError as error:
                refused += 1
                assert str(error) and '\n' not in str(error), (case, str(error))
            except BaseException as error:
                pytest.fail(f'case {case} gave {error!r} for {spoiled!r}')
            else:
                assert check(result), (case, spoiled, result)
            signal.alarm(0)
    assert refused > len(cases) // 20, 'hardly anything was refused: the damage does not reach the reader'


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], value) for name, value in expected.items()
    )


@pytest.fixture
def network(tmp_path) -> dict[str, np.ndarray]:
    """The variables of a small recognition network, saved in `tmp_path` with Adam's slots."""
    rng = np.random.default_rng(0)
    params = {name: rng.standard_normal(shape, np.float32) for name, shape in recognition_shapes(3, 2, 2).items()}
    save_recognition(tmp_path, params, (params, params), step=5)
    return params


@pytest.mark.parametrize('part', ['index', 'data-00000-of-00001'])
def test_damaged_bundles(network, tmp_path, fuzz_cases, part):
    """Checksums cover every byte that matters, so what is read at all is what was written."""
    path = tmp_path / f'{STEM}.{part}'
    whole = path.read_bytes()

    def spoil(chance):
        content = damage(whole, chance)
        put(path, content)
        return content

    try_all(fuzz_cases, spoil, lambda: load_recognition(tmp_path), lambda found: same(found.params, network))


def test_hostile_indexes_with_right_checksums(network, tmp_path, fuzz_cases):
    """What an attacker writes, not what a disk does: TensorFlow's own reader ends the process on most of these.

    Whatever is read must have come from the data file, so it cannot be larger.
    """
    path = tmp_path / f'{STEM}.index'
    rows = read_table(path.read_bytes())
    size = (tmp_path / f'{STEM}.data-00000-of-00001').stat().st_size

    def spoil(chance):
        spoiled = {}
        for key, value in rows:
            key = damage(key, chance) if chance.random() < 0.05 else key
            spoiled[key] = damage(value, chance) if chance.random() < 0.15 else value
        put(path, write_table(sorted(spoiled.items())))
        return spoiled

    def read():
        tensors = read_bundle(tmp_path / STEM)
        describe(tensors)
        return tensors

    try_all(fuzz_cases, spoil, read, lambda tensors: 0 < sum(value.nbytes for value in tensors.values()) <= size)


def test_hostile_shapes_of_encoders(tmp_path, fuzz_cases):
    """Sound files whose variables have any shape: a model that fits, or both sides listed."""
    path, shapes, spoiled = tmp_path / f'{STEM}.npz', encoder_shapes(3, 2, 2), {}

    def spoil(chance):
        spoiled.clear()
        for name, shape in shapes.items():
            name = damage(name.encode(), chance).decode('latin-1') if chance.random() < 0.03 else name
            dims = tuple(chance.choice([1, 2, 3, dim]) if chance.random() < 0.02 else dim for dim in shape)
            dims = chance.choice([(), dims[:1], (*dims, 1)]) if chance.random() < 0.01 else dims
            spoiled[name] = np.full(dims, chance.choice([np.nan, 1e300]) if chance.random() < 0.01 else 0.5)
        path.unlink(missing_ok=True)
        np.savez(path, **spoiled)
        return {name: value.shape for name, value in spoiled.items()}

    def right(found):
        return all(value.shape == (1, *spoiled[name].shape) for name, value in found.params.items())

    try_all(fuzz_cases, spoil, lambda: load_encoder([tmp_path]), right)


def test_damaged_npz_files(network, tmp_path, fuzz_cases):
    """A ZIP file's own bookkeeping has no checksum, so a member can vanish; arrays that are read are right."""
    path = tmp_path / f'{STEM}.npz'
    write_npz(path, network, {'epoch': 3})
    whole = path.read_bytes()

    def spoil(chance):
        content = damage(whole, chance)
        put(path, content)
        return content

    def right(result):
        arrays, meta = result
        return meta in ({}, {'epoch': 3}) and all(
            np.array_equal(array, network[name]) for name, array in arrays.items() if name in network
        )

    try_all(fuzz_cases, spoil, lambda: read_npz(path), right)


def test_hostile_npz_files_with_right_checksums(network, tmp_path, fuzz_cases):
    """Members whose headers were damaged before the archive was made: never more numbers than the file has bytes."""
    path = tmp_path / f'{STEM}.npz'
    write_npz(path, network, {'epoch': 3, 'list': [1, {'a': None}]})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def spoil(chance):
        path.unlink()
        with zipfile.ZipFile(path, 'w') as archive:
            for name, content in members.items():
                archive.writestr(name, damage(content, chance) if chance.random() < 0.3 else content)
        return path.read_bytes()

    def right(result):
        return sum(array.nbytes for array in result[0].values()) <= path.stat().st_size and isinstance(result[1], dict)

    try_all(fuzz_cases, spoil, lambda: read_npz(path), right)


def test_damaged_states(network, tmp_path, fuzz_cases):
    """The newest state is damaged: it, or the one before it, is given back."""
    before = {name: value + 1 for name, value in network.items()}
    state_files.save_state(tmp_path, {'params': before}, {'epoch': 1})
    state_files.save_state(tmp_path, {'params': network}, {'epoch': 2})
    path, previous = tmp_path / 'resume.npz', tmp_path / 'resume.previous.npz'
    whole, whole_before = path.read_bytes(), previous.read_bytes()

    def spoil(chance):
        content = damage(whole, chance)
        put(path, content)
        put(previous, damage(whole_before, chance) if chance.random() < 0.2 else whole_before)
        return content

    def right(state):
        expected = network if not state.warning else before
        found = state.parts.get('params', {})
        return all(np.array_equal(found[name], value) for name, value in expected.items() if name in found)

    try_all(fuzz_cases, spoil, lambda: state_files.load_state(tmp_path), right)


def test_damaged_lock_files(tmp_path, fuzz_cases, monkeypatch):
    """By content, the harder way: a live owner is never pushed aside unless the file no longer names it."""
    monkeypatch.setattr(locks, 'fcntl', None)
    path = tmp_path / 'run.lock'
    with claim(tmp_path):
        whole = path.read_bytes()

    def spoil(chance):
        content = damage(whole, chance)
        put(path, content)
        return content

    def read():
        with claim(tmp_path) as lock:
            return lock.note

    try_all(fuzz_cases, spoil, read, lambda note: note.startswith('took over'))


def test_damaged_histories(tmp_path, fuzz_cases):
    records.write_history(
        tmp_path, [{'epoch': 1, 'loss': 0.25, 'note': 'a "quoted", text'}, {'epoch': 2, 'loss': -1e-8}]
    )
    path = tmp_path / 'history.csv'
    whole = path.read_bytes()

    def spoil(chance):
        content = damage(whole, chance)
        put(path, content)
        return content

    def right(rows):
        return all(isinstance(value, (int, float, str)) for row in rows for value in row.values())

    try_all(fuzz_cases, spoil, lambda: records.read_history(tmp_path), right)


def test_damaged_names(tmp_path, fuzz_cases):
    names = ['KS20_BA_RN_ap_6_0.1_0view_3pre_rev_rec_select-val', 'IAS-A_LA_x_6_0.5_1pre_sorting', 'BIWI_LA_RN_sc']
    chosen = []

    def spoil(chance):
        chosen[:] = [damage(chance.choice(names).encode(), chance).decode('latin-1')]
        return chosen[0]

    def right(found):
        named = found.kind in ('encoder', 'recognition') and is_dataset_name(found.dataset[:64])
        return named and chosen[0].endswith(found.suffix)

    try_all(fuzz_cases, spoil, lambda: parse_run_name(chosen[0]), right)


def test_a_sound_encoder_is_read_under_the_limits(tmp_path):
    """The limits themselves refuse nothing that is sound."""
    params = {name: np.ones((3, *shape), np.float32) for name, shape in encoder_shapes(20, 6).items()}
    folders = [tmp_path / axis for axis in 'xyz']
    with limits():
        save_encoder(folders, params, (params, params), step=9)
        found = load_encoder(folders, 20, 6)
    assert same(found.params, params) and found.step == 9
