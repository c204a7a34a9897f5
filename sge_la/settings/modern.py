"""What `--recipe modern` fills in where a flag was left alone, and which flags it refuses."""

from __future__ import annotations

from dataclasses import replace

from sge_la.errors import UserError, refuse_any
from sge_la.settings.options import TrainOptions
from sge_la.settings.papers import CONDITION_MATCHING, DATASET, facts
from sge_la.settings.recipe import BATCH_SIZE, EPOCHS, MODERN


def settle(options, typed: frozenset[str]):
    """Fills in epochs and the choice of the epoch, and refuses combinations that mean nothing.

    `options`: TrainOptions or EvaluateOptions, as parsed; `typed`: names of the flags that the user typed. Returns the
    options; unchanged with `--recipe original`. Raises UserError: as said.
    """
    if options.recipe != MODERN:
        refuse_any(
            (options.without, '--without leaves pieces of the modern recipe out: add --recipe modern or leave it out'),
            (options.supervised, '--supervised belongs to the modern recipe: add --recipe modern or leave it out'),
        )
        return options
    changes = {} if 'select' in typed else {'select': 'last'}
    if hasattr(options, 'epochs'):
        changes['epochs'] = epochs = options.epochs or EPOCHS
        if options.rn_epochs not in (None, epochs) or options.rn_rate not in (None, facts(options.dataset).rn_rate):
            raise UserError(
                '--recipe modern trains encoders and recognition network together: leave out --rn_epochs and '
                '--rn_rate, and give --epochs'
            )
        changes['rn_epochs'] = epochs
        changes['rn_batch_size'] = options.rn_batch_size or options.batch_size  # of scoring alone
        if 'batch_size' not in typed:
            changes['batch_size'] = BATCH_SIZE
    _refuse_nonsense(options, typed)
    return replace(options, **changes)


def _refuse_nonsense(options, typed: frozenset[str]) -> None:
    names = ('ablation', 'transfer', 'frozen', 'c_reid', 'faithful')
    others = ' and '.join(f'--{name}' for name in names if getattr(options, name))
    batch_size = options.batch_size if isinstance(options, TrainOptions) else BATCH_SIZE  # scoring has no pairs
    contrasts = not {'pairs', 'pretext'} & set((options.without or '').split('+'))
    refuse_any(
        (
            'select' in typed and options.select == 'test',
            '--recipe modern never chooses an epoch by the test set: use --select last or val',
        ),
        (others, f'--recipe modern does not know {others}: leave it out or use --recipe original'),
        (
            options.model != 'rev_rec',
            '--recipe modern has one pretext task, reverse reconstruction: leave out --model and --best_model',
        ),
        (options.encoding != 'CAGE', '--recipe modern trains CAGEs: leave out --encoding AGE'),
        (
            options.dataset in (DATASET, CONDITION_MATCHING),
            "--recipe modern has not been made for CASIA_B's protocols: use --recipe original",
        ),
        (
            batch_size % 2,
            f'--recipe modern takes sequences in twos: give an even --batch_size, not {batch_size}',
        ),
        (
            options.supervised and batch_size % 4,
            f'--supervised takes sequences in fours: give a --batch_size that is a multiple of 4, not {batch_size}',
        ),
        (
            batch_size == 2 and contrasts,
            '--recipe modern contrasts each two sequences with the others of their batch, and --batch_size 2 has no '
            'others: give 4 or more, or leave the contrast out by --without pairs',
        ),
        (
            getattr(options, 'train_flag', 1) == 0,
            '--recipe modern trains encoders and recognition network together: leave out --train_flag 0',
        ),
    )
