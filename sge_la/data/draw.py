"""Draws sequences as strips of skeletons. Needs Matplotlib, which is loaded on use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sge_la.data.dataset import spread
from sge_la.data.skeletons import Skeleton
from sge_la.errors import UserError
from sge_la.files.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


# Blue and vermilion of Okabe and Ito's palette can be told apart with every kind of colour vision.
COLOURS = {'left': '#0072B2', 'right': '#D55E00', 'middle': '#555555'}
_VIEWS = {'front': 0, 'side': 2}
_MOST_FRAMES = 12
_ROW_INCHES = 2.6
_FORMATS = ('png', 'svg', 'pdf')


def draw_strip(sequence: np.ndarray, skeleton: Skeleton | None, title: str = '') -> Figure:
    """Draws a sequence, a skeleton a frame, seen from the front (x, y) and from the side (z, y), all to one scale.

    Where the walker is does not show: each skeleton stands in the middle of its place.

    `sequence`: `[T, J, 3]`, metres. Of more than 12 frames, 12 evenly spaced ones are drawn. `skeleton`: bones, left
    and right; None draws dots only. `title`: written above. Returns the figure, which belongs to no window. Raises
    UserError: Matplotlib is not installed, or a frame has no finite coordinate.
    """
    new_figure = figure_class()
    if not np.isfinite(sequence).any(axis=1).all():
        raise UserError(f'{title or "the sequence"} has a frame without a finite coordinate to draw; choose another')
    frames = spread(len(sequence), _MOST_FRAMES)
    posture = centred_posture(sequence[frames], skeleton)
    half, low, high = drawing_limits(posture)
    width = _ROW_INCHES * 2 * half / (high - low)
    figure = new_figure(figsize=(width * len(frames) + 0.5, 2 * _ROW_INCHES + 1.2), layout='constrained')
    axes = figure.subplots(2, len(frames), squeeze=False)
    for row, (view, across) in enumerate(_VIEWS.items()):
        for column, frame in enumerate(frames):
            axis = axes[row, column]
            draw_skeleton(axis, posture[column, :, across], posture[column, :, 1], skeleton)
            axis.set(xlim=(-half, half), ylim=(low, high), xticks=[], yticks=[], aspect='equal')
            axis.spines[:].set_visible(False)
            if row == 0:
                axis.set_title(f'frame {frame + 1}', fontsize=9)  # as in the figures of a run
        axes[row, 0].set_ylabel(view)
    if title:
        figure.suptitle(title, fontsize=10)
    if skeleton is not None:
        handles = [legend_line(side) for side in ('left', 'right')]
        figure.legend(handles=handles, loc='lower center', ncol=2, frameon=False)
        # Room for it below the skeletons.
        figure.get_layout_engine().set(rect=(0, 0.06, 1, 0.94))  # type: ignore[call-arg]
    return figure


def legend_line(side: str) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=COLOURS[side], linewidth=2, label=side)


def save_strip(path: Path | str, sequence: np.ndarray, skeleton: Skeleton | None, title: str = '') -> None:
    """Draws a sequence into a file, whole or not at all.

    `path`: ends in .png, .svg or .pdf; `sequence`, `skeleton`, `title`: as in `draw_strip`. Raises UserError: as
    `draw_strip`, or the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower().removeprefix('.')
    if kind not in _FORMATS:
        raise UserError(f'{path}: a figure should end in .png, .svg or .pdf; choose another name')
    figure = draw_strip(sequence, skeleton, title)
    with replacing(path) as file:
        figure.savefig(file, format=kind, dpi=150)


def figure_class() -> type[Figure]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("figures need Matplotlib, which is not installed; run 'pip install matplotlib'") from error
    return Figure


def centred_posture(sequence: np.ndarray, skeleton: Skeleton | None) -> np.ndarray:
    """The frames `[T, J, 3]` with their middle at x = z = 0, so that walking does not shrink the drawing; y up."""
    posture = np.where(np.isfinite(sequence), sequence, np.nan).astype(np.float64)
    for across in _VIEWS.values():
        seen = posture[..., across]
        posture[..., across] -= (np.nanmax(seen, axis=1, keepdims=True) + np.nanmin(seen, axis=1, keepdims=True)) / 2
    if skeleton is not None and 'Head' in skeleton.joints:
        rise = posture[:, skeleton.joints.index('Head'), 1] - posture[:, skeleton.centre, 1]
        posture[..., 1] *= -1 if np.nan_to_num(rise).sum() < 0 else 1
    return posture


def drawing_limits(posture: np.ndarray) -> tuple[float, float, float]:
    """Half the width, the lowest and the highest point that all frames and both views fit into, with a margin."""
    half = np.nanmax(np.abs(posture[..., list(_VIEWS.values())]))
    low, high = np.nanmin(posture[..., 1]), np.nanmax(posture[..., 1])
    margin = 0.05 * (high - low) + 0.02
    return float(half + margin), float(low - margin), float(high + margin)


def draw_skeleton(axis: Axes, across: np.ndarray, up: np.ndarray, skeleton: Skeleton | None) -> None:
    if skeleton is None:
        axis.plot(across, up, '.', color=COLOURS['middle'], markersize=4)
        return
    sides = skeleton.sides
    for joint, parent in zip(*skeleton.bones, strict=True):
        ends = [joint, parent]
        axis.plot(across[ends], up[ends], color=COLOURS[sides[joint]], linewidth=1.6, solid_capstyle='round')
