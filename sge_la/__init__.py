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
    from sge_la.api import GaitEncoder, Recogniser
    from sge_la.enrol.gallery import Gallery

# oneDNN's matrix products are faster on every CPU; left alone, TensorFlow takes them only with AVX-512's VNNI. It reads
# this when it is first imported, so it stands here: other products would give other last bits from the same seed.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')

__all__ = ['GaitEncoder', 'Gallery', 'Recogniser', 'identify']
__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
    """Imports on first use, so that `import sge_la` stays light."""
    if name == 'identify':
        return importlib.import_module('sge_la.identify')
    if name == 'Gallery':
        return importlib.import_module('sge_la.enrol.gallery').Gallery
    if name in __all__:
        return getattr(importlib.import_module('sge_la.api'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
