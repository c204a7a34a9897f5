"""The options of both commands.

One field of a dataclass is one flag, with one help text. Values left alone are None until `sge_la.settings.rules` fills
in what the data set's paper settings say.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sge_la.backends.starting import NAMES
from sge_la.settings.papers import (
    ALL,
    BATCH_SIZE,
    CME,
    CONDITION_MATCHING,
    CVE,
    DOUBLE_PRETEXT,
    PLUS,
    PROBE_TYPES,
    TASKS,
    is_dataset_name,
)
from sge_la.settings.recipe import MODERN, ORIGINAL, piece

# Of the operands of matrix products.
FLOAT32, BFLOAT16 = 'float32', 'bfloat16'


def number(kind: type, low: float, high: float, what: str):
    """A type for argparse: a number within bounds; `what` is expected."""

    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f'expected {what}, found {text!r}')
        return value

    return parse


_COUNT = number(int, 1, 10**6, 'a whole number of at least 1')
_FRAMES = number(int, 2, 1000, 'a number of frames from 2 to 1000, such as 6')
_TEMPERATURE = number(float, 1e-6, 1e6, 'a positive number, such as 0.1')
_BATCH = number(int, 2, 65536, 'a whole number from 2 to 65536')
_SEED = number(int, 0, 2**31 - 1, 'a whole number from 0 to 2147483647')
_RATE = number(float, 1e-9, 1.0, 'a learning rate above 0 and up to 1, such as 0.0005')
KS20_VIEWS = range(5)


share = number(float, 0.0, 1.0, 'a share from 0 to 1, such as 0.01')


def gpu_number(text: str) -> str:
    if not re.fullmatch(r'-1|[0-9]{1,4}', text):
        raise argparse.ArgumentTypeError(f"expected a GPU's number, such as 0, or -1 for the CPU, found {text!r}")
    return text


def _devices(text: str) -> str:
    if text != ALL and not re.fullmatch(r'[1-9][0-9]{0,4}', text):
        raise argparse.ArgumentTypeError(f'expected a number of devices, such as 2, or all, found {text!r}')
    return text


def _view(text: str) -> int | str | None:
    if text in ('None', ALL):
        return None if text == 'None' else text
    if not text.isascii() or not text.isdigit() or len(text) > 2:
        raise argparse.ArgumentTypeError(
            f"expected one of KS20's views 0 to 4, or of CASIA_B's 0 to 10 or all, found {text!r}"
        )
    return int(text)


def _dataset_name(text: str) -> str:
    if not is_dataset_name(text) or text == CONDITION_MATCHING:
        raise argparse.ArgumentTypeError(
            f"expected a data set's name of letters, digits, '-' and '.', such as BIWI, found {text!r}"
        )
    return text


def _text(text: str) -> str:
    if not text:  # such as `--RN_dir "$RUN"` gives where nobody has set RUN
        raise argparse.ArgumentTypeError('expected a name or a path, found nothing')
    return text


def flag(default: Any, help: str, *, type=None, choices: Sequence | None = None, group: str = 'method') -> Any:
    kind = type or (str if choices else _text)
    return field(default=default, metadata={'help': help, 'type': kind, 'choices': choices, 'group': group})


@dataclass(frozen=True)
class CommonOptions:
    """Flags that train.py and evaluate.py share."""

    dataset: str = flag(
        'BIWI',
        'BIWI, IAS, KGBD, KS20, KinectReID, CASIA_B, DEMO, or the name of your own',
        type=_dataset_name,
        group='common',
    )
    attention: str | None = flag(
        None, 'locality-aware (LA, default) or basic (BA, default of prediction and sorting)', choices=('LA', 'BA')
    )
    manner: str = flag(
        'ap', 'average prediction over frames (ap) or one prediction a sequence (sc)', choices=('ap', 'sc')
    )
    length: int = flag(
        6,
        'frames in a sequence: 4, 6, 8, 10, or any that the data set was cut to (default 6; CASIA_B CVE 20, CME 50)',
        type=_FRAMES,
    )
    t: float | None = flag(
        None, 'temperature of the contrastive loss (default 0.1; KGBD 0.5, CASIA_B 0.15)', type=_TEMPERATURE
    )
    view: int | str | None = flag(
        None,
        'train on all views but this one, test on it: KS20 0 to 4; CASIA_B CVE 0 to 10 (default 0) or all',
        type=_view,
    )
    probe_type: str | None = flag(
        None,
        'CASIA_B CME: conditions of probe and gallery (nm normal, bg bag, cl coat), or all (default nm.nm)',
        choices=(*PROBE_TYPES, ALL),
    )
    norm: int = flag(
        1,
        'CASIA_B: 1: the head is the origin of each frame, 0: coordinates scaled cell by cell',
        type=int,
        choices=(0, 1),
    )
    double_pretext: str = flag(
        '', 'CASIA_B, rev_rec_plus: join two encoders instead of three', choices=tuple(DOUBLE_PRETEXT)
    )
    transfer: str | None = flag(
        None, 'encode with the encoders of this data set and train only the recognition network', type=_dataset_name
    )
    frozen: int = flag(0, '1: the contrast head learns apart and gives the features', type=int, choices=(0, 1))
    c_reid: int = flag(0, "1: the contrast head's vectors are the features", type=int, choices=(0, 1))
    encoding: str = flag(
        'CAGE', 'CAGE (T-PAMI 2021) or AGE (IJCAI 2020, without the contrastive loss)', choices=('CAGE', 'AGE')
    )
    recipe: str = flag(
        ORIGINAL,
        'original: as the papers train; modern: the same method, trained as one would today (docs/modern.md)',
        choices=(ORIGINAL, MODERN),
        group='common',
    )
    precision: str = flag(
        FLOAT32,
        'matrix products of float32, or of operands that are rounded to bfloat16; weights stay float32',
        choices=(FLOAT32, BFLOAT16),
    )
    without: str | None = flag(
        None, "pieces of the modern recipe to leave out, joined by '+', such as sizes+decay", type=piece
    )
    supervised: bool = flag(
        False,
        'modern recipe: a further contrast pulls sequences of one person together, for encodings that are matched or '
        'for few passes (docs/modern.md)',
        type=bool,
    )
    faithful: bool = flag(False, 'repeat what the original really does where we differ (docs/original.md)', type=bool)
    select: str = flag(
        'test',
        'which epoch to keep: best on the test set (as the original), last, or best on held-out training data',
        choices=('test', 'last', 'val'),
        group='common',
    )
    unknown: float | None = flag(
        None,
        'share of people, drawn by --seed, whom a run is trained without; --protocol openset tests them as strangers '
        '(its default is 0.2)',
        type=number(float, 0.001, 1.0, 'a share from 0.001 to 1, such as 0.2'),
    )
    probe: str | None = flag(
        None, 'test set to score where a data set has several (BIWI: Walking, Still)', type=_dataset_name
    )
    seed: int = flag(0, 'seed of everything random', type=_SEED, group='common')
    by_seed: bool = flag(False, 'use the folders of this seed (`..._seed-1`), as --runs makes them', type=bool)
    batch_size: int = flag(BATCH_SIZE, 'sequences, and frames of the recognition network, in a batch', type=_BATCH)
    backend: str | None = flag(
        None,
        'what computes (default: KERAS_BACKEND, else TensorFlow; evaluate.py on a CPU: NumPy)',
        choices=NAMES,
        group='machine',
    )
    verbose: bool = flag(
        False,
        'print all results: confusion matrix, Rank-n for all n, recording votes, the epochs that other rules choose',
        type=bool,
        group='common',
    )
    gpu: str = flag('0', 'number of the GPU, -1 for the CPU', type=gpu_number, group='machine')
    data_dir: str = flag('Datasets', 'folder of the data sets', group='common')
    models_dir: str = flag('Models', 'folder of the trained models', group='common')


@dataclass(frozen=True)
class TrainOptions(CommonOptions):
    """Flags of train.py."""

    model: str = flag('rev_rec', 'pretext task', choices=(*TASKS, PLUS))
    train_flag: int = flag(
        1,
        '1: encoders and recognition network, 0: recognition network only, 2: evaluate only',
        type=int,
        choices=(0, 1, 2),
    )
    ablation: str | None = flag(
        None, "a row of the IJCAI paper's ablation, such as GE-GD-Rev-BAS; `python -m sge_la.ablation` runs them all"
    )
    epochs: int | None = flag(
        None, 'epochs of the gait encoders (default 400; KGBD 150, CASIA_B 100)', type=_COUNT, group='common'
    )
    rn_epochs: int | None = flag(
        None,
        'epochs of the recognition network (default 300; KGBD 200, KS20 800, CASIA_B 1000)',
        type=_COUNT,
        group='common',
    )
    rn_batch_size: int | None = flag(
        None, 'rows of the recognition network in a batch (default --batch_size; CASIA_B ten times that)', type=_BATCH
    )
    rn_rate: float | None = flag(
        None, 'learning rate of the recognition network (default 0.0005; CASIA_B 0.005)', type=_RATE
    )
    protocol: str | None = flag(
        None,
        'CASIA_B: CVE: cross-view evaluation (default), CME: condition-based matching',
        choices=(CVE, CME),
    )
    runs: int = flag(
        1, 'train so many times, with this seed and the following ones, each in its own folders', type=_COUNT
    )
    together: bool = flag(False, 'train the seeds of --runs together, epoch by epoch', type=bool)
    resume: bool = flag(
        False, 'go on with a run, never start one (the same command without it does either)', type=bool, group='machine'
    )
    figures: bool = flag(
        False, 'draw what the run has to show, as PNG and PDF beside results.json', type=bool, group='common'
    )
    devices: str | None = flag(
        None,
        'JAX: share each batch over so many devices, or over all, of one process or several (docs/scaling.md)',
        type=_devices,
        group='machine',
    )
    tensorboard: bool = flag(False, "write TensorBoard's event files of both stages into their run folders", type=bool)
    overwrite: bool = flag(False, 'replace a run that was made with other options', type=bool, group='machine')
    config: str | None = flag(None, 'take options from the config.json of a run; typed flags win', group='machine')


@dataclass(frozen=True)
class EvaluateOptions(CommonOptions):
    """Flags of evaluate.py."""

    seed: int | None = flag(None, 'seed of everything random (default: that of the run)', type=_SEED, group='common')
    batch_size: int | None = flag(
        None,
        'rows in a batch; rows beyond the last whole one are not scored (default: that of the run, or 128)',
        type=_BATCH,
    )
    best_model: str = flag('rev_rec', 'pretext task of the model to score', choices=(*TASKS, PLUS))
    RN_dir: str | None = flag(None, 'name (or path) of the folder of a trained recognition network', group='common')
    ablation: str | None = flag(None, "a row of the IJCAI paper's ablation")
    protocol: str = flag(
        'classifier',
        'classifier: the recognition network names the person (default); gallery: the nearest encodings do; '
        'openset: the nearest do, or nobody where all are too far; CASIA_B: CVE (default) or CME, as in train.py',
        choices=('classifier', 'gallery', 'openset', CVE, CME),
    )
    metric: str = flag('euclidean', 'distance of --protocol gallery', choices=('euclidean', 'cosine'))
    match: str = flag(
        'encodings',
        "what --protocol gallery compares: encodings, or the recognition network's answers, for people whom it was "
        'trained on, or both',
        choices=('encodings', 'answers', 'both'),
    )
    beside: float = flag(
        0.3,
        'what encodings weigh beside the answers, which weigh 1, with --match both',
        type=number(float, 0.0, 100.0, 'a weight from 0 to 100, such as 0.3'),
    )
    rerank: int | None = flag(
        None,
        '--protocol gallery: rank the gallery by so many k-reciprocal neighbours (20 in the paper of Zhong et al.), '
        'which are looked for among probes and gallery together',
        type=_COUNT,
    )
    level: str = flag('sequence', 'what --protocol gallery matches', choices=('sequence', 'recording'))
    smooth: float = flag(
        0.0,
        '--protocol gallery: move each entry of the gallery by this share towards the mean of its recording, such as '
        '0.5; probes stay as they are',
        type=number(float, 0.0, 1.0, 'a share from 0 to 1, such as 0.5'),
    )
    gallery: str | None = flag(None, 'gallery to match with: a test set, or train', type=_dataset_name)
    far: float = flag(
        0.01, 'false accept rate that --protocol openset has a gallery choose a threshold for', type=share
    )
    splits: int = flag(
        1, 'so many splits of people for --protocol openset, with this seed and the following', type=_COUNT
    )
    newcomers: bool = flag(
        False, '--protocol openset: enrol half of those whom the run was trained without; the others come', type=bool
    )
    figures: bool = flag(
        False, 'draw what the run has to show, as PNG and PDF beside results.json', type=bool, group='common'
    )
    report: bool = flag(
        False, 'write report.html: scores, figures, settings and environment in one page', type=bool, group='common'
    )
    recheck: bool = flag(False, 'encode the test features that the run keeps again, and compare', type=bool)
    save_features: str | None = flag(None, 'write the CAGEs of all sets into this .npz file')
    config: str | None = flag(None, 'take options from the config.json of a run; typed flags win', group='machine')

    @property
    def model(self) -> str:
        return self.best_model

    @property
    def rn_batch_size(self) -> int | None:
        return self.batch_size
