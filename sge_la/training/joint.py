"""Training of encoders and recognition network together: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from sge_la import backends
from sge_la.backends import ops
from sge_la.errors import UserError
from sge_la.model.adam import adamw_step, clipped, learning_rate
from sge_la.model.config import LINEAR_MAPS, EncoderConfig, Recipe
from sge_la.model.gait_encoder import axis_major
from sge_la.model.joint import TERMS, cost_and_gradients
from sge_la.model.sequence_recognition import initial_head
from sge_la.runs.states import TrainingState
from sge_la.training.epochs import run_epochs
from sge_la.training.together import epoch_runner

# What the terms are called in history.csv, beside those of the original's recipe.
COLUMNS = ('train_loss', 'train_accuracy', *TERMS[2:])


def initial_params(config: EncoderConfig, manner: str, classes: int, seed: int, axes: int = 3) -> dict[str, np.ndarray]:
    """Glorot's starting values for the encoders, each axis with its own; the head's are `initial_head`'s.

    The gates of an LSTM are four maps side by side, and each counts for itself.
    """
    params = {}
    for position, (name, (rows, columns)) in enumerate(config.map_shapes().items()):
        kernel, bias = LINEAR_MAPS[name]
        outputs = config.units if name.startswith(('encoder', 'decoder')) else columns
        limit = np.sqrt(6 / (rows + outputs))
        rng = np.random.default_rng([seed, position, rows, columns])
        params[kernel] = rng.uniform(-limit, limit, (axes, rows, columns)).astype(np.float32)
        if bias:
            params[bias] = np.zeros((axes, columns), np.float32)
    width = axes * config.units * (1 if manner == 'ap' else config.length)
    return params | initial_head(width, classes, seed)


def paired_batches(
    rows: np.ndarray,
    recordings: np.ndarray,
    batch_size: int,
    rng: np.random.Generator,
    people: np.ndarray | None = None,
) -> np.ndarray:
    """The batches of an epoch: pairs of neighbours in one recording, in random order; each sequence at most once.

    `rows`: sequences to train on, in file order; `recordings`: the recording (or person, where recordings are unknown)
    of each sequence of the file; `batch_size`: B, even; `rng`: draws which neighbours pair, and the order; `people`: if
    given, the person of each sequence: two pairs of a person then follow each other, see `_coupled`. Returns int64
    `[steps, B]`; columns 2k and 2k + 1 are a pair. Raises UserError: there are no neighbours, or not one batch of them.
    """
    order = rows[np.argsort(recordings[rows], kind='stable')]
    firsts = []
    for part in np.split(order, np.flatnonzero(np.diff(recordings[order])) + 1):
        part = part[int(rng.integers(2)) if len(part) > 2 else 0 :]
        firsts.append(part[: len(part) // 2 * 2].reshape(-1, 2))
    pairs = np.concatenate(firsts)
    if not len(pairs):
        raise UserError(
            '--recipe modern trains on two neighbours of a recording at a time, and no recording has two sequences: '
            'prepare shorter ones by --length, or use --recipe original'
        )
    steps = 2 * len(pairs) // batch_size
    if steps == 0:
        unit = 2 if people is None else 4
        raise UserError(
            f'training needs at least one batch of {batch_size} sequences in pairs of neighbours, and '
            f'{2 * len(pairs)} can be paired: use --batch_size {max(unit, 2 * len(pairs) // unit * unit)} or less'
        )
    pairs = pairs[rng.permutation(len(pairs))]
    if people is not None:
        pairs = _coupled(pairs, recordings, people, rng)
    return pairs.reshape(-1)[: steps * batch_size].reshape(steps, batch_size)


def _coupled(pairs: np.ndarray, recordings: np.ndarray, people: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Puts two pairs of a person side by side, of different recordings where possible; all else is in random order.

    Which recordings meet is drawn anew each time. A pair that is left over stands beside another person's.
    """
    couples, left, firsts = [], [], pairs[:, 0]
    places = np.unique(recordings[firsts], return_inverse=True)[1]
    order = np.lexsort((rng.permutation(places.max() + 1)[places], people[firsts]))
    for own in np.split(pairs[order], np.flatnonzero(np.diff(people[firsts[order]])) + 1):
        half = len(own) // 2
        couples.append(np.stack([own[:half], own[len(own) - half :]], axis=1))
        left.append(own[half : len(own) - half])
    odd = rng.permutation(np.concatenate(left))
    even = len(odd) // 2 * 2
    every = np.concatenate([*couples, odd[:even].reshape(-1, 2, 2)])
    return np.concatenate([every[rng.permutation(len(every))].reshape(-1, 2), odd[even:]])


