"""What both commands print first."""

from __future__ import annotations

from sge_la.casia_b import protocols
from sge_la.modern.recipe import MODERN
from sge_la.options import PLUS


def banner(options, environment: dict) -> str:
    """What the original prints first, in its spelling, then what it does not say."""
    lines = {
        'Dataset': options.dataset,
        'Attention': 'LA, BA, BA' if options.model == PLUS and not options.faithful else options.attention,
        'Re-ID Manner': options.manner,
        'Sequence Length': options.length,
        'Tempearture': options.t,
        'Pretext Task': options.model,
        **protocols.banner_lines(options),
        **({'Recipe': recipe_words(options)} if options.recipe == MODERN else {}),
        'GPU': options.gpu,
        'Encoding': options.encoding,
    }
    if options.ablation:
        lines['Ablation'] = options.ablation
    lines['Backend'] = f'{environment["backend"]} {environment[environment["backend"]]}, Keras {environment["keras"]}'
    lines['Device'] = (
        f'{environment["device"]}, {environment["threads"]} threads, {environment["matrix_products"]} matrix products'
    )
    return '\n'.join(f' ## {name}: {value}' for name, value in lines.items()) + '\n'


def selection_line(select: str) -> str:
    """How the epoch was chosen, in words that belong beside every score."""
    return {
        'test': 'Epoch chosen: best on the test set, as in the original (--select last or val choose without it)',
        'last': 'Epoch chosen: the last one',
        'val': 'Epoch chosen: best on held-out training sequences',
    }[select]


def recipe_words(options) -> str:
    """The recipe and what is left out of it."""
    return options.recipe + (f' without {options.without.replace("+", ", ")}' if options.without else '')
