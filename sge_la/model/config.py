"""What defines a gait encoder: its sizes, its kind, and the names of its variables."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT32, BFLOAT16 = 'float32', 'bfloat16'
_ENCODER = 'rnn/multi_rnn_cell/cell_{}/lstm_cell/{}'
_DECODER = 'decode/decoder/Attention_Wrapper/'
_DECODER_CELL = _DECODER + 'multi_rnn_cell/cell_{}/lstm_cell/{}'
# Every parameter belongs to a linear map (kernel, bias) under the original's variable names.
LINEAR_MAPS = {
    'encoder_0': (_ENCODER.format(0, 'kernel'), _ENCODER.format(0, 'bias')),
    'encoder_1': (_ENCODER.format(1, 'kernel'), _ENCODER.format(1, 'bias')),
    'memory': ('memory_layer/kernel', None),
    'decoder_0': (_DECODER_CELL.format(0, 'kernel'), _DECODER_CELL.format(0, 'bias')),
    'decoder_1': (_DECODER_CELL.format(1, 'kernel'), _DECODER_CELL.format(1, 'bias')),
    'attention': (_DECODER + 'attention_layer/kernel', None),
    'output': ('decode/decoder/dense/kernel', 'decode/decoder/dense/bias'),
    'head_0': ('W1', 'b1'),
    'head_1': ('W', 'Variable'),
}


@dataclass(frozen=True)
class EncoderConfig:
    """What defines a gait encoder and its losses.

    Attributes:
        length: T.
        joints: J.
        units: U.
        attention: 'LA' (locality-aware), 'BA' (basic), 'MBA' (mask on the weights) or 'none' (a plain decoder).
        reverse: the targets are the inputs reversed in time; puts the mask on the anti-diagonal.
        contrastive: CAGE (True) or AGE (False: no contrast head).
        temperature: t of the contrastive loss.
        l2: weight of the L2 term.
        detach_contrast: the head learns from CAGEs that it does not change (`--frozen 1`).
        precision: of the products with kernels, see `sge_la.model.products`.
    """

    length: int
    joints: int
    units: int = 256
    attention: str = 'LA'
    reverse: bool = True
    contrastive: bool = True
    temperature: float = 0.1
    l2: float = 0.02
    detach_contrast: bool = False
    precision: str = FLOAT32

    @property
    def attends(self) -> bool:
        return self.attention != 'none'

    def map_shapes(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of the kernel of each linear map that this encoder has."""
        joints, units = self.joints, self.units
        shapes = {
            'encoder_0': (joints + units, 4 * units),
            'encoder_1': (2 * units, 4 * units),
            'decoder_0': (joints + (2 if self.attends else 1) * units, 4 * units),
            'decoder_1': (2 * units, 4 * units),
            'output': (units, joints),
        }
        if self.attends:
            shapes |= {'memory': (units, units), 'attention': (2 * units, units)}
        if self.contrastive:
            shapes |= {'head_0': (self.length * units, units), 'head_1': (units, units)}
        return shapes


@dataclass(frozen=True)
class Recipe:
    """Encoders and recognition network trained together: which pieces are in, and the settings of each.

    Attributes:
        without: names of `settings.recipe.PIECES` that are left out.
        rate: AdamW's highest learning rate.
        warm_up: updates until it is reached.
        decay: weight decay, of kernels alone.
        clip: the gradient's largest length over all parameters.
        smoothing: share of each label that is spread over all people.
        dropout: share of values that are set to 0.
        pretext: weight of the pretext task's losses beside the cross-entropy.
        supervised: weight of the contrast between people (`--supervised`); 0: there is none.
        supervised_temperature: t of that contrast.
    """

    without: frozenset[str] = frozenset()
    rate: float = 5e-3
    warm_up: int = 50
    decay: float = 1e-2
    clip: float = 5.0
    smoothing: float = 0.1
    dropout: float = 0.3
    pretext: float = 0.03
    supervised: float = 0.0
    supervised_temperature: float = 0.1

    @classmethod
    def of(cls, without: str | None, supervised: bool = False) -> Recipe:
        """The recipe without some pieces, as `--without` names them, and with `--supervised` or not."""
        return cls(frozenset(without.split('+')) if without else frozenset(), supervised=0.5 if supervised else 0.0)

    def has(self, name: str) -> bool:
        """Whether a piece is in."""
        return name not in self.without
