"""Plain classifiers in Keras, the yardsticks of the comparison: a perceptron, a GRU and a transformer.

All three are trained alike: AdamW with a cosine schedule, batches of 64 in random order, dropout of 0.3.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from sge_la.errors import bar

_BATCH, _RATE, _DECAY, _DROPOUT = 64, 1e-3, 1e-2, 0.3
layers = keras.layers


def _perceptron(found):
    """Two hidden layers on all frames at once."""
    found = layers.Flatten()(found)
    for _ in range(2):
        found = layers.Dropout(_DROPOUT)(layers.Dense(512, 'relu')(found))
    return found


def _gru(found):
    """Two layers; the mean of the states over the frames."""
    for _ in range(2):
        found = layers.GRU(256, return_sequences=True)(found)
    return layers.Dropout(_DROPOUT)(layers.GlobalAveragePooling1D()(found))


def _transformer(found):
    """Two blocks of four heads, normalised first; the mean over the frames."""
    found = layers.Dense(128)(found)
    for _ in range(2):
        normal = layers.LayerNormalization()(found)
        found = found + layers.MultiHeadAttention(4, 32, dropout=_DROPOUT)(normal, normal)
        wide = layers.Dense(512, 'gelu')(layers.LayerNormalization()(found))
        found = found + layers.Dropout(_DROPOUT)(layers.Dense(128)(wide))
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(found))


def _placed(sequences: np.ndarray) -> np.ndarray:
    """With the number of each frame beside its values, one-hot: the first layer then learns a vector for each place."""
    count, length, _ = sequences.shape
    places = np.broadcast_to(np.eye(length, dtype=np.float32), (count, length, length))
    return np.concatenate([sequences, places], axis=2)


KINDS: dict[str, Callable] = {'perceptron': _perceptron, 'gru': _gru, 'transformer': _transformer}


def trained_scores(
    kind: str, train: np.ndarray, classes: np.ndarray, test: np.ndarray, num_classes: int, *, epochs: int, seed: int
) -> np.ndarray:
    """Trains a classifier and lets it answer: logits, float32 [S, C].

    `kind`: of `KINDS`; `train`, `test`: float32 [N, T, D] and [S, T, D]; `classes`: [N].
    """
    if kind == 'transformer':
        train, test = _placed(train), _placed(test)
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(train.shape[1:])
    model = keras.Model(inputs, layers.Dense(num_classes)(KINDS[kind](inputs)))
    steps = epochs * -(-len(train) // _BATCH)
    rate = keras.optimizers.schedules.CosineDecay(_RATE, steps)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=_DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    with bar(total=steps, desc=kind, unit='step') as progress:
        tick = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: progress.update(1))
        model.fit(train, classes, _BATCH, epochs, verbose=0, callbacks=[tick])
    return model.predict(test, 4096, verbose=0)
