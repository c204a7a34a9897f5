"""What the tests of the command lines share: small data sets, and running a command in this process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import evaluate
import train
from sge_la import checkpoints
from sge_la.data.layout import dataset_files
from sge_la.data.write import write_dataset
from sge_la.errors import run_command
from tests.conftest import tiny_split

PEOPLE = (0, 3, 6)
EACH, TEST_EACH = 12, 8  # 36 training sequences (BIWI's encoders see 24) and 24 test sequences, 144 frames
USUAL = 'KGBD_LA_RN_ap_6_0.5_0pre_rev_rec'
CAGES, AGES, ENCODERS = 'CAGEs_RN_models', 'AGEs_RN_models', 'Gait_Encoding_models'


def write_people(
    data_dir: Path,
    name: str,
    *,
    layout: int = 2,
    length: int = 6,
    joints: int = 20,
    view: int | None = None,
    each: int = EACH,
    recordings: bool = False,
) -> None:
    """Writes a data set of three people, who can be told apart, with all test sets that its layout has."""
    training = tiny_split(list(np.repeat(PEOPLE, each)), length, joints, 0, recordings)
    names = dataset_files(data_dir, name, length, layout, view).tests
    tests = {
        test: tiny_split(list(np.repeat(PEOPLE, TEST_EACH)), length, joints, 1 + number, recordings)
        for number, test in enumerate(names)
    }
    write_dataset(data_dir, name, training, tests, layout=layout, view=view)


def encoders_of(name: str) -> set[str]:
    return {name.format(axis) for axis in 'xyz'}


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Runs compiled functions operation by operation: the same numbers, without seconds of compiling for each model."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


class Commands:
    """train.py and evaluate.py in this process, with `--verbose`, on data sets and models of one folder.

    Attributes:
        data_dir, models_dir: where they look.
        out, err: what the last command printed.
    """

    def __init__(self, capsys, data_dir: Path, models_dir: Path):
        self.capsys, self.data_dir, self.models_dir = capsys, data_dir, models_dir
        self.out = self.err = ''

    def _run(self, main, flags: str, models_dir: Path | None) -> int:
        self.capsys.readouterr()
        places = ['--data_dir', str(self.data_dir), '--models_dir', str(models_dir or self.models_dir), '--gpu', '-1']
        status = run_command(main, flags.split() + places)
        self.out, self.err = self.capsys.readouterr()
        return status

    def train(self, flags: str, *, epochs: int = 1, rn_epochs: int = 1, models_dir: Path | None = None) -> None:
        """Runs train.py, which must succeed."""
        status = self.try_train(flags, epochs=epochs, rn_epochs=rn_epochs, models_dir=models_dir)
        assert status == 0, self.err

    def try_train(self, flags: str, *, epochs: int = 1, rn_epochs: int = 1, models_dir: Path | None = None) -> int:
        lasting = '' if '--train_flag 2' in flags else f'--epochs {epochs} --rn_epochs {rn_epochs} '
        return self._run(train.main, f'--verbose {lasting}--batch_size 12 --rn_batch_size 128 {flags}', models_dir)

    def evaluate(self, flags: str, *, models_dir: Path | None = None) -> None:
        """Runs evaluate.py, which must succeed."""
        assert self.try_evaluate(flags, models_dir=models_dir) == 0, self.err

    def try_evaluate(self, flags: str, *, models_dir: Path | None = None) -> int:
        return self._run(evaluate.main, f'--verbose {flags}', models_dir)

    def network(self, name: str) -> Path:
        """The folder of a recognition network."""
        return self.models_dir / (CAGES if 'pre_' in name else AGES) / name

    def results(self, name: str) -> dict:
        return json.loads((self.network(name) / 'results.json').read_text())['test_sets']

    def config(self, name: str) -> dict:
        return json.loads((self.network(name) / 'config.json').read_text())

    def folders(self, root: str = ENCODERS) -> set[str]:
        place = self.models_dir / root
        return {path.name for path in place.iterdir()} if place.is_dir() else set()

    def parsed(self) -> list[dict]:
        """Rank-1, nAUC and Rank-n of each `###` block of the last command, as a script would read them."""
        blocks, lines = [], self.out.splitlines()
        for place, line in enumerate(lines):
            if line.startswith('### Rank-n Accuracy'):
                blocks.append({'rank_n': eval(lines[place + 1], {}, {'nan': float('nan')})})
            elif line.startswith('### Rank-1 Accuracy: '):
                blocks[-1]['rank1'] = line.split(': ')[1]
            elif line.startswith('### nAUC: '):
                blocks[-1]['nauc'] = float(line.split(': ')[1])
        return blocks


def refused(error: str) -> str:
    """Checks that an error is one sentence on one line, and returns it."""
    lines = [line for line in error.splitlines() if not line.startswith('warning: ')]
    assert len(lines) == 1 and lines[0].startswith('error: '), error
    assert 'Traceback' not in error
    return lines[0]


def frame_scores(
    folder: Path, stem: str = 'trained_model.ckpt', features: str = 'val'
) -> tuple[np.ndarray, np.ndarray]:
    """Twin: logits of all feature rows `[R, C]` with NumPy alone, and their labels `[R]`."""
    params = checkpoints.load_recognition(folder, slots=False, stem=stem).params
    X, y = np.load(folder / f'{features}_X.npy'), np.load(folder / f'{features}_y.npy')
    hidden = np.maximum(X @ params['W1'] + params['b1'], 0)
    return hidden @ params['W'] + params['Variable'], y.argmax(axis=1)


def twin_rank1(logits: np.ndarray, labels: np.ndarray, length: int) -> float:
    """Twin: whole batches of 128 rows, then windows, one after the other."""
    rows = len(logits) // 128 * 128 if len(logits) >= 128 else len(logits)
    right = []
    for start in range(0, rows - length + 1, length):
        window = labels[start : start + length]
        if len(set(window)) == 1:
            right.append(logits[start : start + length].mean(axis=0).argmax() == window[0])
    return float(np.mean(right))
