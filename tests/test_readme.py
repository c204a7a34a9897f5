"""What the documents show works: commands and Python examples are executed on tiny data, in the order of the text.

Documents are all Markdown files. A shell or Python block is executed; a command that is too dear for a test, or that
stands in a sentence, is parsed by its own parser; whatever else stands in a fence is listed here with the reason. A
command's optional parts `[--flag value]` are left out when it is executed, and parsed with it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import runpy
import shlex
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from sge_la.__main__ import COMMANDS
from sge_la.data import load
from sge_la.data.skeletons import from_json
from sge_la.errors import run_command
from sge_la.settings.command_line import parse_evaluate, parse_train
from tests.command_line_cases import uncompiled, write_people
from tests.data.generators import body, own_csv, write_kgbd

ROOT = Path(__file__).parents[1]
DOCUMENTS = tuple(
    str(path.relative_to(ROOT))
    for pattern in ('*.md', 'docs/*.md', '*/README.md')
    for path in sorted(ROOT.glob(pattern))
    if not path.parent.name.startswith('.')  # pytest's cache has a README of its own
)
# What makes docs/commands.md: each command and its parser.
COMMANDS_PAGE = runpy.run_path(str(ROOT / 'docs' / 'write_commands.py'))

# Blocks that hold no command and no Python, by how they begin.
SHOWN = {
    '### Rank-1 Accuracy': 'what make demo prints',
    'Epoch chosen by': 'what evaluate.py prints; tests/evaluation/test_epochs.py has the form',
    '@article{': 'BibTeX',
    'Datasets/': 'a tree of files; tests/data/test_datasets.py reads and writes all of them',
    'Models/': 'a tree of files; tests/checkpoints/test_checkpoints.py has the names',
    'lab/': 'a tree of files; the commands below it are executed on such a folder',
    'file,person,recording,split': 'a table; the commands below it are executed on such a one',
    'export JAX_COORDINATOR_ADDRESS': 'two machines; tests/backends/test_devices.py starts such processes on one',
    '{"joints"': 'a skeleton; the commands below it are executed on this one',
    '[\n  {"dataset"': 'the runs of a sweep; tests/sweep/test_runs.py reads them',
    'frame,Hip_x': 'a recording; the commands below it are executed on such files',
}
# Commands that are parsed and not executed, by how they begin.
NOT_EXECUTED = {
    'python3 -m venv': 'makes an environment',
    'pip install': 'needs a package index; the names are looked up in pyproject.toml and requirements',
    'python train.py --dataset CASIA_B': 'a table of runs; tests/paper/test_casia_b.py executes them',
    'python evaluate.py --dataset CASIA_B': 'scores a table of runs; tests/paper/test_casia_b.py executes them',
    'python -m sge_la.data.prepare CASIA_B': 'simulates for a minute; tests/data/test_simulate.py executes it',
    'python -m sge_la.data.prepare KGBD --raw FOLDER --split': 'needs all of KGBD; see test_splits.py',
    'python train.py --dataset KS20 --backend jax': 'TensorFlow is loaded; tests/backends/test_devices.py starts such',
    'sge-la sweep': 'trains many runs; tests/sweep/test_sweep.py executes such commands',
    'python -m benchmarks.': 'tests/test_benchmarks.py executes them',
}
# What makes a command fit for a test; later flags win.
SMALL = {
    'train': '--epochs 1 --rn_epochs 1 --batch_size 12 --rn_batch_size 128 --gpu -1',
    'evaluate': '--gpu -1',
    'compare': '--runs 1 --lstm_epochs 1 --yardstick_epochs 1 --gpu -1',
    'identify': '--gpu -1',
}
# Words of the documents that stand for something.
PLACEHOLDERS = {'N': '2', 'NAME': 'KGBD', 'FOLDER': 'elsewhere', 'PIECE': 'sizes', 'ROW': 'GE', 'FILE': 'config.json'}
# Flags that the documents name and that belong to other programs, by how they begin.
OF_OTHERS = ('--logdir', '--xla_', '--fuzz-cases')
BENCHMARKS = tuple(
    f'benchmarks.{path.stem}' for path in sorted((ROOT / 'benchmarks').glob('*.py')) if 'def main(' in path.read_text()
)


PARSE = {'train': parse_train, 'evaluate': parse_evaluate}


class Block(NamedTuple):
    """A fenced block: where it is, its language, and its text."""

    document: str
    language: str
    text: str


class Command(NamedTuple):
    """A command of a block, with and without its optional parts."""

    line: str
    plain: list[str]
    full: list[str]

    @property
    def program(self) -> str:
        """The command of sge-la, whichever way it is called, or else the module or script."""
        called = self.plain[self._first() - 1]
        name = called.removesuffix('.py').removeprefix('sge_la.').removeprefix('data.')
        return name if name in COMMANDS else called

    def arguments(self, full: bool = False) -> list[str]:
        return (self.full if full else self.plain)[self._first() :]

    def _first(self) -> int:
        return {'-m sge_la': 4}.get(' '.join(self.plain[1:3]), 3 if self.plain[1] == '-m' else 2)


FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding='utf-8')
    found = FENCE.findall(text)
    assert 2 * len(found) == len(re.findall('^ *```', text, re.MULTILINE)), f'{document}: a fence is not closed'
    return [Block(document, *block) for block in found]


def in_sentences(document: str) -> list[str]:
    """The commands outside of blocks, each on one line."""
    text = FENCE.sub('', (ROOT / document).read_text(encoding='utf-8'))
    ways = (r'python -m [^`]+', r'(?:python )?(?:train|evaluate)\.py\s[^`]+', r'python \w+/[^`]+', r'sge-la \w[^`]*')
    commands = rf'`(?:[A-Z_]+=\w+ )?({"|".join(ways)}|make \w[^`]*)`'
    found = [' '.join(line.split()) for line in re.findall(commands, text)]
    return [line if line.startswith(('python', 'sge-la', 'make')) else f'python {line}' for line in found]


def shell_lines(block: Block) -> list[str]:
    """The commands of a block; a block with any is made of nothing else."""
    lines = [line.split('  #')[0].strip() for line in block.text.splitlines()]
    commands = [line for line in lines if re.match(r'(python3?|sge-la|pip|make) ', line)]
    assert not commands or commands == lines, f'{block.document}: commands and other text in one block: {lines}'
    return commands


def command(line: str) -> Command:
    """A line of the documents as words; `a|b` stands for a choice, words in capitals for something."""
    words = {}
    for kind, text in (('plain', re.sub(r'\[.*?\]', '', line)), ('full', re.sub(r'[\[\]]', '', line))):
        found = [word.split('|')[0] for word in shlex.split(text) if word != '...']
        words[kind] = [PLACEHOLDERS.get(word, word) for word in found]
        if '--raw' in found:
            words[kind] = ['../KinectGait' if word == 'elsewhere' else word for word in words[kind]]
    return Command(line, **words)


def reason(line: str) -> str | None:
    return next((why for start, why in NOT_EXECUTED.items() if line.startswith(start)), None)


def main_of(program: str) -> Callable:
    if program in COMMANDS:
        return COMMANDS_PAGE['main_of'](program)
    module = importlib.import_module(program)
    return (importlib.import_module(f'{program}.__main__') if hasattr(module, '__path__') else module).main


def parse(one: Command, full: bool) -> None:
    """Gives the words to the program's own parser, which refuses what it does not know."""
    if one.plain[0] == 'make':
        targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
        assert one.plain[1] in targets
    elif one.plain[0] == 'pip':
        for name in one.plain[2:]:
            assert name == '-r' or (ROOT / name).is_file() or name.split('[')[0] in ('tensorflow', 'jax', '.'), name
            if name.startswith('.['):
                assert re.search(rf'^{name[2:-1]} = ', (ROOT / 'pyproject.toml').read_text(), re.MULTILINE)
    elif one.program in PARSE:
        PARSE[one.program](one.arguments(full))
    elif one.program.endswith('.py'):
        assert (ROOT / one.program).is_file()
    else:
        _, further = parser_of(one.program).parse_known_intermixed_args(one.arguments(full))
        parse_train(further) if one.program == 'ablation' else parse_nothing(further)


