"""Writes functions of arrays as TensorFlow SavedModels or ONNX files, and runs what was written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from sge_la.files.text import write_json

Answers = Callable[[np.ndarray], dict[str, np.ndarray]]
# Of 2020: every runtime that is in use reads it, and it has all operations that are needed.
_ONNX_OPSET = 13


def save(function: Callable, shape: tuple[int | None, ...], folder: Path, words: Mapping[str, str]) -> Answers:
    """Saves a function of one float32 array, with the constants that it uses, as a SavedModel.

    `function`: `skeletons -> {name: array}`; `shape`: of its argument, which is called `skeletons`; None for an axis of
    any length; `folder`: of the SavedModel; made; `words`: what describes it, kept as assets/description.json. Returns
    what was written, from and to NumPy arrays.
    """
    module = tf.Module()
    module.answer = _traced(function, shape)
    with tempfile.TemporaryDirectory() as beside:
        path = Path(beside) / 'description.json'
        write_json(path, words)
        module.description = tf.saved_model.Asset(str(path))
        tf.saved_model.save(module, str(folder), signatures={'serving_default': module.answer.get_concrete_function()})
    answer = tf.saved_model.load(str(folder)).signatures['serving_default']

    def run(skeletons: np.ndarray) -> dict[str, np.ndarray]:
        found = answer(skeletons=tf.constant(skeletons, tf.float32))
        return {name: value.numpy() for name, value in found.items()}

    return run


def onnx_model(function: Callable, shape: tuple[int | None, ...], words: Mapping[str, str]) -> tuple[bytes, Answers]:
    """The same as an ONNX model, with `words` as its metadata_props; axes of any length are called N.

    Returns the file's content, and what ONNX Runtime makes of it.
    """
    import onnxruntime
    import tf2onnx

    traced = _traced(function, shape)
    model, _ = tf2onnx.convert.from_function(traced, input_signature=traced.input_signature, opset=_ONNX_OPSET)
    for value in (*model.graph.input, *model.graph.output):
        first = value.type.tensor_type.shape.dim[0]
        first.Clear()
        first.dim_param = 'N'
    for name, text in words.items():
        model.metadata_props.add(key=name, value=text)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]

    def run(skeletons: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {'skeletons': skeletons}), strict=True))

    return content, run


def _traced(function: Callable, shape: tuple[int | None, ...]):
    return tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, name='skeletons')], autograph=False)
