"""Exports a trained run for use without this code: `python -m sge_la.export --RN_dir NAME --output PLACE`.

The model takes `skeletons`, float32 `[N, T, J, 3]` in metres, any N, and gives `cages`, float32 `[N, T, 768]` (one row
for runs with `--frozen 1` or `--c_reid 1`), and `logits`, float32 `[N, C]`, as `GaitEncoder.encode` and
`Recogniser.scores` do. It is a TensorFlow SavedModel or, with `--format onnx`, an ONNX file. What was written is run
and compared with our own answers before it gets its name.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sge_la.errors import UserError, run_command, say
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.api import Recogniser


FORMATS = ('saved_model', 'onnx')
# Sums of hundreds of products in another order, relative to the largest answer.
_TOLERANCE = 1e-4


def export(
    run: str | Path,
    output: str | Path,
    *,
    format: str = 'saved_model',
    models_dir: str | Path | None = None,
    data_dir: str | Path = 'Datasets',
) -> float:
    """Writes a run as a model of its own, whole or not at all, into a new folder (SavedModel) or file (ONNX).

    Returns the largest difference between its answers and ours, relative to the largest answer.

    Raises UserError: the run is missing or cannot be exported, the place is taken, or the answers differ.
    """
    import numpy as np

    from sge_la import backends
    from sge_la.backends.starting import TENSORFLOW

    output = Path(output)
    check_wish(output, format)
    if backends.name() != TENSORFLOW:
        raise UserError(
            f'models are exported through TensorFlow, and KERAS_BACKEND is {backends.name()}: set it to '
            'tensorflow for this command; a run that was trained on another backend is exported just as well'
        )
    from sge_la.api import Recogniser
    from sge_la.backends import saved_model
    from sge_la.files.atomic import make_folder, os_errors, replacing

    recogniser = Recogniser.load(run, models_dir=models_dir, data_dir=data_dir)
    shape = (None, recogniser.encoder.length, recogniser.encoder.joints, 3)
    make_folder(output.parent)
    if format == 'onnx':
        content, answers = saved_model.onnx_model(answer_of(recogniser), shape)
        difference = _checked(answers, recogniser, np.random.default_rng(0))
        with replacing(output) as file:
            file.write(content)
        return difference
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f'.{output.name}.') as beside:
        with os_errors(output, 'write'):
            answers = saved_model.save(answer_of(recogniser), shape, Path(beside) / 'model')
        difference = _checked(answers, recogniser, np.random.default_rng(0))
        with os_errors(output, 'write'):
            os.replace(Path(beside) / 'model', output)
    return difference


def check_wish(output: Path, format: str) -> None:
    """Refuses what cannot be had before anything is loaded: a taken place, an unfit name, missing packages."""
    if output.exists():
        raise UserError(f'--output {output} exists already: choose another place')
    if format == 'saved_model' and output.suffix == '.onnx':
        raise UserError(
            f'--output {output}: a folder was expected with --format saved_model; leave out .onnx, or the flag'
        )
    if format == 'onnx':
        if output.suffix != '.onnx':
            raise UserError(f"--output {output}: with --format onnx a file's name that ends in .onnx was expected")
        if missing := [name for name in ('tf2onnx', 'onnxruntime') if find_spec(name) is None]:
            raise UserError(
                f'--format onnx needs {" and ".join(missing)}, not installed here: '
                'pip install tf2onnx onnxruntime, or leave the flag out'
            )


def answer_of(recogniser: Recogniser) -> Callable:
    """The function `skeletons [N, T, J, 3] -> {'cages': ..., 'logits': ...}` of a run, in Keras operations.

    Raises UserError: an encoder sees sequences in a random order of frames, which is no function of them.
    """
    from sge_la.backends import ops
    from sge_la.data.layout import AXES
    from sge_la.features.cages import features_of
    from sge_la.features.sources import feature_shape
    from sge_la.model.config import FLOAT32
    from sge_la.model.recognition import recognise

    plan, sources = recogniser.encoder.plan, recogniser.encoder.sources
    if plan.precision != FLOAT32:
        raise UserError(
            f'runs of --precision {plan.precision} are not exported, because what is written '
            'multiplies in float32: use sge_la.identify, or a run of --precision float32'
        )
    if any(source.task == 'sorting' for source in sources):
        raise UserError(
            f'runs of {plan.task} shuffle the frames of every sequence, which no exported model can repeat: '
            'choose a run of rev_rec or prediction'
        )
    rows, width = feature_shape(sources, 'ap')
    joins_frames = plan.manner == 'sc' and rows > 1
    functions = [features_of(source.config, 'ap', source.kind) for source in sources]
    num_classes = len(recogniser.people)
    units = width // len(AXES) // len(sources)

    def answer(skeletons):
        # Made tensors once, each parameter is stored once, however often it is used.
        params = [{name: ops.convert_to_tensor(value) for name, value in source.params.items()} for source in sources]
        inputs = [source.inputs_of_tensor(skeletons) for source in sources]
        parts = [function(*given) for function, *given in zip(functions, params, inputs, strict=True)]
        parts = [ops.reshape(part, (-1, rows, len(AXES), 1, units)) for part in parts]
        by_axis = ops.concatenate(parts, axis=3)  # the x of every encoder, then the y, then the z
        cages = ops.reshape(by_axis, (-1, rows, width))
        if joins_frames:  # all frames of x, then of y, then of z
            joined = ops.reshape(ops.transpose(by_axis, (0, 2, 3, 1, 4)), (-1, rows * width))
            return {'cages': cages, 'logits': recognise(recogniser.params, joined)}
        frames = recognise(recogniser.params, ops.reshape(cages, (-1, width)))
        return {'cages': cages, 'logits': ops.mean(ops.reshape(frames, (-1, rows, num_classes)), axis=1)}

    return answer


def _checked(answers: Callable, recogniser: Recogniser, random) -> float:
    """Compares answers on one and on several sequences with our own."""
    import numpy as np

    worst = 0.0
    for count in (1, 3):
        shape = (count, recogniser.encoder.length, recogniser.encoder.joints, 3)
        walks = random.normal(0, 1, shape).astype(np.float32)
        found = answers(walks)
        expected = {'cages': recogniser.encoder.encode(walks), 'logits': recogniser.scores(walks)}
        for name, values in expected.items():
            difference = np.abs(found[name] - values).max() / max(1.0, np.abs(values).max())
            worst = max(worst, float(difference)) if found[name].shape == values.shape else float('inf')
    if not worst <= _TOLERANCE:
        raise UserError(
            f'the exported model should give the answers of the run, and differs by {worst:g} of the largest: it was '
            'not written; please report this with the versions of TensorFlow and Keras'
        )
    return worst


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser('export', 'Export a trained run as a TensorFlow SavedModel or an ONNX file.')
    parser.add_argument('--RN_dir', required=True, help='name (or path) of the folder of a trained recognition network')
    parser.add_argument('--output', required=True, type=Path, help='folder of the SavedModel, or file.onnx; new')
    parser.add_argument('--format', choices=FORMATS, help='default: onnx for a name that ends so, else saved_model')
    parser.add_argument('--data_dir', default='Datasets', help='folder of the data sets')
    parser.add_argument('--models_dir', default='Models', help='folder of the trained models')
    given = parser.parse_args(argv)
    format = given.format or ('onnx' if given.output.suffix == '.onnx' else 'saved_model')
    check_wish(given.output, format)
    from sge_la.backends.runtime import start
    from sge_la.runs.find import named_folder

    named_folder(given.RN_dir, given.models_dir)  # before TensorFlow, which takes seconds
    start('-1', 0)
    places = {'models_dir': given.models_dir, 'data_dir': given.data_dir}
    difference = export(given.RN_dir, given.output, format=format, **places)
    say(f'Written: {given.output}; its answers differ from ours by {difference:.0e} of the largest at most')


if __name__ == '__main__':
    sys.exit(run_command(main))
