"""How figures look: widths of one and two columns, letters of one size, looks for any number of people, names that fit.

Colours are Okabe and Ito's, which every kind of colour vision tells apart, and `cividis`; lines differ in dashes and
points in their markers as well. Matplotlib is loaded on use.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sge_la.data.draw import figure_class
from sge_la.errors import plain, say
from sge_la.files.atomic import make_folder, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Inches, in the journals and proceedings of the IEEE.
ONE_COLUMN, TWO_COLUMNS = 3.5, 7.16
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000', '#999933')
GREY = '#777777'
MAP = 'cividis'
KINDS = ('png', 'pdf')
_DASHES = ('-', '--', ':', '-.')
_MARKERS = 'os^DvPX*<>p'
# Filled, then hollow: this many people look different from one another.
LOOKS = 2 * len(_MARKERS) * len(COLOURS)
# Names are measured in columns, as it were of a terminal: a usual letter of DejaVu Sans takes one, of 0.6 em.
_COLUMN, LONGEST_NAME = 0.6, 30
_DOTS_PER_INCH = 200
# What DejaVu Sans, which Matplotlib brings, does not have: Chinese, Japanese and Korean letters and others.
_FURTHER_FONTS = (
    *('Noto Sans CJK SC', 'Noto Sans CJK JP', 'Source Han Sans SC', 'WenQuanYi Zen Hei', 'Droid Sans Fallback'),
    *('Microsoft YaHei', 'IPAexGothic', 'Malgun Gothic', 'PingFang SC', 'Hiragino Sans GB', 'Arial Unicode MS'),
)


def require_matplotlib() -> None:
    """Asks for Matplotlib early, so that nobody waits for a training whose figures cannot be drawn."""
    figure_class()


@cache
def settings() -> dict[str, Any]:
    """Matplotlib's settings while a figure is drawn and while it is written."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return {
        'font.family': ['DejaVu Sans', *(name for name in _FURTHER_FONTS if name in installed)],
        'font.size': 8,
        'axes.titlesize': 8,
        'figure.titlesize': 8,
        'axes.linewidth': 0.6,
        'lines.linewidth': 1.2,
        'lines.markersize': 3,
        **dict.fromkeys(('xtick.labelsize', 'ytick.labelsize', 'legend.fontsize'), 7),
        **dict.fromkeys(('xtick.major.width', 'ytick.major.width'), 0.6),
    }


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A function that draws, under `settings`."""

    @wraps(draw)
    def draw_in_style(*args, **further):
        require_matplotlib()
        import matplotlib

        with matplotlib.rc_context(settings()):
            return draw(*args, **further)

    return draw_in_style


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1):
    """An empty figure, inches wide and high, and its axes `[rows, columns]`."""
    figure = figure_class()(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False)


def finish(axis, **texts) -> None:
    """Names the parts of a plot of curves or points."""
    axis.set(**texts)
    axis.grid(alpha=0.3, linewidth=0.5)
    axis.spines[['top', 'right']].set_visible(False)


def line_look(number: int, *, marked: bool = False) -> dict[str, Any]:
    """Colour and dashes of the n-th curve, and the marker of its points: 32 differ."""
    look = {'color': COLOURS[number % 8], 'linestyle': _DASHES[(number + number // 8) % 4]}
    return {**look, 'marker': _MARKERS[number % 4]} if marked else look


def point_look(number: int) -> dict[str, Any]:
    """Marker and colour of the n-th person's points: `LOOKS` differ."""
    colour, marker = COLOURS[number % 8], _MARKERS[number // 8 % len(_MARKERS)]
    hollow = number // (LOOKS // 2) % 2
    return {'marker': marker, 'facecolors': 'none' if hollow else colour, 'edgecolors': colour}


def fitted(name: object, columns: int = LONGEST_NAME) -> str:
    """A name as text of a figure: in one line, its middle left out where it is too wide, and never a formula."""
    text = plain(name)
    if width(text) > columns:
        head, tail = text[: len(text) // 2], text[len(text) // 2 :]
        while width(f'{head}…{tail}') > columns:
            head, tail = (head[:-1], tail) if len(head) > len(tail) else (head, tail[1:])
        text = f'{head}…{tail}'
    # A legend leaves out what begins with '_'.
    return text.replace('$', r'\$') if not text.startswith('_') else ' ' + text.replace('$', r'\$')


def width(text: str) -> float:
    """How wide a text is, in columns."""
    return sum(map(_advance, text))


@cache
def _advance(letter: str) -> float:
    font = next((font for font, letters in _fonts() if ord(letter) in letters), None)
    if font is None:  # a box, as wide as a Chinese letter would be
        return 1 / _COLUMN
    font.set_size(1, 72)
    return font.load_char(ord(letter)).linearHoriAdvance / 65536 / _COLUMN


@cache
def _fonts() -> list[tuple[Any, frozenset[int]]]:
    """The fonts in the order in which they serve, each with the letters that it has."""
    from matplotlib.font_manager import findfont, get_font

    found = [get_font(findfont(name)) for name in settings()['font.family']]
    return [(font, frozenset(font.get_charmap())) for font in found]


def of_test_set(name: str) -> str:
    """'test set Walking'; a data set with a single one may call it 'test'."""
    return 'test set' if name == 'test' else f'test set {fitted(name)}'


def percent(share: float) -> str:
    """The one form of a share in figures and on the page."""
    return f'{100 * share:.1f} %'


def save(folder: Path | str, figures: Mapping[str, Figure]) -> list[Path]:
    """Writes each figure as PNG and PDF, whole or not at all, and returns the PNGs; equal figures give equal files.

    Fonts are in the PDF: as TrueType, which publishers ask for, or as outlines (Type 3) where a font serves that
    Matplotlib cannot embed so. Says which letters no font of this machine has.
    """
    import matplotlib

    folder = make_folder(folder)
    with matplotlib.rc_context(settings()), warnings.catch_warnings():
        further, missing = _beyond_dejavu(figures)
        matplotlib.rcParams['pdf.fonttype'] = 3 if further else 42
        warnings.filterwarnings('ignore', 'Glyph .* missing from')  # it is said below, once
        for name, figure in figures.items():
            for kind in KINDS:
                metadata = {'CreationDate': None} if kind == 'pdf' else None
                with replacing(folder / f'{name}.{kind}') as file:
                    figure.savefig(file, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    if missing:
        say(
            f'Figures have boxes for {len(missing)} letters that no font here has ({" ".join(sorted(missing)[:10])}): '
            'install a font with them, such as Noto Sans CJK, and draw again'
        )
    return [folder / f'{name}.png' for name in figures]


def _beyond_dejavu(figures: Mapping[str, Figure]) -> tuple[set[str], set[str]]:
    """Letters of the figures that DejaVu Sans does not have, and those that no other font has either."""
    from matplotlib.text import Text

    texts = (text.get_text() for figure in figures.values() for text in figure.findobj(Text))
    wanted = {letter for text in texts for letter in text if not letter.isspace()}
    first, *others = (letters for _, letters in _fonts())
    further = {letter for letter in wanted if ord(letter) not in first}
    return further, {letter for letter in further if not any(ord(letter) in font for font in others)}
