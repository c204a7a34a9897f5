"""Checkpoints: the original's TensorFlow bundles under its variable names, both ways, without TensorFlow."""

from __future__ import annotations

from sge_la.checkpoints.bundle import read_bundle, write_bundle
from sge_la.checkpoints.describe import CheckpointFacts, describe
from sge_la.checkpoints.folders import (
    CHECKPOINT_STEM,
    checkpoint_facts,
    has_checkpoint,
    load_encoder,
    load_recognition,
    read_checkpoint,
    recognition_of,
    save_encoder,
    save_recognition,
    stack_encoder,
)
from sge_la.checkpoints.names import (
    AdamSlots,
    CheckpointWarning,
    Restored,
    encoder_shapes,
    recognition_shapes,
    select_encoder,
    select_recognition,
)

__all__ = [
    'CHECKPOINT_STEM',
    'AdamSlots',
    'CheckpointFacts',
    'CheckpointWarning',
    'Restored',
    'checkpoint_facts',
    'describe',
    'encoder_shapes',
    'has_checkpoint',
    'load_encoder',
    'load_recognition',
    'read_bundle',
    'read_checkpoint',
    'recognition_of',
    'recognition_shapes',
    'save_encoder',
    'save_recognition',
    'select_encoder',
    'select_recognition',
    'stack_encoder',
    'write_bundle',
]
