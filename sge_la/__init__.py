"""SGE-LA: self-supervised gait encodings with locality-aware attention, for 3D-skeleton person re-identification.

Axes in every docstring: N sequences, T frames in a sequence, J joints, A = 3 coordinate axes x, y, z, U = 256 LSTM
units, C identities; B sequences of a batch, R feature rows. Skeletons are float32 `[N, T, J, A]`, metres.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sge_la import identify
    from sge_la.api import GaitEncoder, Recogniser, load
    from sge_la.commands import evaluate_run as evaluate
    from sge_la.commands import train_dataset as train
    from sge_la.enrol.gallery import Gallery

# oneDNN's matrix products are faster on every CPU; left alone, TensorFlow takes them only with AVX-512's VNNI. It reads
# this when it is first imported, so it stands here: other products would give other last bits from the same seed.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

# What is imported on first use, and from where.
_PLACES = {
    'GaitEncoder': 'sge_la.api:GaitEncoder',
    'Gallery': 'sge_la.enrol.gallery:Gallery',
    'Recogniser': 'sge_la.api:Recogniser',
    'evaluate': 'sge_la.commands:evaluate_run',
    'identify': 'sge_la.identify',
    'load': 'sge_la.api:load',
    'train': 'sge_la.commands:train_dataset',
}
__all__ = ['GaitEncoder', 'Gallery', 'Recogniser', 'evaluate', 'identify', 'load', 'train']
__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
    """Imports on first use, so that `import sge_la` stays light."""
    if name in _PLACES:
        module, _, thing = _PLACES[name].partition(':')
        found = importlib.import_module(module)
        return getattr(found, thing) if thing else found
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
