"""Damaged configurations, results and feature files of run folders: a right result or a `UserError`, nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from sge_la.errors import UserError
from sge_la.runs import records
from sge_la.runs.find import options_of_folder
from sge_la.settings.command_line import parse_evaluate, parse_train
from tests.conftest import part
from tests.fuzz.bounds import hold_to_its_word
from tests.fuzz.mutation import cases

SCORES = {'rank1': 0.5, 'nauc': 0.75, 'sequences': 30, 'classes': 4, 'rank_n': [0.5, 0.75, 1.0, 1.0]}


def test_results(tmp_path, fuzz_cases):
    """What is read back of them can be printed and added to."""
    tests = {
        'Walking': {'selected': {**SCORES, 'epoch': 3, 'select': 'test'}, 'last': {**SCORES, 'epoch': 4}},
        'Still': {'selected': {'epoch': 3}, 'all_sequences': {**SCORES, 'nauc': None}, 'tasks': {'sorting': SCORES}},
    }
    records.write_results(tmp_path, {'test_sets': tests, 'seconds': {'encoding': 1.5}})

    def check(results: dict, content: bytes) -> None:
        for kinds in results.get('test_sets', {}).values():
            found = {**kinds, **kinds.get('tasks', {})}
            found.pop('tasks', None)
            for kind, scores in found.items():
                if kind != 'selected' or 'rank1' in scores:
                    f'{scores["rank1"]:.6f} {scores.get("nauc") or 0:.6f} {scores["sequences"]}'
            if 'last' in kinds:
                f'{kinds["last"]["epoch"]}'
            assert kinds.get('selected', {}).get('select', 'test') in ('test', 'last', 'val')

    path = tmp_path / 'results.json'
    read, refused = hold_to_its_word(
        cases([path.read_bytes()], fuzz_cases), path, lambda _: records.read_results(tmp_path), check
    )
    assert read > 0.1 * len(fuzz_cases) and refused > 0.3 * len(fuzz_cases)


def test_configurations(tmp_path, fuzz_cases):
    """Whatever they say becomes options that could have been typed, and none says where to read or write."""
    flags = ['', '--dataset KS20 --view 3 --seed 7', '--model rev_rec_plus', '--dataset KGBD --frozen 1 --select val']
    seeds = [
        json.dumps({'options': asdict(parse_train(text.split())), 'record': {'seed': 0}}, indent=1).encode()
        for text in flags
    ]

    def check(options, content: bytes) -> None:
        assert (options.data_dir, options.models_dir) == ('Datasets', 'Models')
        assert all(letter.isalnum() or letter in '-._+' for letter in options.dataset + (options.transfer or ''))
        assert 2 <= options.length <= 1000 and 0 <= options.seed < 2**31

    counts = hold_to_its_word(
        cases(seeds, fuzz_cases),
        tmp_path / 'config.json',
        lambda path: parse_train(['--config', str(path)]),
        check,
    )
    assert min(counts) > 0.05 * len(fuzz_cases)


def test_configurations_of_named_folders(tmp_path, fuzz_cases):
    """A quarter of the cases, since the way is the same but for its beginning."""
    records.write_config(tmp_path, {'options': asdict(parse_train([])), 'record': {'seed': 0}, 'finished': True})

    def check(options, content: bytes) -> None:
        assert (options.data_dir, options.models_dir) == ('Datasets', 'Models')

    path = tmp_path / 'config.json'
    counts = hold_to_its_word(
        cases([path.read_bytes()], part(fuzz_cases, 4)),
        path,
        lambda _: parse_evaluate(['--RN_dir', str(tmp_path)], options_of_folder),
        check,
    )
    assert min(counts) > 0.01 * len(fuzz_cases)


def test_feature_files(tmp_path, fuzz_cases):
    from sge_la.features.files import read_features

    rng = np.random.default_rng(0)
    arrays = {'X': rng.normal(size=(6, 4)).astype(np.float32), 'y': np.eye(3, dtype=np.uint8)[[0, 0, 1, 1, 2, 2]]}
    contents = {}
    for name, array in arrays.items():
        np.save(tmp_path / f'val_{name}.npy', array)
        contents[name] = (tmp_path / f'val_{name}.npy').read_bytes()

    def check(features, content: bytes) -> None:
        assert len(features.X) == len(features.labels) > 0 and features.X.ndim == 2
        assert ((features.labels >= 0) & (features.labels < features.num_classes)).all()

    for name in arrays:
        path = tmp_path / f'val_{name}.npy'
        damaged = cases([contents[name]], part(fuzz_cases, 2), seed=len(name), focus=128)
        hold_to_its_word(damaged, path, lambda _: read_features(tmp_path, 'val'), check)
        path.write_bytes(contents[name])
    assert read_features(tmp_path, 'val').num_classes == 3


def test_long_numbers_and_strange_letters(tmp_path):
    """What byte by byte damage hardly hits: numbers of thousands of digits, halves of letters, and other types."""
    path = tmp_path / 'config.json'
    values = [
        '1' * 5000,
        '"\\ud800"',
        '"a\\u0000"',
        '[1]',
        '{"a": 1}',
        '1e999',
        '-1',
        '"../../x"',
        '"' + 'x' * 9000 + '"',
    ]
    refused = 0
    for name in asdict(parse_train([])):
        for value in values:
            path.write_text(f'{{"options": {{"{name}": {value}}}}}')
            try:
                options = parse_train(['--config', str(path)])
            except UserError as error:
                assert '\n' not in str(error)
                refused += 1
            else:
                assert (options.data_dir, options.models_dir) == ('Datasets', 'Models')
    assert refused > 100
