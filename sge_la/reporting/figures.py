"""Draws what a run has to show. Arrays in, Matplotlib figures out, of one column's width or two (`style`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sge_la.data.dataset import spread
from sge_la.data.draw import centred_posture, draw_skeleton, drawing_limits, legend_line
from sge_la.data.layout import AXES
from sge_la.data.skeletons import Skeleton
from sge_la.reporting import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Above this number of classes a confusion matrix has no numbers in its cells and fewer ticks.
_NUMBERED = 15
_ROC_POINTS = 400
MOST_CONFUSED = 10
# Frames of a sequence that are drawn; of longer ones so many, evenly spaced.
_MOST_FRAMES = 12
_LABEL = 16  # columns of a name beside a row


@style.styled
def training_curves(
    encoder: Sequence[Mapping], recognition: Sequence[Mapping], chosen: Mapping[str, int] | None = None
) -> Figure:
    """The losses of both stages over their epochs, and the accuracies of the second.

    `encoder` are joined history rows of x, y and z, may be empty; `recognition` those of the recognition network;
    `chosen` the epoch whose weights were kept, by test set.
    """
    figure, axes = style.new_figure(style.TWO_COLUMNS, 5, 2, 2)
    _encoder_curves(axes[0], encoder)
    _line(axes[1, 0], recognition, 'train_loss', 'training, last batch', **style.line_look(0))
    _line(axes[1, 1], recognition, 'train_accuracy', 'training, last batch (frames)', 100, **style.line_look(0))
    tests = (key.removeprefix('accuracy_') for row in recognition for key in row if key.startswith('accuracy_'))
    for number, name in enumerate(dict.fromkeys(tests), 1):
        column, look = f'accuracy_{name}', style.line_look(number)
        _line(axes[1, 0], recognition, f'loss_{name}', style.of_test_set(name), **look)
        _line(axes[1, 1], recognition, column, style.of_test_set(name), 100, **look)
        reached = {row['epoch']: 100 * row[column] for row in recognition if column in row}
        if (epoch := (chosen or {}).get(name)) in reached:  # else results and history are of different runs
            label = f'kept: epoch {epoch}, {style.of_test_set(name)}'
            axes[1, 1].axvline(epoch, color=look['color'], linewidth=0.6)
            axes[1, 1].plot([epoch], [reached[epoch]], 'o', color=look['color'], label=label)
    style.finish(axes[1, 0], title='Recognition network: loss', xlabel='Epoch', ylabel='Cross-entropy (nats)')
    style.finish(
        axes[1, 1], title='Recognition network: accuracy', xlabel='Epoch', ylabel='Accuracy (%)', ylim=(0, 102)
    )
    for axis in axes.flat:
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.lines:
            axis.legend()
        else:
            axis.text(0.5, 0.5, 'none', transform=axis.transAxes, ha='center', va='center', color=style.GREY)
    return figure


def _encoder_curves(axes, history: Sequence[Mapping]) -> None:
    for number, axis in enumerate(AXES):
        look = {'color': style.COLOURS[number]}
        _line(axes[0], history, f'reconstruction_{axis}', f'{axis}, training', **look)
        _line(axes[0], history, f'validation_reconstruction_{axis}', f'{axis}, validation', linestyle='--', **look)
        column = f'validation_contrastive_{axis}'
        if any(row.get(column) for row in history):  # AGEs have no such term, and it is 0
            _line(axes[1], history, column, axis, **style.line_look(number))
    style.finish(
        axes[0], title='Gait encoders: reconstruction loss', xlabel='Epoch', ylabel='½ Σ (output − target)² (m²)'
    )
    style.finish(
        axes[1], title='Gait encoders: contrastive loss', xlabel='Epoch', ylabel='Loss of 128 sequences (nats)'
    )
    if history:
        axes[0].set_yscale('log')


def _line(axis, history: Sequence[Mapping], column: str, label: str, times: float = 1, **look) -> None:
    points = [(row['epoch'], times * row[column]) for row in history if column in row]
    if points:
        marker = 'o' if len(points) == 1 else None  # a line of one point cannot be seen
        axis.plot(*zip(*points, strict=True), label=label, marker=marker, **look)


@style.styled
def cmc(curves: Mapping[str, np.ndarray], num_classes: int | None = None, title: str = 'CMC') -> Figure:
    """Identification rate over rank, of each named curve (Rank-1 first); with `num_classes` the line of chance."""
    names = [style.fitted(name) for name in curves]
    crowded = len(curves) > 3 or max(map(style.width, names)) > 18  # the names would hide the curves
    figure, axes = style.new_figure(style.ONE_COLUMN, 2.8 + 0.17 * len(curves) * crowded)
    axis = axes[0, 0]
    for number, (name, values) in enumerate(zip(names, curves.values(), strict=True)):
        rates = np.asarray(values) * 100
        label = f'{name} (Rank-1 {style.percent(values[0])})'
        axis.plot(np.arange(1, len(rates) + 1), rates, label=label, **style.line_look(number, marked=True))
    if num_classes:
        ranks = np.arange(1, num_classes + 1)
        axis.plot(ranks, ranks / num_classes * 100, color=style.GREY, linewidth=0.8, label='chance')
    style.finish(axis, xlabel='Rank', ylabel='Identification rate (%)', ylim=(0, 102))
    axis.set_xlim(0.5, min(50, max(map(len, curves.values()))) + 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(title)
    if crowded:
        figure.legend(loc='outside lower center')
    else:
        axis.legend(loc='lower right')
    return figure


@style.styled
def roc(scores: np.ndarray, labels: np.ndarray, area: float, title: str = 'ROC') -> Figure:
    """The micro-averaged ROC curve: all S·C scores against one-hot labels, with its area (nAUC) beside."""
    right = np.sort(scores[np.arange(len(labels)), labels])
    everything = np.sort(scores, axis=None)
    # Thresholds at which the share of wrong scores above it is evenly spaced, and those of the right scores.
    marks = everything[np.linspace(0, len(everything) - 1, _ROC_POINTS).astype(int)]
    marks = np.unique(np.concatenate([marks, right[np.linspace(0, len(right) - 1, _ROC_POINTS).astype(int)]]))
    num_right = len(right) - np.searchsorted(right, marks)
    num_wrong = len(everything) - np.searchsorted(everything, marks) - num_right
    true, false = 100 * num_right / len(right), 100 * num_wrong / max(1, len(everything) - len(right))
    figure, axes = style.new_figure(style.ONE_COLUMN, 3.4)
    axis = axes[0, 0]
    axis.plot([*false, 0], [*true, 0], color=style.COLOURS[0], label=f'nAUC {area:.3f}')
    axis.plot([0, 100], [0, 100], color=style.GREY, linewidth=0.8, linestyle='--', label='chance, nAUC 0.500')
    texts = {'xlabel': 'False accept rate (%)', 'ylabel': 'True accept rate (%)'}
    style.finish(axis, aspect='equal', xlim=(0, 100), ylim=(0, 101), **texts)
    figure.suptitle(title)
    axis.legend(loc='lower right')
    return figure


@style.styled
def confusion(matrix: np.ndarray, classes: Sequence[object], title: str = 'Confusion matrix') -> Figure:
    """Who was taken for whom, in shares of each true identity's sequences; integers [K, K], rows true."""
    return _matrix(matrix, matrix.sum(axis=1), list(classes), list(classes), title)


