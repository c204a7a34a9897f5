"""The gait encoder of one step as a plain Keras model that `fit` trains: a yardstick, not used by the package.

Written as the layers suggest: an encoder for each axis, LSTM layers, a loop over frames for the decoder, and Keras'
own gradients, Adam and loop over batches. It starts from the package's weights, so that its losses can be compared.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from sge_la.model.attention import locality_mask
from sge_la.model.config import LINEAR_MAPS, EncoderConfig

# Keras' gates i, f, c, o among those of the package, i, j, f, o.
GATES = [0, 2, 1, 3]


class Encoder(layers.Layer):
    """The encoder of an axis: `[B, T, J]` to frames `[B, T, J]`, attention weights `[B, T, T]`, vectors `[B, U]`."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        units = config.units
        self.frames = config.length
        self.encoder = [
            layers.LSTM(units, return_sequences=True, return_state=True, unroll=True, use_cudnn=False) for _ in range(2)
        ]
        self.decoder = [layers.LSTMCell(units) for _ in range(2)]
        self.memory, self.attention = (layers.Dense(units, use_bias=False) for _ in range(2))
        self.output_map = layers.Dense(config.joints)
        self.head = [layers.Dense(units, activation='relu'), layers.Dense(units)]

    def call(self, inputs):
        states, *last_0 = self.encoder[0](inputs)
        states, *last_1 = self.encoder[1](states)
        keys, attention = self.memory(states), ops.zeros_like(last_0[0])
        outputs, weights, contexts = [], [], []
        for _ in range(self.frames):
            state, last_0 = self.decoder[0](attention, last_0)
            query, last_1 = self.decoder[1](state, last_1)
            weights.append(ops.softmax(ops.einsum('btu,bu->bt', keys, query)))
            contexts.append(ops.einsum('bt,btu->bu', weights[-1], states))
            attention = self.attention(ops.concatenate([query, contexts[-1]], axis=-1))
            outputs.append(self.output_map(attention))
        vectors = self.head[1](self.head[0](ops.concatenate(contexts, axis=-1)))
        return ops.stack(outputs, axis=1), ops.stack(weights, axis=1), vectors

    def start_from(self, params: dict[str, np.ndarray], config: EncoderConfig) -> None:
        """Takes the package's weights of one axis."""
        joints, units = config.joints, config.units
        cells = [layer.cell for layer in self.encoder] + self.decoder
        for name, cell in zip(('encoder_0', 'encoder_1', 'decoder_0', 'decoder_1'), cells, strict=True):
            kernel, bias = (params[part] for part in LINEAR_MAPS[name])
            kernel = kernel[joints:] if name == 'decoder_0' else kernel  # its frames are zero
            kernel, bias = (gates_ordered(array, GATES) for array in (kernel, bias))
            bias[units : 2 * units] += 1  # the forget gate's
            cell.set_weights([kernel[:-units], kernel[-units:], bias])
        maps = {'memory': self.memory, 'attention': self.attention, 'output': self.output_map}
        for name, layer in (maps | {'head_0': self.head[0], 'head_1': self.head[1]}).items():
            layer.set_weights([params[part] for part in LINEAR_MAPS[name] if part])


def gates_ordered(array: np.ndarray, order: list[int]) -> np.ndarray:
    """The four gates of a kernel or bias, side by side along the last axis, in another order."""
    gates = np.split(array, 4, axis=-1)
    return np.concatenate([gates[gate] for gate in order], axis=-1)


class Encoders(keras.Model):
    """The encoders of all axes, and the cost: `[B, T, J, A]` to what `Encoder` gives, for each axis."""

    def __init__(self, config: EncoderConfig, axes: int):
        super().__init__()
        self.config, self.encoders = config, [Encoder(config) for _ in range(axes)]

    def call(self, inputs):
        return [encoder(inputs[..., axis]) for axis, encoder in enumerate(self.encoders)]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        mask = locality_mask(self.config.length)
        # Of kernels alone, which keeps the cost the package's: the forget gate's 1 is a part of the bias here.
        kernels = [weight for weight in self.trainable_weights if len(weight.shape) > 1]
        cost = 0.5 * self.config.l2 * sum(ops.sum(ops.square(kernel)) for kernel in kernels)
        for axis, (frames, weights, vectors) in enumerate(y_pred):
            cost += 0.5 * ops.sum(ops.square(frames - y[..., axis]))
            cost += 0.5 * ops.sum(ops.square(weights - weights * mask))
            cost += contrast(vectors, self.config.temperature)
        return cost


def contrast(vectors, temperature: float):
    """NT-Xent between consecutive sequences, of vectors `[B, U]`."""
    unit = vectors / ops.sqrt(ops.maximum(ops.sum(ops.square(vectors), axis=-1, keepdims=True), 1e-12))
    rows = ops.concatenate([unit[1:], unit[:-1]])
    similarity = ops.matmul(rows, ops.transpose(rows)) / temperature
    count = rows.shape[0]
    partners = np.roll(np.arange(count), count // 2)
    others = similarity - 1e9 * np.eye(count, dtype=np.float32)
    return ops.mean(ops.logsumexp(others, axis=-1) - ops.sum(similarity * np.eye(count)[partners], axis=-1))


def training_steps(
    config: EncoderConfig, params: dict[str, np.ndarray], inputs: np.ndarray, batch_size: int, rate: float, clip: float
) -> Callable[[], float]:
    """A function that takes a step with each batch of `inputs` `[N, T, J, A]`; returns their mean cost."""
    axes = inputs.shape[-1]
    model = Encoders(config, axes)
    model(inputs[:batch_size])
    for axis, encoder in enumerate(model.encoders):
        encoder.start_from({name: value[axis] for name, value in params.items()}, config)
    model.compile(optimizer=keras.optimizers.Adam(rate, epsilon=1e-8, clipvalue=clip))
    targets = np.ascontiguousarray(inputs[:, ::-1])

    def run() -> float:
        history = model.fit(inputs, targets, batch_size=batch_size, shuffle=False, verbose=0)
        return history.history['loss'][0]

    return run