def parse_nothing(words: list[str]) -> None:
    assert not words


@cache
def parser_of(program: str) -> argparse.ArgumentParser:
    return COMMANDS_PAGE['parser_of'](main_of(program))


def place(block: Block) -> str:
    return f'{block.document}: {block.text.splitlines()[0]}'


ALL = [block for document in DOCUMENTS for block in blocks(document)]


@pytest.mark.parametrize('block', ALL, ids=place)
def test_every_block_is_executed_parsed_or_listed(block):
    shown = [why for start, why in SHOWN.items() if block.text.startswith(start)]
    commands = shell_lines(block)
    assert (block.language == 'python') + bool(commands) + len(shown) == 1, f'list it with a reason:\n{block.text}'
    for line in commands:
        if line.startswith('python3 -m venv'):
            continue
        for full in (False, True):
            parse(command(line), full)


SENTENCES = [(document, line) for document in DOCUMENTS for line in in_sentences(document)]


@pytest.mark.parametrize(('document', 'line'), SENTENCES)
def test_commands_in_sentences_are_parsed(document, line):
    one = command(line)
    if one.plain[0] == 'make' or one.arguments() or one.program.endswith('.py'):
        parse(one, full=True)
    else:  # a program is named, without what it needs
        assert callable(main_of(one.program))