@cache
def modern_step(config: EncoderConfig, recipe: Recipe, manner: str, decayed: frozenset[str]) -> Callable:
    """One update: `(state, inputs [B, T, J, 3], (labels, rate) ...) -> (state, TERMS)`.

    The state is (parameters, AdamW's two moments, number of updates, the rate of each update of this epoch `[steps]`,
    updates before this epoch).
    """
    decay = recipe.decay if recipe.has('decay') else 0.0

    @backends.fused
    def update(params, first, second, grads, number, rate):
        return adamw_step(params, first, second, clipped(grads, recipe.clip), number, rate, decay, decayed)

    def step(state, inputs, labels):
        params, first, second, number, rates, before = state
        rate = ops.take(rates, ops.cast(number - before, 'int32'))
        number = number + 1
        terms, grads = cost_and_gradients(config, recipe, manner, params, axis_major(inputs), labels, number)
        return (*update(params, first, second, grads, number, rate), number, rates, before), terms

    return step


def fit(
    config: EncoderConfig,
    recipe: Recipe,
    manner: str,
    inputs: Callable,
    labels: np.ndarray,
    rows: np.ndarray,
    recordings: np.ndarray,
    state: TrainingState,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    progress: str | None = None,
) -> Iterator[TrainingState]:
    """Trains encoders and recognition network together; yields the state after every epoch.

    Args:
        inputs: `(rows) -> [B, T, J, 3]`, the encoders' inputs of sequences.
        labels: class indices `[N]`.
        rows: sequences to train on.
        recordings: see `paired_batches`.
        state: where to go on from.
        epochs: in all; the learning rate's course depends on it.
        batch_size: B, even.
        seed: of the batches.
        progress: what the bar says; None shows none.

    Yields:
        The state, whose history has gained the means of `TERMS` over the epoch, the last rate, and `seconds`.

    Raises:
        NotFinite: a loss or a weight is NaN or infinite.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    decayed = frozenset(name for name, value in state.params.items() if name.endswith(('kernel', 'W1', 'W')))
    step = modern_step(config, recipe, manner, decayed)
    run = epoch_runner(step, lambda chosen: (inputs(chosen), labels[chosen]))
    people = labels if recipe.supervised else None
    batches = [
        paired_batches(rows, recordings, batch_size, np.random.default_rng([seed, epoch]), people)
        for epoch in range(epochs)
    ]
    starts = np.cumsum([0, *map(len, batches)]).tolist()
    rates = [
        learning_rate(update, starts[-1], recipe.rate, recipe.warm_up, schedule=recipe.has('schedule'))
        for update in range(1, starts[-1] + 1)
    ]
    # One shape for all epochs, or the step would be compiled anew; and for all seeds, which pair other neighbours.
    width = 2 * int(np.sum(np.unique(recordings[rows], return_counts=True)[1] // 2)) // batch_size

    def further(epoch: int) -> tuple:
        own = np.array(rates[starts[epoch - 1] : starts[epoch]], np.float32)
        return np.pad(own, (0, width - len(own))), np.float32(starts[epoch - 1])

    def line_of(epoch: int, params: dict, terms: np.ndarray) -> dict[str, float]:
        means = {name: float(value) for name, value in zip(COLUMNS, terms.mean(axis=0), strict=True)}
        if not recipe.supervised:
            del means[TERMS[-1]]
        return means | {'rate': float(np.float32(rates[starts[epoch] - 1]))}

    settings = {'losses': TERMS, 'further': further, 'progress': progress}
    return run_epochs(run, state, epochs, lambda epoch: batches[epoch - 1], line_of, **settings)
