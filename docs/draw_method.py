"""Draws the method as docs/method.svg: `python docs/draw_method.py`. Needs Matplotlib.

Letters are those of the paper: S skeletons, h states, a attention, l locality mask, c context vectors, L losses. The
skeletons are a simulated walker's, the shades of the matrix the locality mask itself. Words are drawn as paths, so
that the picture needs no font.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

from sge_la.data.simulated.walkers import SKELETON, draw_walker, joints
from sge_la.model.attention import locality_mask

# Inches; the axes are as large as the picture, so that one unit is one inch.
WIDTH, HEIGHT = 10.5, 4.5
# Okabe and Ito's blue, vermilion and green, for x, y and z.
AXES = {'x': '#0072B2', 'y': '#D55E00', 'z': '#009E73'}
SIDES = {'left': '#222222', 'right': '#a0a0a0', 'middle': '#555555'}
INK, GREY, PALE = '#222222', '#777777', '#eef1f5'
FRAMES = 6
CELL, LOW = 0.31, 1.62  # of the attention's matrix: the size of a cell, and where its lowest row begins
ROWS = LOW + CELL * (np.arange(FRAMES) + 0.5)  # the middle of each row: decoded frame 1 is the lowest


def draw() -> Figure:
    """The whole picture."""
    figure = Figure(figsize=(WIDTH, HEIGHT), facecolor='white')
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect='equal')
    axes.axis('off')
    walk = _walk()
    _input(axes, walk)
    _encoder_decoder(axes, walk)
    _encodings(axes)
    _contrast(axes)
    _recognition(axes)
    return figure


def _walk() -> np.ndarray:
    """Six frames of a walker who passes from left to right, `[6, 20, 3]`, metres; a tenth of a second apart."""
    walker = draw_walker(np.random.default_rng(3))
    seconds = 0.1 * np.arange(FRAMES)
    heading, way = np.full(FRAMES, np.pi / 2), np.stack([walker.speed * seconds, np.zeros(FRAMES)], 1)
    return joints(walker, walker.cadence / 2 * seconds, heading, way)


def _input(axes: Axes, walk: np.ndarray) -> None:
    _heading(axes, 0.15, '1  Skeletons')
    for frame in range(FRAMES):
        left = 0.32 + 0.32 * frame
        _skeleton(axes, walk[frame], left, 3.07, 0.8)
        _say(axes, left, 2.98, f'$S_{frame + 1}$', size=8)
    _say(axes, 1.13, 2.72, 'x, y and z of all joints', size=8, colour=GREY)
    for row, (name, colour) in enumerate(AXES.items()):
        low = 2.08 - 0.62 * row
        axes.add_patch(Rectangle((0.38, low), 1.5, 0.5, facecolor='white', edgecolor=colour, linewidth=0.8))
        values = walk[:, :, row] - walk[:1, :, row].min()
        values = 0.04 + 0.42 * (values - values.min()) / np.ptp(values)
        axes.plot(0.43 + 1.4 * np.arange(FRAMES) / (FRAMES - 1), low + values, color=colour, linewidth=0.5)
        _say(axes, 0.25, low + 0.25, name, colour=colour, size=11, weight='bold')
        _arrow(axes, (1.9, low + 0.25), (2.24, 2.2 - 0.12 * row), colour)


def _encoder_decoder(axes: Axes, walk: np.ndarray) -> None:
    _heading(axes, 2.3, '2  An encoder and a decoder for each axis, without labels')
    for layer, colour in reversed(list(enumerate(AXES.values()))):
        corner = 2.3 + 0.08 * layer, 0.38 + 0.08 * layer
        box = FancyBboxPatch(corner, 4.32, 3.5, boxstyle='round,pad=0,rounding_size=0.1', linewidth=1)
        box.set(facecolor='white', edgecolor=colour)
        axes.add_patch(box)
    left = 2.9
    for column in range(FRAMES):
        middle = left + CELL * (column + 0.5)
        _cell(axes, middle, 1.2, f'$h_{column + 1}$', PALE)
        _say(axes, middle, 0.72, f'$S_{column + 1}$', size=8)
        _arrow(axes, (middle, 0.82), (middle, 1.05), GREY)
    _say(axes, 2.65, 1.2, 'LSTM', rotation=90, size=7, colour=GREY)
    right = left + CELL * FRAMES
    _arrow(axes, (right, 1.2), (5.53, ROWS[0] - 0.16), INK, bend=0.35)
    _attention(axes, left, right)
    for row, middle in enumerate(ROWS):
        axes.add_patch(Rectangle((right + 0.1, middle - 0.06), 0.16, 0.12, facecolor=AXES['x'], linewidth=0))
        _say(axes, right + 0.39, middle, f'$c_{row + 1}$', size=8)
        _arrow(axes, (right + 0.49, middle), (5.38, middle), GREY)
        _cell(axes, 5.53, middle, rf'$\hat{{h}}_{row + 1}$', '#fbe9dd')
        _arrow(axes, (5.67, middle), (5.82, middle), GREY)
        _say(axes, 5.94, middle, rf'$\bar{{S}}_{row + 1}$', size=8)
        _say(axes, 6.27, middle, f'$≈ S_{FRAMES - row}$', size=8, colour=GREY)
    _say(axes, 5.53, 3.62, 'LSTM', size=7, colour=GREY)
    _say(axes, 6.16, 3.62, '$L_R$: reversed', size=8)


def _attention(axes: Axes, left: float, right: float) -> None:
    """The matrix of attention, a row a decoded frame, shaded as the locality mask."""
    mask = locality_mask(FRAMES)
    shades = matplotlib.colormaps['Blues']
    for (row, column), value in np.ndenumerate(mask):
        corner = left + CELL * column, LOW + CELL * row
        colour = shades(0.02 + 0.75 * (value - mask.min()) / np.ptp(mask))
        axes.add_patch(Rectangle(corner, CELL, CELL, facecolor=colour, edgecolor='white', linewidth=1))
    for row, middle in enumerate(ROWS):
        peak = int(mask[row].argmax())
        _say(axes, left + CELL * (peak + 0.5), middle, '1', colour='white', size=7)
        _say(axes, left - 0.12, middle, str(row + 1), size=7, colour=GREY)
    _say(axes, (left + right) / 2, 3.62, r'attention $a_t(j)$; $L_A$: near the mask $l_t(j)$', size=8)
    _say(axes, left - 0.25, ROWS.mean(), 'decoded frame $t$', rotation=90, size=7, colour=GREY)
    _say(axes, (left + right) / 2, 1.48, 'input frame $j$', size=7, colour=GREY)


def _encodings(axes: Axes) -> None:
    _heading(axes, 7.12, '3  CAGEs')
    for row, middle in enumerate(ROWS):
        for number, colour in enumerate(AXES.values()):
            bar = Rectangle((7.3 + 0.3 * number, middle - 0.09), 0.28, 0.18, facecolor=colour, linewidth=0)
            axes.add_patch(bar)
        _say(axes, 7.19, middle, str(row + 1), size=7, colour=GREY)
    _say(axes, 7.74, 3.62, '$[c^x_t; c^y_t; c^z_t]$', size=8)
    _say(axes, 7.74, 1.48, '3 × 256 numbers a frame', size=7, colour=GREY)
    _arrow(axes, (6.81, 2.55), (7.06, 2.55), INK)


def _contrast(axes: Axes) -> None:
    """The loss that ties consecutive sequences, drawn with a few directions on a circle."""
    _arrow(axes, (7.74, 1.38), (7.74, 1.18), INK)
    centre, radius = np.array([7.74, 0.66]), 0.45
    axes.add_patch(Circle(centre, radius, facecolor='none', edgecolor='#cccccc', linewidth=0.8))
    places = {angle: centre + radius * np.array([np.cos(angle), np.sin(angle)]) for angle in (0.2, 0.95, 2.4, 3.6, 4.9)}
    pair, others = list(places.values())[:2], list(places.values())[2:]
    axes.plot(*np.transpose(pair), color=INK, linewidth=1.4)
    for place in others:
        _arrow(axes, centre, centre + 0.78 * (place - centre), '#bbbbbb')
        axes.add_patch(Circle(place, 0.05, facecolor='#bbbbbb', linewidth=0, zorder=3))
    for place in pair:
        axes.add_patch(Circle(place, 0.06, facecolor=INK, linewidth=0, zorder=3))
    for line, text in enumerate(
        ('$L_C$, through a head for each axis:', 'consecutive sequences attract,', 'others of the batch repel')
    ):
        _say(axes, 8.35, 0.86 - 0.2 * line, text, size=8, align='left')


def _recognition(axes: Axes) -> None:
    _heading(axes, 8.5, '4  Recognition network')
    for middle in ROWS:
        _arrow(axes, (8.24, middle), (8.6, ROWS.mean() + 0.55 * (middle - ROWS.mean())), '#bbbbbb')
    for left, height, text in ((8.64, 1.3, '256, ReLU'), (9.11, 0.9, 'people')):
        box = FancyBboxPatch((left, ROWS.mean() - height / 2), 0.26, height, boxstyle='round,pad=0,rounding_size=0.05')
        box.set(facecolor=PALE, edgecolor=INK, linewidth=0.8)
        axes.add_patch(box)
        _say(axes, left + 0.13, ROWS.mean(), text, rotation=90, size=7)
    _arrow(axes, (8.9, ROWS.mean()), (9.1, ROWS.mean()), INK)
    _arrow(axes, (9.37, ROWS.mean()), (9.55, ROWS.mean()), INK)
    _say(axes, 9.97, ROWS.mean() + 0.12, 'mean over', size=8)
    _say(axes, 9.97, ROWS.mean() - 0.08, 'frames: who', size=8)
    _say(axes, 9.3, 3.62, 'trained with labels', size=8, colour=GREY)


def _heading(axes: Axes, left: float, text: str) -> None:
    _say(axes, left, 4.27, text, size=9.5, weight='bold', align='left')


def _say(axes: Axes, x: float, y: float, text: str, *, size: float = 8.5, colour: str = INK, align='center', **further):
    axes.text(x, y, text, fontsize=size, color=colour, ha=align, va='center', **further)


def _cell(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.add_patch(Rectangle((x - 0.13, y - 0.13), 0.26, 0.26, facecolor=colour, edgecolor=INK, linewidth=0.8))
    _say(axes, x, y, text, size=8)


def _arrow(axes: Axes, start, end, colour: str, bend: float = 0.0) -> None:
    style = {'arrowstyle': '-|>', 'mutation_scale': 6, 'shrinkA': 0, 'shrinkB': 0}
    style['connectionstyle'] = f'arc3,rad={bend}'
    axes.add_patch(FancyArrowPatch(start, end, color=colour, linewidth=0.9, **style))


def _skeleton(axes: Axes, frame: np.ndarray, left: float, low: float, height: float) -> None:
    scale = height / np.ptp(frame[:, 1])
    across = left + scale * (frame[:, 0] - frame[:, 0].mean())
    up = low + scale * (frame[:, 1] - frame[:, 1].min())
    for ends in zip(*SKELETON.bones, strict=True):
        colour = SIDES[SKELETON.sides[ends[0]]]
        axes.plot(across[list(ends)], up[list(ends)], color=colour, linewidth=1.6, solid_capstyle='round')


if __name__ == '__main__':
    matplotlib.rcParams.update({'svg.fonttype': 'path', 'svg.hashsalt': 'sge-la'})
    draw().savefig(Path(__file__).with_name('method.svg'), metadata={'Date': None})
