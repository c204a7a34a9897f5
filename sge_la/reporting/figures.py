"""Draws what a run has to show. Arrays in, Matplotlib figures out; Matplotlib is loaded on use.

Colours are Okabe and Ito's, which every kind of colour vision tells apart, and `cividis`; lines differ in dashes and
points in their markers as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sge_la.data.draw import centred_posture, draw_skeleton, drawing_limits, figure_class, legend_line
from sge_la.data.layout import AXES
from sge_la.data.skeletons import Skeleton
from sge_la.files.atomic import make_folder, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000', '#999933')
_DASHES = ('-', '--', ':', '-.')
_MARKERS = ('o', 's', '^', 'D')
# Above this number of classes a confusion matrix has no numbers in its cells and fewer ticks.
_NUMBERED = 15
_ROC_POINTS = 400


def require_matplotlib() -> None:
    """Asks for Matplotlib early, so that nobody waits for a training whose figures cannot be drawn."""
    figure_class()


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **further):
    figure = figure_class()(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False, **further)


def _plain(axis, **texts) -> None:
    axis.set(**texts)
    axis.grid(alpha=0.3)
    axis.spines[['top', 'right']].set_visible(False)


def training_curves(
    encoder: Sequence[Mapping], recognition: Sequence[Mapping], chosen: Mapping[str, int] | None = None
) -> Figure:
    """The losses of both stages over their epochs, and the accuracies of the second.

    `encoder` are joined history rows of x, y and z, may be empty; `recognition` those of the recognition network;
    `chosen` the epoch whose weights were kept, by test set.
    """
    figure, axes = _figure(10, 6.5, 2, 2)
    for number, axis in enumerate(AXES):
        style = {'color': COLOURS[number]}
        _line(axes[0, 0], encoder, f'reconstruction_{axis}', f'{axis}, training', linestyle='-', **style)
        _line(axes[0, 0], encoder, f'validation_reconstruction_{axis}', f'{axis}, validation', linestyle='--', **style)
        column = f'validation_contrastive_{axis}'
        if any(row.get(column) for row in encoder):  # AGEs have no such term, and it is 0
            _line(axes[0, 1], encoder, column, axis, linestyle=_DASHES[number], **style)
    _plain(
        axes[0, 0], title='Gait encoders: reconstruction', xlabel='epoch', ylabel='½ Σ (output − target)² (m², a batch)'
    )
    _plain(
        axes[0, 1], title='Gait encoders: contrastive loss', xlabel='epoch', ylabel='loss (nats), first 128 sequences'
    )
    if encoder:
        axes[0, 0].set_yscale('log')
    _line(axes[1, 0], recognition, 'train_loss', 'training, last batch', color=COLOURS[0])
    _line(axes[1, 1], recognition, 'train_accuracy', 'training, last batch (frames)', color=COLOURS[0])
    for number, name in enumerate(_names(recognition, 'accuracy_'), 1):
        style = {'color': COLOURS[number], 'linestyle': _DASHES[number % 4]}
        _line(axes[1, 0], recognition, f'loss_{name}', f'test set {name}', **style)
        _line(axes[1, 1], recognition, f'accuracy_{name}', f'test set {name}', **style)
        if epoch := (chosen or {}).get(name):
            axes[1, 1].axvline(epoch, color=COLOURS[number], linewidth=0.8)
            label = f'kept: epoch {epoch} ({name})'
            axes[1, 1].plot(
                [epoch], [recognition[epoch - 1][f'accuracy_{name}']], 'o', color=COLOURS[number], label=label
            )
    _plain(axes[1, 0], title='Recognition network: loss', xlabel='epoch', ylabel='cross-entropy (nats)')
    _plain(axes[1, 1], title='Recognition network: accuracy', xlabel='epoch', ylabel='share right', ylim=(0, 1.02))
    for axis in axes.flat:
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.lines:
            axis.legend(fontsize=8)
        else:
            axis.text(0.5, 0.5, 'none', transform=axis.transAxes, ha='center', va='center', color='#777777')
    return figure


def _names(history: Sequence[Mapping], prefix: str) -> list[str]:
    found = (key.removeprefix(prefix) for row in history for key in row if key.startswith(prefix))
    return list(dict.fromkeys(found))


def _line(axis, history: Sequence[Mapping], column: str, label: str, **style) -> None:
    points = [(row['epoch'], row[column]) for row in history if column in row]
    if points:
        marker = 'o' if len(points) == 1 else None  # a line of one point cannot be seen
        axis.plot(*zip(*points, strict=True), label=label, linewidth=1.6, marker=marker, **style)


def cmc(curves: Mapping[str, np.ndarray], num_classes: int | None = None) -> Figure:
    """Rank-n over n, of each named curve (Rank-1 first); with `num_classes` the line of chance."""
    figure, axes = _figure(6, 4.5)
    axis = axes[0, 0]
    for number, (name, values) in enumerate(curves.items()):
        style = {'color': COLOURS[number % 8], 'linestyle': _DASHES[number % 4], 'marker': _MARKERS[number % 4]}
        ranks = np.arange(1, len(values) + 1)
        axis.plot(ranks, np.asarray(values) * 100, label=f'{name} (Rank-1 {values[0]:.1%})', markersize=3, **style)
    if num_classes:
        ranks = np.arange(1, num_classes + 1)
        axis.plot(ranks, ranks / num_classes * 100, color='#777777', linewidth=0.8, label='chance')
    _plain(axis, title='CMC', xlabel='n: the right person is among the n first', ylabel='share (%)', ylim=(0, 102))
    axis.set_xlim(0.5, min(50, max(map(len, curves.values()))) + 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(fontsize=8, loc='lower right')
    return figure


def roc(scores: np.ndarray, labels: np.ndarray, area: float) -> Figure:
    """The micro-averaged ROC curve: all S·C scores against one-hot labels, with its area (nAUC) beside."""
    right = np.sort(scores[np.arange(len(labels)), labels])
    everything = np.sort(scores, axis=None)
    # Thresholds at which the share of wrong scores above it is evenly spaced, and those of the right scores.
    marks = everything[np.linspace(0, len(everything) - 1, _ROC_POINTS).astype(int)]
    marks = np.unique(np.concatenate([marks, right[np.linspace(0, len(right) - 1, _ROC_POINTS).astype(int)]]))
    num_right = len(right) - np.searchsorted(right, marks)
    num_wrong = len(everything) - np.searchsorted(everything, marks) - num_right
    true, false = num_right / len(right), num_wrong / max(1, len(everything) - len(right))
    figure, axes = _figure(5, 4.8)
    axis = axes[0, 0]
    axis.plot([*false, 0], [*true, 0], color=COLOURS[0], label=f'nAUC {area:.4f}')
    axis.plot([0, 1], [0, 1], color='#777777', linewidth=0.8, linestyle='--', label='chance 0.5')
    texts = {'xlabel': 'wrong (sequence, person) pairs accepted (share)', 'ylabel': 'right pairs accepted (share)'}
    _plain(axis, title='ROC, micro-averaged', aspect='equal', xlim=(0, 1), ylim=(0, 1.01), **texts)
    axis.legend(fontsize=9, loc='lower right')
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[object]) -> Figure:
    """Who was taken for whom, in shares of each true person's sequences; integers [K, K], rows true."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = min(10.0, 3.5 + 0.3 * len(matrix))
    figure, axes = _figure(size + 1, size)
    axis = axes[0, 0]
    image = axis.imshow(shares, cmap='cividis', vmin=0, vmax=1, interpolation='nearest')
    step = max(1, len(matrix) // 20)
    ticks = np.arange(0, len(matrix), step)
    names = [str(classes[tick]) for tick in ticks]
    axis.set_xticks(ticks, names, rotation=90, fontsize=8)
    axis.set_yticks(ticks, names, fontsize=8)
    axis.set(title='Confusion matrix', xlabel='taken for person', ylabel='is person')
    figure.colorbar(image, ax=axis, label="share of the person's sequences", shrink=0.8)
    if len(matrix) <= _NUMBERED:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = 'black' if shares[row, column] > 0.5 else 'white'
                axis.text(column, row, str(count), ha='center', va='center', color=colour, fontsize=7)
    return figure


def attention(weights: Mapping[str, np.ndarray]) -> Figure:
    """Attention weights, mean over sequences, all to one scale: float [A, T decoded, T input] by name ('LA', 'BA')."""
    figure, axes = _figure(9.5, 0.6 + 2.9 * len(weights), len(weights), 3)
    highest = max(float(values.max()) for values in weights.values())
    for row, (name, values) in enumerate(weights.items()):
        for axis, letter, matrix in zip(axes[row], AXES, values, strict=True):
            image = axis.imshow(matrix, cmap='cividis', vmin=0, vmax=highest, interpolation='nearest')
            length = len(matrix)
            ticks = np.arange(0, length, max(1, length // 10))
            axis.set_xticks(ticks, ticks + 1)
            axis.set_yticks(ticks, ticks + 1)
            axis.set(title=f'{name}, {letter}', xlabel='input frame', ylabel='decoded frame')
    figure.colorbar(image, ax=axes, label='attention weight', shrink=0.8)
    return figure


def reconstruction(output: np.ndarray, target: np.ndarray, skeleton: Skeleton | None) -> Figure:
    """A sequence [T, J, 3] (metres) that the decoder made, below what it should be, seen from the front."""
    error = float(np.sqrt(np.mean(np.sum((output - target) ** 2, axis=-1))) * 100)
    rows = {'target': target, f'decoded\n(error {error:.1f} cm)': output}
    return strips(rows, skeleton, 'Reconstruction (root mean square distance of a joint)', keep_place=True)


def strips(
    rows: Mapping[str, np.ndarray], skeleton: Skeleton | None, title: str, *, keep_place: bool = False
) -> Figure:
    """Sequences [T, J, 3] as rows of skeletons from the front, to one scale, named by the keys.

    `keep_place` moves the frames of all rows as those of the first, so that shifts of the body show.
    """
    first, *_ = rows
    postures = {name: centred_posture(sequence, skeleton) for name, sequence in rows.items()}
    if keep_place:
        moved = np.nanmean(postures[first] - rows[first], axis=1, keepdims=True)
        moved[..., 1] = 0
        up = 1 if np.allclose(postures[first][..., 1], rows[first][..., 1], equal_nan=True) else -1
        postures = {name: (sequence + moved) * (1, up, 1) for name, sequence in rows.items()}
    half, low, high = drawing_limits(np.concatenate(list(postures.values())))
    length, height = len(rows[first]), 1.5
    figure, axes = _figure(1.6 + length * height * 2 * half / (high - low), 0.7 + height * len(rows), len(rows), length)
    for row, (name, posture) in enumerate(postures.items()):
        for frame, axis in enumerate(axes[row]):
            draw_skeleton(axis, posture[frame, :, 0], posture[frame, :, 1], skeleton)
            axis.set(xlim=(-half, half), ylim=(low, high), xticks=[], yticks=[], aspect='equal')
            axis.spines[:].set_visible(False)
            if row == len(rows) - 1:
                axis.set_xlabel(f'frame {frame + 1}', fontsize=8)
        axes[row, 0].set_ylabel(name, rotation=0, ha='right', va='center', fontsize=8)
    figure.suptitle(f'{title}; a row is {high - low:.1f} m high', fontsize=10)
    if skeleton is not None:
        handles = [legend_line(side) for side in ('left', 'right')]
        figure.legend(handles=handles, loc='outside lower center', ncols=2, frameon=False, fontsize=8)
    return figure


def embedding(points: np.ndarray, people: np.ndarray, title: str) -> Figure:
    """Points [N, 2] of the plane by person: eight colours times four markers, further people in grey."""
    figure, axes = _figure(7.5, 6)
    axis = axes[0, 0]
    names, counts = np.unique(people, return_counts=True)
    shown = set(names[np.argsort(-counts, kind='stable')][: len(COLOURS) * len(_MARKERS)].tolist())
    others = ~np.isin(people, list(shown))
    axis.scatter(*points[others].T, s=6, color='#cccccc')
    for number, name in enumerate(name for name in names.tolist() if name in shown):
        style = {'color': COLOURS[number % 8], 'marker': _MARKERS[number // 8]}
        axis.scatter(*points[people == name].T, s=14, linewidths=0, label=str(name), **style)
    _plain(axis, title=title, xlabel='t-SNE 1 (no unit)', ylabel='t-SNE 2 (no unit)')
    axis.legend(title='person', fontsize=7, ncols=1 + len(shown) // 17, loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def save(folder: Path | str, figures: Mapping[str, Figure]) -> list[Path]:
    """Writes each figure as PNG and SVG, whole or not at all, and returns the PNGs; equal figures give equal files."""
    import matplotlib

    folder = make_folder(folder)
    with matplotlib.rc_context({'svg.hashsalt': 'sge-la'}):
        for name, figure in figures.items():
            for kind in ('png', 'svg'):
                with replacing(folder / f'{name}.{kind}') as file:
                    figure.savefig(file, format=kind, dpi=130, metadata={'Date': None} if kind == 'svg' else None)
    return [folder / f'{name}.png' for name in figures]
