"""From a command line to options: parsing, config.json, what is refused, and what is filled in.

A value that the user typed is never changed: defaults < the data set's < `--config` or `--RN_dir` < typed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sge_la.ablation_rows import ablation_row
from sge_la.casia_b import protocols
from sge_la.errors import UserError
from sge_la.modern.recipe import MODERN
from sge_la.modern.settle import settle
from sge_la.options import AGE_EPOCHS, BATCH_SIZE, KS20_VIEWS, PLUS, EvaluateOptions, TrainOptions, facts


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


def _parse(options: type, prog: str, description: str, argv: Sequence[str] | None, of_folder: Callable | None = None):
    typed = vars(_parser(options, prog, description).parse_args(argv))
    found: dict[str, Any] = {}
    if typed.get('config'):
        found = _read_config(typed['config'], options)
    if of_folder and typed.get('RN_dir'):
        saved = of_folder(typed['RN_dir'], {**found, **typed}.get('models_dir', options.models_dir))
        found |= _as_typed(saved, options, f'--RN_dir {typed["RN_dir"]}')
        _refuse_contradictions(typed, found, options)
    return options(**{**found, **typed}), frozenset(found) | frozenset(typed)


def parse_train(argv: Sequence[str] | None = None) -> TrainOptions:
    """Flags of train.py → checked and resolved options.

    Raises:
        UserError: a value that is unknown or impossible, or a combination that means nothing.
    """
    options, typed = _parse(TrainOptions, 'train.py', 'Train gait encoders and a recognition network.', argv)
    if options.tensorboard and find_spec('tensorboard') is None:
        raise UserError(
            '--tensorboard needs the package tensorboard, which is not installed: pip install tensorboard, '
            'or leave the flag out'
        )
    return resolve(options, typed)


def parse_evaluate(
    argv: Sequence[str] | None = None, of_folder: Callable[[str, str], Mapping[str, Any]] | None = None
) -> EvaluateOptions:
    """Flags of evaluate.py → checked and resolved options.

    Args:
        argv: arguments without the program's name.
        of_folder: `(--RN_dir, --models_dir) -> options` of the run in that folder, which count as if they were typed.

    Raises:
        UserError: as `parse_train`, or a typed flag contradicts the folder's run.
    """
    description = 'Score a trained recognition network.'
    return resolve(*_parse(EvaluateOptions, 'evaluate.py', description, argv, of_folder))


def _read_config(path: str, options: type) -> dict[str, Any]:
    """The options of a run from its config.json, each checked as if it had been typed."""
    from sge_la.files import read_json

    content = read_json(Path(path))
    saved = content.get('options', content) if isinstance(content, dict) else None
    if not isinstance(saved, dict):
        raise UserError(
            f"{path}: expected the options of a run, as in a run folder's config.json, found {type(content).__name__}"
        )
    return _as_typed(saved, options, path)


# Options of a run that are no wish for the next one, or say where things lay for whoever made the file.
_OF_ONE_RUN_ALONE = (
    *('config', 'overwrite', 'resume', 'RN_dir', 'runs', 'figures', 'tensorboard', 'report', 'save_features'),
    *('data_dir', 'models_dir'),
)


def _as_typed(saved: Mapping[str, Any], options: type, where: str) -> dict[str, Any]:
    """The options of a run as parsing them from a command line gives them; those of other commands are left out."""
    saved = dict(saved)
    if 'best_model' in {item.name for item in fields(options)} and 'model' in saved:
        saved['best_model'] = saved.pop('model')
    elif 'model' in {item.name for item in fields(options)} and 'best_model' in saved:
        saved['model'] = saved.pop('best_model')
    if options is EvaluateOptions and saved.get('rn_batch_size'):
        saved['batch_size'] = saved.pop('rn_batch_size')  # the encoders' batch scores nothing
    if saved.get('ablation') or PLUS in (saved.get('model'), saved.get('best_model')):
        saved.pop('attention', None)  # these have their own, which cannot be typed
    if saved.get('ablation'):
        saved.pop('encoding', None)
    if saved.get('recipe') == MODERN:  # its network has the encoders' epochs, whatever these are
        saved.pop('rn_epochs', None)
    known = {item.name: item for item in fields(options) if item.name not in _OF_ONE_RUN_ALONE}
    words = []
    for name, value in saved.items():
        if name not in known or value is None:
            continue
        if isinstance(known[name].default, bool):
            if not isinstance(value, bool):
                raise UserError(f'{where}: {name} should be true or false, found {value!r}; repair or delete it')
            words += [f'--{name}'] * value
        else:
            words.append(f'--{name}={value}')  # one word: whoever wrote the file must not type flags of their own
    try:
        return vars(_parser(options, 'x', '').parse_args(words))
    except UserError as error:
        raise UserError(f'{where}: {error}') from error


# What a folder's run fixes; the others (--seed, --faithful, --gpu, ...) may be typed beside --RN_dir.
_FIXED_BY_FOLDER = (
    *('dataset', 'attention', 'manner', 'length', 't', 'view', 'transfer', 'frozen', 'c_reid', 'encoding', 'select'),
    *('best_model', 'ablation', 'norm', 'double_pretext', 'probe_type', 'recipe', 'without', 'precision'),
)


def _refuse_contradictions(typed: Mapping[str, Any], found: Mapping[str, Any], options: type) -> None:
    for name in _FIXED_BY_FOLDER:
        there = found.get(name, getattr(options, name))
        if name in typed and typed[name] != there:
            raise UserError(
                f'--{name} {typed[name]} contradicts --RN_dir {typed["RN_dir"]}, a run with {name} {there}: '
                'leave out one of the two'
            )


def resolve(options, typed: frozenset[str] = frozenset()):
    """Fills in what was left alone and refuses combinations that mean nothing.

    Args:
        options: TrainOptions or EvaluateOptions.
        typed: names of the flags that the user typed.

    Returns:
        Options without None where a value is needed.
    """
    options = settle(options, typed, facts(options.dataset).rn_rate)
    options = protocols.resolve(options, typed)
    _refuse_nonsense(options, typed)
    row = ablation_row(options.ablation) if options.ablation else None
    if row:
        options = replace(options, encoding='AGE')
    known = facts(protocols.data_name(options))
    temperature = facts(options.transfer or options.dataset).temperature
    if options.faithful and known.ignores_t and options.t not in (None, temperature):
        raise UserError(
            f'--t {options.t} cannot be had with --faithful, because the original uses {temperature} on '
            f'{options.transfer or options.dataset} whatever is typed: leave out one of the two'
        )
    changes: dict[str, Any] = {'t': temperature if options.t is None else options.t}
    if options.by_seed and options.seed is None:
        changes['seed'] = 0
    changes['attention'] = row.attention if row else options.attention or _usual_attention(options)
    if isinstance(options, TrainOptions):
        age = options.encoding == 'AGE'
        if options.epochs is None:
            changes['epochs'] = (
                AGE_EPOCHS if age and options.dataset in ('BIWI', 'IAS', 'KGBD', 'KS20') else known.epochs
            )
        if options.rn_epochs is None:
            short = options.length < protocols.SHORT and known.short_rn_epochs
            changes['rn_epochs'] = known.age_rn_epochs if age else short or known.rn_epochs
        if options.rn_batch_size is None:
            changes['rn_batch_size'] = max(2, known.rn_batch_size * options.batch_size // BATCH_SIZE)
        if options.rn_rate is None:
            changes['rn_rate'] = known.rn_rate
        if options.transfer and options.train_flag == 1:
            changes['train_flag'] = 0
    return replace(options, **changes)


def _usual_attention(options) -> str:
    """The attention of a task whose `--attention` was left alone: BA where the paper's Plus has it.

    The original keeps LA for `prediction` and `sorting`; for rev_rec_plus it prints BA.
    """
    if options.model == PLUS:
        return 'BA'
    return 'BA' if options.model in ('prediction', 'sorting') and not options.faithful else 'LA'


def _refuse_nonsense(options, typed: frozenset[str]) -> None:
    age, plus = options.encoding == 'AGE', options.model == PLUS
    vectors = options.frozen or options.c_reid
    matches = getattr(options, 'protocol', 'classifier') == 'gallery'
    shows = any(getattr(options, name, None) for name in ('figures', 'report', 'save_features'))
    rules = [
        (
            options.view is not None and options.dataset not in ('KS20', protocols.DATASET),
            '--view is for KS20 and CASIA_B alone: leave it out or use --dataset KS20',
        ),
        (
            options.dataset == 'KS20' and options.view not in (None, *KS20_VIEWS),
            f"--view: expected one of KS20's views 0 to 4, found {options.view}: use one of them",
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
            (age or options.ablation) and options.length != 6,
            '--encoding AGE has one length, 6, since its folders name none: leave out --length or use CAGE',
        ),
        (
            options.ablation and (options.model != 'rev_rec' or vectors or options.transfer or options.faithful),
            '--ablation stands alone: leave out --model, --frozen, --c_reid, --transfer and --faithful',
        ),
        (
            options.ablation and {'attention', 'encoding'} & typed,
            "--ablation names the attention, and is of the IJCAI paper's AGE: leave out --attention and --encoding",
        ),
        (
            (age or options.ablation) and 't' in typed and options.t != facts(options.dataset).temperature,
            '--t is of the contrastive loss, which AGE lacks: leave it out or use CAGE',
        ),
        (
            options.transfer and 'train_flag' in typed and options.train_flag == 1,
            '--transfer trains only the recognition network: leave out --train_flag 1',
        ),
        (
            options.probe and options.dataset == 'IAS' and not matches,
            'IAS is always scored on both of its test sets: leave out --probe',
        ),
        (
            not matches and (getattr(options, 'gallery', None) or getattr(options, 'level', '') == 'recording'),
            '--gallery and --level are for matching: add --protocol gallery or leave them out',
        ),
        (
            options.dataset == protocols.DATASET and shows,
            '--figures, --report and --save_features are not made for CASIA_B: leave them out',
        ),
        (
            getattr(options, 'runs', 1) > 1 and shows,
            '--figures shows one run: leave out --runs, and draw with evaluate.py --by_seed --seed 1 --figures',
        ),
        (
            getattr(options, 'resume', False) and options.overwrite,
            '--resume goes on with a run and --overwrite starts anew: leave out one of the two',
        ),
        (
            getattr(options, 'resume', False) and options.train_flag == 2,
            '--train_flag 2 trains nothing that --resume could go on with: leave out one of the two',
        ),
    ]
    for wrong, sentence in rules:
        if wrong:
            raise UserError(sentence)
