"""SGE-LA: self-supervised gait encodings with locality-aware attention, for 3D-skeleton person re-identification.

Axes in every docstring: N sequences, T frames in a sequence, J joints, A = 3 coordinate axes x, y, z, U = 256 LSTM
units, C identities; B sequences of a batch, R feature rows. Skeletons are float32 `[N, T, J, A]`, metres.
"""

__version__ = '0.1.0'