@style.styled
def most_confused(matrix: np.ndarray, classes: Sequence[object], title: str = '') -> Figure:
    """The confusion matrix of the identities with most mistakes, as true or as predicted one, and all others in one.

    `matrix`: integers [K, K], rows true; a row of the picture has all sequences of its identity.
    """
    wrong = matrix - np.diag(np.diag(matrix))
    chosen = np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind='stable')[:MOST_CONFUSED])
    others = np.setdiff1d(np.arange(len(matrix)), chosen)
    shown = np.column_stack([matrix[chosen][:, chosen], matrix[chosen][:, others].sum(axis=1)])
    names = [classes[number] for number in chosen]
    return _matrix(shown, matrix[chosen].sum(axis=1), names, [*names, 'others'], title)


def _matrix(counts: np.ndarray, totals: np.ndarray, true: list, predicted: list, title: str) -> Figure:
    """Counts as shares of the totals of their rows; every identity named, or every n-th where they are many."""
    shares = 100 * counts / np.maximum(totals[:, None], 1)
    step = max(1, len(predicted) // 20)
    (ys, rows), (xs, columns) = (
        (np.arange(0, len(names), step), [style.fitted(name, _LABEL) for name in names[::step]])
        for names in (true, predicted)
    )
    small = len(counts) <= _NUMBERED and max(map(style.width, rows)) <= 4
    size = style.ONE_COLUMN if small else style.TWO_COLUMNS
    figure, axes = style.new_figure(size, 0.86 * size)
    axis = axes[0, 0]
    image = axis.imshow(shares, cmap=style.MAP, vmin=0, vmax=100, interpolation='nearest')
    axis.set_xticks(xs, columns, rotation=90)
    axis.set_yticks(ys, rows)
    axis.set(xlabel='Predicted identity', ylabel='True identity')
    figure.suptitle(title)
    figure.colorbar(image, ax=axis, label='Sequences of the true identity (%)', shrink=0.8)
    if len(counts) <= _NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = 'black' if shares[row, column] > 50 else 'white'
                size = 5 if small else 7
                axis.text(column, row, str(count), ha='center', va='center', color=colour, fontsize=size)
    return figure


@style.styled
def attention(weights: Mapping[str, np.ndarray]) -> Figure:
    """Attention weights, mean over sequences, all to one scale: float [A, T decoded, T input] by name ('LA', 'BA')."""
    figure, axes = style.new_figure(style.TWO_COLUMNS, 0.3 + 2.1 * len(weights), len(weights), len(AXES))
    highest = max(float(values.max()) for values in weights.values())
    for row, (name, values) in enumerate(weights.items()):
        for axis, letter, matrix in zip(axes[row], AXES, values, strict=True):
            image = axis.imshow(matrix, cmap=style.MAP, vmin=0, vmax=highest, interpolation='nearest')
            length = len(matrix)
            ticks = np.arange(0, length, max(1, length // 10))
            axis.set_xticks(ticks, ticks + 1)
            axis.set_yticks(ticks, ticks + 1)
            axis.set(title=f'{style.fitted(name, _LABEL)}, {letter}', xlabel='Input frame', ylabel='Decoded frame')
    figure.colorbar(image, ax=axes, label='Attention weight', shrink=0.8)
    return figure


@style.styled
def reconstruction(output: np.ndarray, target: np.ndarray, skeleton: Skeleton | None) -> Figure:
    """A sequence [T, J, 3] (metres) that the decoder made, below what it should be, seen from the front."""
    error = float(np.sqrt(np.mean(np.sum((output - target) ** 2, axis=-1))) * 100)
    rows = {'target': target, f'decoded,\nerror {error:.1f} cm': output}
    return strips(rows, skeleton, 'Reconstruction, error: root mean square distance of a joint', keep_place=True)


@style.styled
def strips(
    rows: Mapping[str, np.ndarray],
    skeleton: Skeleton | None,
    title: str,
    *,
    keep_place: bool = False,
    colours: Sequence[str] = (),
) -> Figure:
    """Sequences [T, J, 3] as rows of skeletons from the front, to one scale, named by the keys.

    `keep_place` moves the frames of all rows as those of the first, so that shifts of the body show; `colours` are
    those of the names.
    """
    first, *_ = rows
    postures = {name: centred_posture(sequence, skeleton) for name, sequence in rows.items()}
    if keep_place:
        moved = np.nanmean(postures[first] - rows[first], axis=1, keepdims=True)
        moved[..., 1] = 0
        up = 1 if np.allclose(postures[first][..., 1], rows[first][..., 1], equal_nan=True) else -1
        postures = {name: (sequence + moved) * (1, up, 1) for name, sequence in rows.items()}
    half, low, high = drawing_limits(np.concatenate(list(postures.values())))
    frames = spread(len(rows[first]), _MOST_FRAMES)
    height = min(1.5, (style.TWO_COLUMNS - 1.2) / len(frames) * (high - low) / (2 * half))
    figure, axes = style.new_figure(style.TWO_COLUMNS, 0.7 + height * len(rows), len(rows), len(frames))
    for row, (name, posture) in enumerate(postures.items()):
        for frame, axis in zip(frames, axes[row], strict=True):
            draw_skeleton(axis, posture[frame, :, 0], posture[frame, :, 1], skeleton)
            axis.set(xlim=(-half, half), ylim=(low, high), xticks=[], yticks=[], aspect='equal')
            axis.spines[:].set_visible(False)
            if row == len(rows) - 1:
                axis.set_xlabel(f'frame {frame + 1}', fontsize=7)
        colour = colours[row] if colours else 'black'
        lines = '\n'.join(style.fitted(line, 2 * _LABEL) for line in name.split('\n'))
        axes[row, 0].set_ylabel(lines, rotation=0, ha='right', va='center', fontsize=7, color=colour)
    figure.suptitle(f'{title}; a row is {high - low:.1f} m high')
    if skeleton is not None:
        handles = [legend_line(side) for side in ('left', 'right')]
        figure.legend(handles=handles, loc='outside lower center', ncols=2, frameon=False)
    return figure


@style.styled
def embedding(points: np.ndarray, people: np.ndarray, title: str) -> Figure:
    """Points [N, 2] of the plane, each person's with a marker and colour of their own (`style.LOOKS` differ)."""
    names = np.unique(people).tolist()
    size = style.ONE_COLUMN if len(names) <= 40 else style.TWO_COLUMNS
    labels = [style.fitted(name, _LABEL) for name in names]
    # Inches that an entry of the legend takes.
    columns = max(1, int((size - 0.2) / (0.22 + 0.075 * max(map(style.width, labels)))))
    figure, axes = style.new_figure(size, 0.8 * size + 0.6 + 0.13 * -(-len(names) // columns))
    axis = axes[0, 0]
    for number, (name, label) in enumerate(zip(names, labels, strict=True)):
        axis.scatter(*points[people == name].T, s=8, linewidths=0.6, label=label, **style.point_look(number))
    style.finish(axis, xlabel='t-SNE 1', ylabel='t-SNE 2', xticks=[], yticks=[])
    repeats = f'; looks repeat after {style.LOOKS} identities' if len(names) > style.LOOKS else ''
    figure.suptitle(f'{title}{repeats}')
    look = {'handletextpad': 0.1, 'columnspacing': 0.6, 'handlelength': 1, 'borderpad': 0.2, 'labelspacing': 0.2}
    figure.legend(title='Identity', ncols=columns, loc='outside lower center', **look)
    return figure
