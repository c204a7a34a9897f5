"""What is filled in where a flag was left alone, and which combinations of flags are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sge_la.errors import UserError, refuse_any
from sge_la.settings import machine, modern, papers
from sge_la.settings.options import KS20_VIEWS, TrainOptions
from sge_la.settings.papers import (
    AGE_EPOCHS,
    ALL,
    BATCH_SIZE,
    CME,
    CVE,
    DATASET,
    LENGTHS,
    NUM_VIEWS,
    PLUS,
    PROBE_TYPES,
    SHORT,
    Options,
    ablation_row,
    facts,
)
from sge_la.settings.recipe import MODERN

# The flags of --protocol gallery, which openset has none of.
_MATCHING = {'metric', 'level', 'match', 'beside', 'rerank', 'smooth'}


def resolve(options, typed: frozenset[str] = frozenset()):
    """Fills in what was left alone and refuses combinations that mean nothing.

    `options`: TrainOptions or EvaluateOptions; `typed`: names of the flags that the user typed. Returns options without
    None where a value is needed.
    """
    options = modern.settle(options, typed)
    options = _resolve_casia_b(options, typed)
    _refuse_nonsense(options, typed)
    row = ablation_row(options.ablation) if options.ablation else None
    if row:
        options = replace(options, encoding='AGE')
    known = facts(papers.data_name(options))
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
            short = options.length < SHORT and known.short_rn_epochs
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
    protocol = getattr(options, 'protocol', 'classifier')
    matches = protocol in ('gallery', 'openset')
    matching = ' and '.join(f'--{name}' for name in sorted(_MATCHING & typed))
    shows = any(getattr(options, name, None) for name in ('figures', 'report', 'save_features'))
    refuse_any(
        (
            options.view is not None and options.dataset not in ('KS20', DATASET),
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
            isinstance(options, TrainOptions)
            and options.batch_size == 2
            and options.train_flag == 1
            and not (age or options.ablation or options.transfer or options.recipe == MODERN),
            '--batch_size 2 leaves the contrastive loss nothing but the two that it ties together: give 3 or more, or '
            'use --encoding AGE, which has no such loss',
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
            protocol == 'openset' and _MATCHING & typed,
            f'--protocol openset has its own distance and scores: leave out {matching}',
        ),
        (
            protocol != 'openset' and hasattr(options, 'splits') and {'far', 'splits', 'newcomers'} & typed,
            '--far, --splits and --newcomers are for strangers: add --protocol openset or leave them out',
        ),
        (
            options.dataset == DATASET and options.unknown,
            f'--unknown is not for {DATASET}, whose CME is trained without the tested people as it is: leave it out',
        ),
        (
            not matches and hasattr(options, 'metric') and _MATCHING & typed,
            f'without --protocol gallery nothing is matched: add it, or leave out {matching}',
        ),
        (
            'beside' in typed and getattr(options, 'match', '') != 'both',
            '--beside weighs encodings beside answers: add --match both or leave it out',
        ),
        (
            getattr(options, 'smooth', 0) and options.level == 'recording',
            '--smooth moves sequences towards the mean of their recording, and --level recording matches these means: '
            'leave out one of the two',
        ),
        (
            options.dataset == DATASET and shows,
            '--figures, --report and --save_features are not made for CASIA_B: leave them out',
        ),
        (
            getattr(options, 'runs', 1) > 1 and shows,
            '--figures shows one run: leave out --runs, and draw with evaluate.py --by_seed --seed 1 --figures',
        ),
        (
            getattr(options, 'together', False) and options.runs == 1,
            '--together trains the seeds of --runs at once: add --runs with 2 or more, or leave it out',
        ),
        (
            getattr(options, 'together', False) and options.train_flag == 2,
            '--train_flag 2 trains nothing: leave out one of --train_flag and --together',
        ),
        (
            getattr(options, 'together', False) and options.unknown is not None,
            '--unknown leaves other people out for each seed, and --together needs the same data: leave out one',
        ),
        (
            getattr(options, 'recheck', False) and (matches or options.dataset == DATASET),
            '--recheck is of the features that a recognition network is scored on, outside of CASIA_B: leave it out',
        ),
        *machine.rules(options),
        (
            getattr(options, 'resume', False) and options.train_flag == 2,
            '--train_flag 2 trains nothing that --resume could go on with: leave out one of the two',
        ),
        (
            getattr(options, 'train_flag', 1) == 2
            and not options.config
            and {'epochs', 'rn_epochs', 'rn_rate'} & typed,
            '--train_flag 2 trains nothing: leave out --epochs, --rn_epochs and --rn_rate',
        ),
    )


def _resolve_casia_b(options: Options, typed: frozenset[str]) -> Options:
    """Fills in what the protocol decides and refuses what it does not know; other data sets pass through.

    `options`: of train.py or evaluate.py, as parsed; `typed`: names of the flags that the user typed. Raises UserError:
    a combination that means nothing.
    """
    if options.dataset != DATASET:
        refuse_any(
            (options.protocol in (CVE, CME), f'--protocol {options.protocol} is for --dataset {DATASET} alone'),
            (options.probe_type, f'--probe_type is for --dataset {DATASET} alone: leave it out'),
            (options.double_pretext, f'--double_pretext is for --dataset {DATASET} alone: leave it out'),
            (options.norm != 1, f'--norm is for --dataset {DATASET} alone: leave it out'),
            (options.view == ALL, f'--view all is for --dataset {DATASET} alone: use one view'),
        )
        return options
    named = options.protocol in (CVE, CME)
    protocol = options.protocol if named else CME if options.probe_type else CVE
    _refuse_on_casia_b(options, single=protocol == CVE and options.view != ALL)
    changes = {'protocol': protocol}
    if 'length' not in typed and options.length == 6:
        changes['length'] = LENGTHS[protocol]
    if protocol == CVE:
        refuse_any(
            (options.probe_type, '--probe_type is for --protocol CME: leave one of the two out'),
            (
                options.view not in (None, ALL, *range(NUM_VIEWS)),
                f'--view: {DATASET} has the views 0 to {NUM_VIEWS - 1}, found {options.view}: use one of them or all',
            ),
        )
        changes['view'] = 0 if options.view is None else options.view
    else:
        refuse_any(
            (options.view is not None, '--view is for --protocol CVE, CME mixes all views: leave one of the two out'),
            (
                'manner' in typed and options.manner == 'ap',
                '--protocol CME compares whole sequences (sc): leave out --manner',
            ),
            (
                options.select != 'test',
                '--select chooses an epoch of the recognition network, and --protocol CME has none: leave it out',
            ),
            (getattr(options, 'RN_dir', None), '--RN_dir names a recognition network, and CME has none: leave it out'),
        )
        changes |= {'manner': 'sc', 'probe_type': options.probe_type or PROBE_TYPES[0]}
    return replace(options, **changes)


def _refuse_on_casia_b(options, single: bool) -> None:
    refuse_any(
        (
            options.protocol in ('gallery', 'openset'),
            f'--protocol {options.protocol} on {DATASET} is --protocol CME: use that',
        ),
        (options.encoding == 'AGE', f'--encoding AGE knows nothing of {DATASET}: leave it out'),
        (options.frozen or options.c_reid, f'--frozen and --c_reid are not for {DATASET}: leave them out'),
        (options.transfer, f'--transfer is not for {DATASET}: leave it out'),
        (options.ablation, f'--ablation is not for {DATASET}: leave it out'),
        (options.probe, f'--probe is not for {DATASET}: use --protocol CME --probe_type PROBE.GALLERY'),
        (
            options.double_pretext and options.model != PLUS,
            f'--double_pretext joins two of the three encoders of {PLUS}: use it with that model or leave it out',
        ),
        (getattr(options, 'runs', 1) > 1 and not single, '--runs is for one view of --protocol CVE: leave it out'),
    )