def test_the_lists_are_of_what_is_there():
    lines = [line for block in ALL for line in shell_lines(block)]
    assert [start for start in SHOWN if not any(block.text.startswith(start) for block in ALL)] == []
    assert [start for start in NOT_EXECUTED if not any(line.startswith(start) for line in lines)] == []


def test_flags_that_the_documents_name_are_there():
    """In tables and sentences too: each is a flag of some command."""
    known = {flag for program in (*COMMANDS, *BENCHMARKS) for flag in parser_of(program)._option_string_actions}
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding='utf-8')
        named = set(re.findall(r'(?<![\w-])--[a-zA-Z][\w-]*', text))
        unknown = {flag for flag in named - known if not flag.startswith(OF_OTHERS)}
        assert not unknown, f'{document}: {unknown}'


def test_files_that_the_documents_name_are_there():
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding='utf-8')
        for target in re.findall(r'\]\(([^)#]+)\)', text):
            if '://' not in target:
                assert ((ROOT / document).parent / target).exists(), f'{document}: {target}'


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Iterator[Path]:
    """What a reader has before the first command of a page: data, a lab's recordings, and what make demo leaves."""
    home = tmp_path_factory.mktemp('readme')
    work = home / 'work'
    write_kgbd(home / 'KinectGait', {number: [body(60, 20, 10 * number + k) for k in range(3)] for number in (1, 2, 3)})
    work.mkdir()
    (work / 'kinect gait raw dataset').symlink_to(home / 'KinectGait')
    write_people(work / 'Datasets', 'BIWI', layout=3, recordings=True)
    write_lab(work / 'lab')
    with pytest.MonkeyPatch.context() as patch, uncompiled():
        patch.chdir(work)
        importlib.import_module('sge_la.data.prepare').main(
            ['DEMO', '--people', '3', '--recordings', '3', '--data_dir', 'demo/Datasets']
        )
        places = '--data_dir demo/Datasets --models_dir demo/Models'
        main_of('train')(f'--dataset DEMO {places} {SMALL["train"]} --batch_size 64'.split())
        np.save('walk.npy', load('DEMO', data_dir='demo/Datasets').train.skeletons[8:10].reshape(-1, 20, 3))
        yield work


def write_lab(place: Path) -> None:
    """The folder of recordings that Datasets/README.md describes, with its own table and skeleton."""
    shown = {start: next(block.text for block in ALL if block.text.startswith(start)) for start in SHOWN}
    place.mkdir()
    (place / 'skeleton.json').write_text(shown['{"joints"'])
    (place / 'recordings.csv').write_text(shown['file,person,recording,split'])
    skeleton = from_json(json.loads(shown['{"joints"']), 'Datasets/README.md')
    for number, line in enumerate(shown['file,person,recording,split'].splitlines()[1:]):
        file, frames = place / line.split(',')[0], body(60, len(skeleton.joints), number)
        file.parent.mkdir(exist_ok=True)
        if file.suffix == '.npy':
            np.save(file, frames)
        else:
            file.write_text(own_csv(frames, skeleton, range(len(frames))))
            header = shown['frame,Hip_x'].splitlines()[0]
            assert file.read_text().splitlines()[0] == header


def executed(block: Block) -> list[str]:
    """The commands of a block that a test executes."""
    return [line for line in shell_lines(block) if reason(line) is None]


def small(one: Command) -> list[str]:
    """The words of a command, and what makes it fit for a test."""
    words = SMALL.get(one.program, '')
    if '--recipe modern' in one.line:  # which trains the network beside the encoders
        words = words.replace('--rn_epochs 1', '')
    return [*one.arguments(), *words.split()]


WITH_COMMANDS = [name for name in DOCUMENTS if any(b.language == 'python' or executed(b) for b in blocks(name))]


@pytest.mark.slow
@pytest.mark.parametrize('document', WITH_COMMANDS)
def test_commands_and_examples_in_the_order_of_the_text(folder, document, capsys):
    shutil.rmtree('Models', ignore_errors=True)
    session: dict = {}  # of Python, in which a reader tries the examples of a page
    for block in blocks(document):
        if block.language == 'python':
            exec(compile(block.text, place(block), 'exec'), session)
        for line in executed(block):
            one = command(line)
            assert run_command(main_of(one.program), small(one)) == 0, f'{line}\n{capsys.readouterr().err}'
