"""The modern recipe: its pieces, each of which can be left out. Their settings are `model.config.Recipe`."""

from __future__ import annotations

import argparse

ORIGINAL, MODERN = 'original', 'modern'
# Passes through the training set when nothing is said.
EPOCHS = 30
# Sequences in a batch when nothing is said: half of the original's, for twice as many updates a pass.
BATCH_SIZE = 64
PIECES = {
    'centred': "the walker's place on the floor is taken out of each sequence; heights stay as they are",
    'sizes': 'the lengths of the bones are further inputs of each encoder',
    'standardised': 'inputs have mean 0 and standard deviation 1 over the training set',
    'tuned': 'the encoders learn from the recognition network too',
    'pretext': 'reverse reconstruction, locality and contrast go on being learned beside the names',
    'pairs': 'the contrast ties neighbours of one recording, drawn at random; without it there is no contrast',
    'schedule': 'the learning rate warms up and falls as a cosine; without it it stays',
    'decay': 'decoupled weight decay (AdamW)',
    'smoothed': 'label smoothing',
    'dropout': 'dropout before both layers of the recognition network',
}


def piece(text: str) -> str:
    """Reads pieces from `--without`, such as 'sizes' or 'sizes+decay', into one spelling.

    Raises argparse.ArgumentTypeError: there is no such piece.
    """
    names = sorted(set(text.split('+')))
    unknown = [name for name in names if name not in PIECES]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"expected pieces of the modern recipe joined by '+', of {', '.join(PIECES)}, found {unknown[0]!r}"
        )
    return '+'.join(names)
