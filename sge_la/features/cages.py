"""AGEs and CAGEs of whole data sets, in bounded memory, under the original's rules on which sequences count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from sge_la import backends
from sge_la.backends import ops
from sge_la.errors import bar
from sge_la.files.arrays import release_pages
from sge_la.model.config import EncoderConfig
from sge_la.model.gait_encoder import axis_major, contrast_head, encode
from sge_la.model.labelled_lstm import encoder_states
from sge_la.model.pretext import Pretext
from sge_la.model.products import precision

CHUNK = 128  # the original encodes each identity in batches of this many sequences
BLOCKS_IN_MEMORY = 16  # after so many, pages of a memory map are given back


def original_rows(ids: Mapping[int, np.ndarray], *, pad: bool) -> np.ndarray:
    """The sequences that the original encodes, in its order.

    For each identity in sorted order: fewer than 128 sequences are padded with copies of the first index up to 128
    (`pad`; the original removes the copies from test features again); of more, only whole batches of 128 count.

    `ids`: identity → sequence indices in file order; `pad`: keep the copies: True for training, False for test
    features. Returns int64 indices of sequences, with repeats where padded.
    """
    parts = []
    for identity in sorted(ids):
        rows = np.asarray(ids[identity], np.int64)
        if len(rows) >= CHUNK:
            parts.append(rows[: len(rows) // CHUNK * CHUNK])
        else:
            copies = CHUNK - len(rows) if pad else 0
            parts.append(np.concatenate([rows, np.full(copies, rows[0])]))
    return np.concatenate(parts)


def all_rows(ids: Mapping[int, np.ndarray]) -> np.ndarray:
    """Every sequence that belongs to an identity, identities in sorted order: nothing padded, nothing dropped."""
    return np.concatenate([np.asarray(ids[identity], np.int64) for identity in sorted(ids)])


def feature_shape(config: EncoderConfig, manner: str, kind: str = 'context') -> tuple[int, int]:
    """(rows a sequence, values a row): `(T, 3U)` for 'ap', `(1, 3TU)` for 'sc', `(1, 3U)` for the head's vectors."""
    width = 3 * config.units
    if kind == 'contrast':
        return 1, width
    return (config.length, width) if manner == 'ap' else (1, config.length * width)


@cache
def encoder_function(config: EncoderConfig, manner: str, kind: str = 'context') -> Callable:
    """`features_of`, compiled once for each configuration and backend."""
    return backends.compiled(features_of(config, manner, kind))


def features_of(config: EncoderConfig, manner: str, kind: str = 'context') -> Callable:
    """The function `(params, inputs [B, T, J, 3]) -> features [B, rows, values]` of an encoder.

    `config`: the encoder's; `manner`: 'ap': a row a frame, `[x | y | z]`; 'sc': one row, all frames of x, then of y,
    then of z; `kind`: 'context' (AGEs or CAGEs), 'contrast' (the head's vectors, one row a sequence) or 'states' (the
    encoder's own states, for the ablation).
    """
    rows, values = feature_shape(config, manner, kind)

    def features(params, inputs):
        with precision(config.precision):
            return laid_out(params, axis_major(inputs))

    def laid_out(params, inputs):
        if kind == 'contrast':
            encoded = encode(config, params, inputs)
            found = ops.swapaxes(contrast_head(params, encoded.contexts), 0, 1)  # [B, A, U]
        else:
            found = encoder_states(params, inputs) if kind == 'states' else encode(config, params, inputs).contexts
            found = ops.transpose(found, (2, 1, 0, 3) if manner == 'ap' else (2, 0, 1, 3))  # from [A, T, B, U]
        return ops.reshape(found, (-1, rows, values))

    return features


def write_features(
    function: Callable,
    params: dict,
    pretext: Pretext,
    rows: np.ndarray,
    out: np.ndarray,
    *,
    positions: np.ndarray | None = None,
    progress: str | None = None,
) -> None:
    """Encodes sequences into an array, which may be a memory map; each sequence is encoded once.

    `function`: from `encoder_function`; `params`: the encoder's, arrays `[3, ...]`; `pretext`: gives the inputs of
    sequences; `rows`: `[M]`, the sequence of each entry, repeats allowed; `out`: `[M · rows a sequence, ...]`, whose
    other axes have as many elements as a row has values; `positions`: where each row of the features goes in `out`, `[M
    · rows a sequence]`; None keeps the order; `progress`: what the bar says; None shows none.
    """
    unique, members_of = _grouped(rows)
    params = {name: ops.convert_to_tensor(value) for name, value in params.items()}
    # One compiled shape serves every block: the last one is filled up with its own first sequence.
    block = min(backends.current().BLOCK, len(unique))
    starts = range(0, len(unique), block)

    def encoded(start: int) -> np.ndarray:
        chosen = unique[start : start + block]
        filled = np.concatenate([chosen, np.full(block - len(chosen), chosen[0])])
        return ops.convert_to_numpy(function(params, pretext.inputs(filled)))

    shown = bar(starts, desc=progress, unit='block', shown=progress is not None)
    for start, found in zip(shown, backends.each(encoded, starts), strict=True):
        stop = min(start + block, len(unique))
        members, places = members_of(start, stop)
        values = found[places]  # [entries, rows a sequence, values]
        each = values.shape[1]
        targets = (members[:, None] * each + np.arange(each)).reshape(-1)
        if positions is not None:
            targets = positions[targets]
        out[targets] = values.reshape(len(targets), *out.shape[1:])
        if start // block % BLOCKS_IN_MEMORY == BLOCKS_IN_MEMORY - 1:
            release_pages(out)


def _grouped(rows: np.ndarray) -> tuple[np.ndarray, Callable[[int, int], tuple[np.ndarray, np.ndarray]]]:
    """Each sequence once, rising, and `(start, stop) -> ` the entries that are some of these, and which of them."""
    if len(rows) and all((np.diff(rows[start : start + 65537]) > 0).all() for start in range(0, len(rows), 65536)):
        return rows, lambda start, stop: (np.arange(start, stop), np.arange(stop - start))
    unique, inverse = np.unique(rows, return_inverse=True)
    entries = np.argsort(inverse, kind='stable')  # entries grouped by the sequence that they repeat
    ends = np.cumsum(np.bincount(inverse, minlength=len(unique)))

    def members_of(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        members = entries[ends[start - 1] if start else 0 : ends[stop - 1]]
        return members, inverse[members] - start

    return unique, members_of
