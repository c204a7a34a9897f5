"""The gait encoder of one step as a plain loop in PyTorch, eager: a yardstick, not used by the package.

Its modules are those of `benchmarks.peer_keras`; it starts from the package's weights too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from sge_la.model.attention import locality_mask
from sge_la.model.config import LINEAR_MAPS, EncoderConfig

# PyTorch's gates i, f, g, o among those of the package, i, j, f, o.
GATES = [0, 2, 1, 3]


class Encoder(nn.Module):
    """The encoder of an axis: `[B, T, J]` to frames `[B, T, J]`, attention weights `[B, T, T]`, vectors `[B, U]`."""

    def __init__(self, config: EncoderConfig):
        super().__init__()
        units, self.frames = config.units, config.length
        self.encoder = nn.LSTM(config.joints, units, num_layers=2, batch_first=True)
        self.decoder = nn.ModuleList(nn.LSTMCell(units, units) for _ in range(2))
        self.memory = nn.Linear(units, units, bias=False)
        self.attention = nn.Linear(2 * units, units, bias=False)
        self.output = nn.Linear(units, config.joints)
        self.head = nn.Sequential(nn.Linear(config.length * units, units), nn.ReLU(), nn.Linear(units, units))

    def forward(self, inputs):
        states, last = self.encoder(inputs)
        last_0, last_1 = ((last[0][layer], last[1][layer]) for layer in range(2))
        keys, attention = self.memory(states), torch.zeros_like(last_0[0])
        outputs, weights, contexts = [], [], []
        for _ in range(self.frames):
            last_0 = self.decoder[0](attention, last_0)
            last_1 = self.decoder[1](last_0[0], last_1)
            weights.append(torch.softmax(torch.einsum('btu,bu->bt', keys, last_1[0]), dim=-1))
            contexts.append(torch.einsum('bt,btu->bu', weights[-1], states))
            attention = self.attention(torch.cat([last_1[0], contexts[-1]], dim=-1))
            outputs.append(self.output(attention))
        vectors = self.head(torch.cat(contexts, dim=-1))
        return torch.stack(outputs, dim=1), torch.stack(weights, dim=1), vectors

    @torch.no_grad()
    def start_from(self, params: dict[str, np.ndarray], config: EncoderConfig) -> None:
        """Takes the package's weights of one axis."""
        joints, units = config.joints, config.units
        lstm = self.encoder
        cells = [[getattr(lstm, f'{part}_l{layer}') for part in _PARTS] for layer in range(2)]
        cells += [[getattr(cell, part) for part in _PARTS] for cell in self.decoder]
        for name, (inputs, states, bias, second_bias) in zip(_CELLS, cells, strict=True):
            kernel, start = (torch.from_numpy(_gates_ordered(params[part])) for part in LINEAR_MAPS[name])
            kernel = kernel[joints:] if name == 'decoder_0' else kernel  # its frames are zero
            inputs.copy_(kernel[:-units].T)
            states.copy_(kernel[-units:].T)
            bias.copy_(start)
            bias[units : 2 * units] += 1  # the forget gate's
            second_bias.zero_()
        maps = {'memory': self.memory, 'attention': self.attention, 'output': self.output}
        for name, layer in (maps | {'head_0': self.head[0], 'head_1': self.head[2]}).items():
            kernel, bias = LINEAR_MAPS[name]
            layer.weight.copy_(torch.from_numpy(params[kernel]).T)
            if bias:
                layer.bias.copy_(torch.from_numpy(params[bias]))


_PARTS = ('weight_ih', 'weight_hh', 'bias_ih', 'bias_hh')
_CELLS = ('encoder_0', 'encoder_1', 'decoder_0', 'decoder_1')


def _gates_ordered(array: np.ndarray) -> np.ndarray:
    gates = np.split(array, 4, axis=-1)
    return np.concatenate([gates[gate] for gate in GATES], axis=-1)


def cost(encoder: Encoder, config: EncoderConfig, inputs, targets, mask):
    """The cost of one axis without L2: `[B, T, J]` both."""
    frames, weights, vectors = encoder(inputs)
    reconstruction = 0.5 * (frames - targets).square().sum()
    locality = 0.5 * (weights - weights * mask).square().sum()
    return reconstruction + locality + contrast(vectors, config.temperature)


def contrast(vectors, temperature: float):
    """NT-Xent between consecutive sequences, of vectors `[B, U]`."""
    unit = functional.normalize(vectors, eps=1e-6)
    rows = torch.cat([unit[1:], unit[:-1]])
    others = (rows @ rows.T / temperature).fill_diagonal_(-1e9)
    return functional.cross_entropy(others, torch.arange(len(rows)).roll(len(rows) // 2))


def training_steps(
    config: EncoderConfig, params: dict[str, np.ndarray], inputs: np.ndarray, batch_size: int, rate: float, clip: float
) -> Callable[[], float]:
    """A function that takes a step with each batch of `inputs` `[N, T, J, A]`; returns their mean cost."""
    axes = inputs.shape[-1]
    encoders = nn.ModuleList(Encoder(config) for _ in range(axes))
    for axis, encoder in enumerate(encoders):
        encoder.start_from({name: value[axis] for name, value in params.items()}, config)
    weights = list(encoders.parameters())
    # L2 of kernels alone, which keeps the cost the package's: the forget gate's 1 is a part of the bias here.
    kernels = [weight for weight in weights if weight.dim() > 1]
    optimiser = torch.optim.Adam(weights, rate, eps=1e-8)
    mask = torch.from_numpy(locality_mask(config.length))
    batches = torch.from_numpy(inputs).split(batch_size)

    def step(batch) -> float:
        optimiser.zero_grad()
        total = sum(
            cost(encoder, config, batch[..., axis], batch[..., axis].flip(1), mask)
            for axis, encoder in enumerate(encoders)
        )
        total = total + 0.5 * config.l2 * sum(kernel.square().sum() for kernel in kernels)
        total.backward()
        nn.utils.clip_grad_value_(weights, clip)
        optimiser.step()
        return total.item()

    return lambda: float(np.mean([step(batch) for batch in batches]))
