"""The command lines' options, the paper's settings for each data set, and how flags become options.

One field of a dataclass is one flag, with one help text. Values left alone are None until `resolve` fills in what
the data set's paper settings say; a value that the user typed is never changed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sge_la.errors import UserError

TASKS = ('rev_rec', 'prediction', 'sorting')
PLUS = 'rev_rec_plus'


@dataclass(frozen=True)
class DatasetFacts:
    """What paper and original code fix for one data set.

    Attributes:
        identities: C in the original's code; None for data sets that the paper does not have.
        joints: J.
        temperature: t that the original uses whatever `--t` says.
        epochs, rn_epochs: of gait encoder and recognition network in the T-PAMI code (CAGE).
        age_rn_epochs: of the recognition network in the IJCAI code (AGE), whose encoders all train 400 epochs.
    """

    identities: int | None = None
    joints: int | None = None
    temperature: float = 0.1
    epochs: int = 400
    rn_epochs: int = 300
    age_rn_epochs: int = 300


DATASETS = {
    'BIWI': DatasetFacts(28, 20),
    'IAS': DatasetFacts(11, 20),
    'KGBD': DatasetFacts(164, 20, temperature=0.5, epochs=150, rn_epochs=200, age_rn_epochs=150),
    'KS20': DatasetFacts(20, 25, rn_epochs=800, age_rn_epochs=800),
    'KinectReID': DatasetFacts(71, 20),
    'DEMO': DatasetFacts(None, 20, epochs=12, rn_epochs=200, age_rn_epochs=200),
}
AGE_EPOCHS = 400


def facts(dataset: str) -> DatasetFacts:
    """The settings of a data set; a name that the paper does not have gets the common ones."""
    return DATASETS.get(dataset, DatasetFacts())


def _number(kind: type, low: float, high: float, what: str):
    def parse(text: str):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f'expected {what}, found {text!r}')
        return value

    return parse


_COUNT = _number(int, 1, 10**6, 'a whole number of at least 1')
_FRAMES = _number(int, 2, 1000, 'a number of frames from 2 to 1000, such as 6')
_TEMPERATURE = _number(float, 1e-6, 1e6, 'a positive number, such as 0.1')
_SEED = _number(int, 0, 2**31 - 1, 'a whole number from 0 to 2147483647')
_VIEW = _number(int, 0, 4, "one of KS20's views 0 to 4")


def _gpu(text: str) -> str:
    if text != '-1' and not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a GPU's number, such as 0, or -1 for the CPU, found {text!r}")
    return text


def _dataset_name(text: str) -> str:
    if not text or not all(letter.isalnum() or letter in '-.+' for letter in text) or text[0] in '-.':
        raise argparse.ArgumentTypeError(
            f"expected a data set's name of letters, digits, '-' and '.', such as BIWI, found {text!r}"
        )
    return text


def flag(default: Any, help: str, *, type=str, choices: Sequence | None = None, group: str = 'method') -> Any:
    return field(default=default, metadata={'help': help, 'type': type, 'choices': choices, 'group': group})


@dataclass(frozen=True)
class CommonOptions:
    """Flags that train.py and evaluate.py share."""

    dataset: str = flag('BIWI', 'BIWI, IAS, KGBD, KS20, KinectReID, DEMO, or the name of your own', type=_dataset_name)
    attention: str | None = flag(
        None, 'locality-aware (LA, default) or basic (BA, default of prediction and sorting)', choices=('LA', 'BA')
    )
    manner: str = flag(
        'ap', 'average prediction over frames (ap) or one prediction a sequence (sc)', choices=('ap', 'sc')
    )
    length: int = flag(6, 'frames in a sequence: 4, 6, 8, 10, or any that the data set was cut to', type=_FRAMES)
    t: float | None = flag(None, 'temperature of the contrastive loss (default 0.1; KGBD 0.5)', type=_TEMPERATURE)
    view: int | None = flag(None, 'KS20: train on all views but this one, test on it (0 to 4)', type=_VIEW)
    transfer: str | None = flag(
        None, 'encode with the encoders of this data set and train only the recognition network', type=_dataset_name
    )
    frozen: int = flag(0, '1: the contrast head learns apart and gives the features', type=int, choices=(0, 1))
    c_reid: int = flag(0, "1: the contrast head's vectors are the features", type=int, choices=(0, 1))
    encoding: str = flag(
        'CAGE', 'CAGE (T-PAMI 2021) or AGE (IJCAI 2020, without the contrastive loss)', choices=('CAGE', 'AGE')
    )
    faithful: bool = flag(False, 'repeat what the original really does where we differ (see README)', type=bool)
    select: str = flag(
        'test',
        'which epoch to keep: best on the test set (as the original), last, or best on held-out training data',
        choices=('test', 'last', 'val'),
    )
    probe: str | None = flag(
        None, 'test set to score where a data set has several (BIWI: Walking, Still)', type=_dataset_name
    )
    seed: int = flag(0, 'seed of everything random', type=_SEED)
    batch_size: int = flag(
        128,
        'sequences, and frames of the recognition network, in a batch',
        type=_number(int, 2, 65536, 'a whole number of at least 2'),
    )
    gpu: str = flag('0', 'number of the GPU, -1 for the CPU', type=_gpu, group='machine')
    data_dir: str = flag('Datasets', 'folder of the data sets', group='machine')
    models_dir: str = flag('Models', 'folder of the trained models', group='machine')


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
    ablation: str | None = flag(None, "a row of the IJCAI paper's ablation; `python -m sge_la.ablation` lists them")
    epochs: int | None = flag(None, 'epochs of the gait encoders (default 400; KGBD 150)', type=_COUNT)
    rn_epochs: int | None = flag(
        None, 'epochs of the recognition network (default 300; KGBD 200, KS20 800)', type=_COUNT
    )
    overwrite: bool = flag(False, 'replace a run that was made with other options', type=bool, group='machine')
    config: str | None = flag(None, 'take options from the config.json of a run; typed flags win', group='machine')


@dataclass(frozen=True)
class EvaluateOptions(CommonOptions):
    """Flags of evaluate.py."""

    best_model: str = flag('rev_rec', 'pretext task of the model to score', choices=(*TASKS, PLUS))
    RN_dir: str | None = flag(None, 'name (or path) of the folder of a trained recognition network')
    ablation: str | None = flag(None, "a row of the IJCAI paper's ablation")
    protocol: str = flag(
        'classifier',
        'classifier: the recognition network tells who it is (default); gallery: the nearest encodings do',
        choices=('classifier', 'gallery'),
    )
    metric: str = flag('euclidean', 'distance of --protocol gallery', choices=('euclidean', 'cosine'))
    level: str = flag('sequence', 'what --protocol gallery matches', choices=('sequence', 'recording'))
    gallery: str | None = flag(None, 'gallery to match with: a test set, or train', type=_dataset_name)
    config: str | None = flag(None, 'take options from the config.json of a run; typed flags win', group='machine')

    @property
    def model(self) -> str:
        return self.best_model


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f'{message.replace("argument ", "", 1)}; see `python {self.prog} --help`')


def _parser(options: type, prog: str, description: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=prog, description=description, allow_abbrev=False)
    groups = {name: parser.add_argument_group(name) for name in ('method', 'machine')}
    for item in fields(options):
        meta = dict(item.metadata)
        group, kind = groups[meta['group']], meta['type']
        settings = {'help': meta['help'], 'default': argparse.SUPPRESS}
        if kind is bool:
            group.add_argument(f'--{item.name}', action='store_true', **settings)
        else:
            group.add_argument(f'--{item.name}', type=kind, choices=meta['choices'], metavar=_metavar(item), **settings)
    return parser


def _metavar(item) -> str:
    choices = item.metadata['choices']
    return '|'.join(map(str, choices)) if choices else item.name.upper()


def _parse(options: type, prog: str, description: str, argv: Sequence[str] | None):
    typed = vars(_parser(options, prog, description).parse_args(argv))
    from_file = _read_config(typed['config'], options) if typed.get('config') else {}
    chosen = options(**{**from_file, **typed})
    return chosen, frozenset(from_file) | frozenset(typed)


def parse_train(argv: Sequence[str] | None = None) -> TrainOptions:
    """Flags of train.py → checked and resolved options.

    Raises:
        UserError: a value that is unknown or impossible, or a combination that means nothing.
    """
    options, typed = _parse(TrainOptions, 'train.py', 'Train gait encoders and a recognition network.', argv)
    return resolve(options, typed)


def parse_evaluate(argv: Sequence[str] | None = None) -> EvaluateOptions:
    """Flags of evaluate.py → checked and resolved options."""
    options, typed = _parse(EvaluateOptions, 'evaluate.py', 'Score a trained recognition network.', argv)
    return resolve(options, typed)


def _read_config(path: str, options: type) -> dict[str, Any]:
    """The options of a run from its config.json, each checked as if it had been typed."""
    from sge_la.files import read_json

    content = read_json(Path(path))
    saved = content.get('options', content) if isinstance(content, dict) else None
    known = {item.name: item for item in fields(options)}
    if not isinstance(saved, dict):
        raise UserError(
            f"{path}: expected the options of a run, as in a run folder's config.json, found {type(content).__name__}"
        )
    words = []
    for name, value in saved.items():
        name = 'best_model' if name == 'model' and 'best_model' in known else name
        if name not in known or value is None or value is False or name == 'config':
            continue
        words += [f'--{name}'] if value is True else [f'--{name}', str(value)]
    try:
        return vars(_parser(options, 'x', '').parse_args(words))
    except UserError as error:
        raise UserError(f'{path}: {error}') from error


def resolve(options, typed: frozenset[str] = frozenset()):
    """Fills in what was left alone and refuses combinations that mean nothing.

    Args:
        options: TrainOptions or EvaluateOptions.
        typed: names of the flags that the user typed.

    Returns:
        Options without None where a value is needed.
    """
    _refuse_nonsense(options)
    known = facts(options.dataset)
    temperature = known.temperature
    if options.faithful and options.t is not None and options.t != temperature:
        raise UserError(
            f'--t {options.t} cannot be had with --faithful, because the original uses {temperature} on '
            f'{options.dataset} whatever is typed: leave out one of the two'
        )
    changes: dict[str, Any] = {'t': temperature if options.t is None else options.t}
    if options.transfer and options.t is None:
        changes['t'] = facts(options.transfer).temperature
    if options.attention is None:
        basic = options.model in ('prediction', 'sorting') and not options.faithful
        changes['attention'] = 'BA' if basic else 'LA'
    if isinstance(options, TrainOptions):
        age = options.encoding == 'AGE'
        if options.epochs is None:
            changes['epochs'] = (
                AGE_EPOCHS if age and options.dataset in ('BIWI', 'IAS', 'KGBD', 'KS20') else known.epochs
            )
        if options.rn_epochs is None:
            changes['rn_epochs'] = known.age_rn_epochs if age else known.rn_epochs
        if options.transfer and options.train_flag == 1:
            changes['train_flag'] = 0
    return replace(options, **changes)


def _refuse_nonsense(options) -> None:
    age, plus = options.encoding == 'AGE', options.model == PLUS
    vectors = options.frozen or options.c_reid
    matches = getattr(options, 'protocol', 'classifier') == 'gallery'
    rules = [
        (
            options.view is not None and options.dataset != 'KS20',
            '--view is for KS20 alone: leave it out or use --dataset KS20',
        ),
        (
            age and options.model != 'rev_rec',
            '--encoding AGE knows the pretext task rev_rec alone: leave out --model or use CAGE',
        ),
        (
            age and vectors,
            '--frozen and --c_reid need the contrast head, which --encoding AGE lacks: leave one of them out',
        ),
        (plus and vectors, '--frozen and --c_reid cannot be joined with rev_rec_plus: use one pretext task'),
        (plus and options.transfer, '--transfer cannot be joined with rev_rec_plus: use one pretext task'),
        (
            plus and options.attention == 'LA',
            'rev_rec_plus joins LA for rev_rec and BA for the others: leave out --attention',
        ),
        (
            options.transfer == options.dataset,
            '--transfer names another data set than --dataset: use another or leave it out',
        ),
        (
            options.transfer and options.view is not None,
            '--transfer and --view cannot be joined: leave one of them out',
        ),
        (
            age and options.length != 6,
            '--encoding AGE has one length, 6, since its folders name none: leave out --length or use CAGE',
        ),
        (
            options.ablation and (plus or vectors or options.transfer),
            '--ablation stands alone: leave out --model, --frozen, --c_reid and --transfer',
        ),
        (
            options.probe and options.dataset == 'IAS' and not matches,
            'IAS is always scored on both of its test sets: leave out --probe',
        ),
        (
            not matches and (getattr(options, 'gallery', None) or getattr(options, 'level', '') == 'recording'),
            '--gallery and --level are for matching: add --protocol gallery or leave them out',
        ),
    ]
    for wrong, sentence in rules:
        if wrong:
            raise UserError(sentence)


def encoder_suffix(options, task: str) -> str:
    """What the encoder folders' names need beyond the original's: options that change the encoder but do not show."""
    parts = []
    if options.ablation:
        parts.append(f'ablation-{options.ablation}')
    if options.select == 'val':
        parts.append('select-val')
    if options.faithful and task == 'sorting':
        parts.append('faithful')
    return ''.join(f'_{part}' for part in parts)


def recognition_suffix(options) -> str:
    """What the recognition network's folder name needs beyond the original's."""
    parts = []
    if options.ablation:
        parts.append(f'ablation-{options.ablation}')
    if options.transfer:
        parts.append(f'transfer-{options.transfer}')
    if options.c_reid:
        parts.append('c_reid')
    if options.select != 'test':
        parts.append(f'select-{options.select}')
    if options.probe:
        parts.append(f'probe-{options.probe}')
    if options.faithful and options.model in ('sorting', PLUS):
        parts.append('faithful')
    return ''.join(f'_{part}' for part in parts)
