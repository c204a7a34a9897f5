"""Options of the modern recipe: what it fills in, and what it cannot be joined with."""

from __future__ import annotations

from dataclasses import replace

from sge_la.casia_b import protocols
from sge_la.errors import UserError
from sge_la.layout import CONDITION_MATCHING
from sge_la.modern.recipe import BATCH_SIZE, EPOCHS, MODERN


def settle(options, typed: frozenset[str], rn_rate: float):
    """Fills in epochs and the choice of the epoch, and refuses combinations that mean nothing.

    Args:
        options: TrainOptions or EvaluateOptions, as parsed.
        typed: names of the flags that the user typed.
        rn_rate: the learning rate of the recognition network when nothing is said.

    Returns:
        The options; unchanged with `--recipe original`.

    Raises:
        UserError: as said.
    """
    if options.recipe != MODERN:
        if options.without:
            raise UserError('--without leaves pieces of the modern recipe out: add --recipe modern or leave it out')
        return options
    changes = {} if 'select' in typed else {'select': 'last'}
    if hasattr(options, 'epochs'):
        changes['epochs'] = epochs = options.epochs or EPOCHS
        if options.rn_epochs not in (None, epochs) or options.rn_rate not in (None, rn_rate):
            raise UserError(
                '--recipe modern trains encoders and recognition network together: leave out --rn_epochs and '
                '--rn_rate, and give --epochs'
            )
        changes['rn_epochs'] = epochs
        changes['rn_batch_size'] = options.rn_batch_size or options.batch_size  # of scoring alone
        if 'batch_size' not in typed:
            changes['batch_size'] = BATCH_SIZE
    for wrong, sentence in _rules(options, typed):
        if wrong:
            raise UserError(sentence)
    return replace(options, **changes)


def _rules(options, typed: frozenset[str]) -> list[tuple[bool, str]]:
    others = [
        f'--{name}' for name in ('ablation', 'transfer', 'frozen', 'c_reid', 'faithful') if getattr(options, name)
    ]
    shown = ' and '.join(others)
    return [
        (
            'select' in typed and options.select == 'test',
            '--recipe modern never chooses an epoch by the test set: use --select last or val',
        ),
        (bool(others), f'--recipe modern does not know {shown}: leave it out or use --recipe original'),
        (
            options.model != 'rev_rec',
            '--recipe modern has one pretext task, reverse reconstruction: leave out --model and --best_model',
        ),
        (options.encoding != 'CAGE', '--recipe modern trains CAGEs: leave out --encoding AGE'),
        (
            options.dataset in (protocols.DATASET, CONDITION_MATCHING),
            "--recipe modern has not been made for CASIA_B's protocols: use --recipe original",
        ),
        (
            bool(options.batch_size and options.batch_size % 2) and hasattr(options, 'epochs'),
            f'--recipe modern takes sequences in twos: give an even --batch_size, not {options.batch_size}',
        ),
        (
            getattr(options, 'train_flag', 1) == 0,
            '--recipe modern trains encoders and recognition network together: leave out --train_flag 0',
        ),
    ]
