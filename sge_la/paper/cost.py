"""Size and cost of the models, counted from their configuration: `python -m sge_la.cost --help`.

An operation is one multiplication or one addition, so that a product [a, b] × [b, c] costs 2abc. Counted are matrix
products and the attention's inner products; functions of single elements (gates, softmax, Adam) are left out, less than
one hundredth. A training step costs three times the forward pass: the gradients of inputs and of kernels are one
product each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sge_la.errors import say
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.model.config import EncoderConfig

# Millions of parameters and GFLOP in the tables of the authors' later repositories; GFLOP are of TF1's profiler on the
# training graph, so that they depend on the batch.
PUBLISHED = {'CAGE': (8.47, 7.5), 'AGE': (7.15, 37.4)}
_BIASLESS = ('memory', 'attention')


@dataclass(frozen=True)
class Cost:
    """What a model holds and does: trained values, dead copies, and operations of a forward pass over one sequence.

    Dead are variables of the original that nothing reads: copies of encoder layer 1's kernel and layer 2's bias.
    """

    parameters: int
    dead: int
    forward: int

    @property
    def training(self) -> int:
        """Operations of a training step, for each sequence of the batch."""
        return 3 * self.forward

    def __mul__(self, times: int) -> Cost:
        return Cost(self.parameters * times, self.dead * times, self.forward * times)


def encoder_cost(config: EncoderConfig, axes: int = 3) -> Cost:
    """Counts gait encoders, one an axis.

    The decoder's frame input is zero at every step: its J kernel rows are parameters, but never multiplied.
    """
    shapes = config.map_shapes()
    parameters = sum((rows + (name not in _BIASLESS)) * columns for name, (rows, columns) in shapes.items())
    rows, columns = shapes['encoder_0']
    dead = rows * columns + columns
    length, units = config.length, config.units
    forward = 0
    for name, (rows, columns) in shapes.items():
        used = rows - config.joints if name == 'decoder_0' else rows
        forward += 2 * used * columns * (1 if name.startswith('head') else length)
    if config.attends:
        forward += 2 * 2 * length * length * units  # scores, and the context vectors
    return Cost(parameters, dead, forward) * axes


def recognition_cost(inputs: int, classes: int, rows: int = 1, hidden: int = 256) -> Cost:
    """Counts a recognition network on `rows` feature rows of `inputs` values a sequence (T with 'ap', 1 with 'sc')."""
    kernels = inputs * hidden + hidden * classes
    return Cost(kernels + hidden + classes, 0, 2 * kernels * rows)


def table() -> str:
    """Both encodings for the paper's numbers of joints, beside the published sizes, as a Markdown table."""
    from sge_la.model.config import EncoderConfig

    lines = [
        '| model | J | T | parameters | with dead copies | published | GFLOP forward | GFLOP training |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for encoding, joints in (('CAGE', 20), ('CAGE', 25), ('AGE', 20), ('AGE', 25)):
        cost = encoder_cost(EncoderConfig(6, joints, contrastive=encoding == 'CAGE'))
        whole = cost.parameters + cost.dead
        published = PUBLISHED[encoding][0]
        shown = f'{published:.2f} M' if round(whole / 1e6, 2) == published else ''
        lines.append(
            f'| {encoding} | {joints} | 6 | {cost.parameters:,} | {whole:,} | {shown} | {cost.forward / 1e9:.4f} | '
            f'{cost.training / 1e9:.4f} |'
        )
    for classes in (28, 164):
        cost = recognition_cost(768, classes, rows=6)
        lines.append(
            f'| recognition network, {classes} people | | 6 | {cost.parameters:,} | {cost.parameters:,} | | '
            f'{cost.forward / 1e9:.4f} | {cost.training / 1e9:.4f} |'
        )
    return '\n'.join(lines)


NOTES = """\
Three axes (x, y, z); GFLOP for one sequence, one operation being a multiplication or an addition.
The published 8.47 M (CAGE) are three encoders at J = 20 with the original's two dead copies, the published 7.15 M
(AGE) three at J = 25. Published GFLOP (CAGE 7.5, AGE 37.4) are of TF1's profiler on a training graph, whose batch
nobody says: they cannot be compared."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser('cost', 'Print parameters and GFLOP of the models beside the published ones.')
    parser.parse_args(argv)
    say(f'{table()}\n\n{NOTES}')
