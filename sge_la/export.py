"""Exports a trained run for use elsewhere: `python -m sge_la.export --RN_dir NAME --output PLACE`.

A TensorFlow SavedModel or an ONNX file works without this code: it takes `skeletons`, float32 `[N, T, J, 3]` in metres,
any N, and gives `cages`, float32 `[N, T, 768]` (one row for runs with `--frozen 1` or `--c_reid 1`), and `logits`,
float32 `[N, C]`, as `GaitEncoder.encode` and `Recogniser.scores` do. A `.safetensors` file holds the weights, and
`sge_la.load` makes the run of them again, bit for bit. What was written is compared with our own answers, or weights,
before it gets its name. A model card lies beside it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sge_la.errors import UserError, run_command, say
from sge_la.files.atomic import os_errors, replacing
from sge_la.files.safetensors import ENDING
from sge_la.files.text import write_text
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.api import Recogniser


FORMATS = ('saved_model', 'onnx', 'safetensors')
_ENDINGS = {'.onnx': 'onnx', ENDING: 'safetensors'}
_NEEDED = {'onnx': ('tf2onnx', 'onnxruntime'), 'safetensors': ('safetensors',), 'saved_model': ()}
# Sums of hundreds of products in another order, relative to the largest answer.
_TOLERANCE = 1e-4
_LOADING = {
    'safetensors': """\
```python
import sge_la

model = sge_la.load('{name}')
people = model.identify(sequences)  # float32 [N, T, J, 3]; model.encode(sequences) gives the encodings
```

This needs the package safetensors. Any reader of safetensors reads the arrays, and the texts that describe them.""",
    'onnx': """\
```python
import onnxruntime

session = onnxruntime.InferenceSession('{name}')
cages, logits = session.run(['cages', 'logits'], {{'skeletons': sequences}})  # float32 [N, T, J, 3]
print(session.get_modelmeta().custom_metadata_map)  # joints, length, units
```""",
    'saved_model': """\
```python
import tensorflow as tf

model = tf.saved_model.load('{name}')
found = model.signatures['serving_default'](skeletons=tf.constant(sequences))  # float32 [N, T, J, 3]
cages, logits = found['cages'], found['logits']
```

`assets/description.json` in this folder says joints, length and units.""",
}
_INPUT = {'skeletons': 'float32 [N, T, J, 3], metres', 'cages': 'float32 [N, T, D]', 'logits': 'float32 [N, C]'}


def export(
    run: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    people: bool = False,
    models_dir: str | Path | None = None,
    data_dir: str | Path = 'Datasets',
) -> float:
    """Writes a run as a model of its own, whole or not at all, and its model card beside it.

    `output`: a new folder (SavedModel) or file; `format`: one of `FORMATS`, by default what the name's ending says;
    `people`: name the people in it. Names are personal data: without this they are numbers.

    Returns the largest difference between its answers and ours, relative to the largest answer; 0 for weights.

    Raises UserError: the run is missing or cannot be exported, the place is taken, or the answers differ.
    """
    from sge_la import backends
    from sge_la.backends.starting import TENSORFLOW

    output = Path(output)
    format = format or format_of(output)
    check_wish(output, format)
    if format != 'safetensors' and backends.name() != TENSORFLOW:
        raise UserError(
            f'models are exported through TensorFlow, and KERAS_BACKEND is {backends.name()}: set it to '
            'tensorflow for this command; a run that was trained on another backend is exported just as well'
        )
    from sge_la.api import Recogniser
    from sge_la.features.run_file import description, is_run_file
    from sge_la.files.atomic import make_folder
    from sge_la.runs.card import model_card

    recogniser = Recogniser.load(run, models_dir=models_dir, data_dir=data_dir)
    plan, known = recogniser.encoder.plan, recogniser.trained_on
    folder = None if is_run_file(run) else plan.network
    card = model_card(plan, recogniser.encoder.joints, known, folder, _LOADING[format].format(name=output.name))
    make_folder(output.parent)
    if format == 'safetensors':
        return _write_weights(recogniser, output, card, people)
    words = {**_INPUT, **description(plan, recogniser.encoder.joints, known, people=people)}
    return _write_model(recogniser, output, format, card, words)


def _write_weights(recogniser: Recogniser, output: Path, card: str, people: bool) -> float:
    from sge_la.api import Recogniser
    from sge_la.features.run_file import content_of
    from sge_la.files.safetensors import write_safetensors
    from sge_la.settings.command_line import OF_A_RUN

    plan = recogniser.encoder.plan
    options = {name: plan.options[name] for name in OF_A_RUN}
    known = recogniser.trained_on
    strangers = recogniser.strangers and recogniser.strangers.to_json()
    parts = plan, recogniser.encoder.sources, recogniser.params, known, options
    content = content_of(*parts, people=people, strangers=strangers)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f'.{output.name}.') as beside:
        place = Path(beside) / output.name
        with replacing(place) as file:
            write_safetensors(file, *content)
        if not _same_weights(Recogniser.load(place), recogniser):
            raise UserError('the file should hold the weights of the run, and does not: please report this')
        _put(place, output, card)
    return 0.0


def _write_model(recogniser: Recogniser, output: Path, format: str, card: str, words: dict[str, str]) -> float:
    from sge_la.backends import saved_model

    shape = (None, recogniser.encoder.length, recogniser.encoder.joints, 3)
    answer = answer_of(recogniser)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f'.{output.name}.') as beside:
        place = Path(beside) / output.name
        if format == 'onnx':
            content, answers = saved_model.onnx_model(answer, shape, words)
            with replacing(place) as file:
                file.write(content)
        else:
            with os_errors(output, 'write'):
                answers = saved_model.save(answer, shape, place, words)
        difference = _checked(answers, recogniser)
        _put(place, output, card)
    return difference


def _put(place: Path, output: Path, card: str) -> None:
    """Gives what was written its name, with the card beside it, both or neither."""
    beside = card_of(output if place.is_file() else place)
    write_text(beside, card)
    try:
        with os_errors(output, 'write'):
            os.replace(place, output)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def card_of(output: Path) -> Path:
    """Where the model card of an export lies: in a SavedModel's folder, or beside a file."""
    return output.with_name(f'{output.name}.md') if output.suffix in _ENDINGS else output / 'README.md'


def format_of(output: Path) -> str:
    """The format that the name of a place to write to tells."""
    return _ENDINGS.get(output.suffix, 'saved_model')


def _same_weights(one: Recogniser, other: Recogniser) -> bool:
    pairs = [(one.params, other.params)]
    pairs += [(a.params, b.params) for a, b in zip(one.encoder.sources, other.encoder.sources, strict=True)]
    return all(
        mine.keys() == ours.keys() and all(mine[name].tobytes() == ours[name].tobytes() for name in ours)
        for mine, ours in pairs
    )


def check_wish(output: Path, format: str) -> None:
    """Refuses what cannot be had before anything is loaded: a taken place, an unfit name, missing packages."""
    for place in (output, card_of(output)):
        if place.exists():
            raise UserError(f'--output {output}: {place} exists already: choose another place')
    fitting = format_of(output)
    if format == 'saved_model' and fitting != format:
        raise UserError(
            f'--output {output}: a folder was expected with --format saved_model; leave out {output.suffix}, or the '
            'flag'
        )
    if fitting != format:
        raise UserError(f"--output {output}: with --format {format} a file's name that ends in .{format} was expected")
    if missing := [name for name in _NEEDED[format] if find_spec(name) is None]:
        raise UserError(
            f'exporting as {format} needs {" and ".join(missing)}, not installed here: '
            f'pip install {" ".join(_NEEDED[format])}, or choose another --format'
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


def _checked(answers: Callable, recogniser: Recogniser) -> float:
    """Compares answers on one and on several sequences with our own."""
    random, differences = np.random.default_rng(0), []
    for count in (1, 3):
        shape = (count, recogniser.encoder.length, recogniser.encoder.joints, 3)
        walks = random.normal(0, 1, shape).astype(np.float32)
        found = answers(walks)
        expected = {'cages': recogniser.encoder.encode(walks), 'logits': recogniser.scores(walks)}
        for name, values in expected.items():
            fits = found[name].shape == values.shape
            differences.append(np.abs(found[name] - values).max() / max(1.0, np.abs(values).max()) if fits else np.inf)
    worst = float(np.max(differences))  # nan if one of them is
    if not worst <= _TOLERANCE:
        raise UserError(
            f'the exported model should give the answers of the run, and differs by {worst:g} of the largest: it was '
            'not written; please report this with the versions of TensorFlow and Keras'
        )
    return worst


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser('export', 'Export a trained run as weights, a TensorFlow SavedModel or an ONNX file.')
    parser.add_argument('--RN_dir', required=True, help='name (or path) of the folder of a trained recognition network')
    parser.add_argument('--output', required=True, type=Path, help='file.safetensors, file.onnx, or a folder; new')
    parser.add_argument('--format', choices=FORMATS, help="default: what the name's ending says, else saved_model")
    parser.add_argument(
        '--people', action='store_true', help='name the people in it (personal data; else they are numbers)'
    )
    parser.add_argument('--data_dir', default='Datasets', help='folder of the data sets')
    parser.add_argument('--models_dir', help='folder of the trained models (default: where the run lies, else Models)')
    given = parser.parse_args(argv)
    format = given.format or format_of(given.output)
    check_wish(given.output, format)
    from sge_la.backends.runtime import start
    from sge_la.features.run_file import is_run_file
    from sge_la.runs.find import named_folder

    if not is_run_file(given.RN_dir):
        named_folder(given.RN_dir, given.models_dir or 'Models')  # before TensorFlow, which takes seconds
    if format != 'safetensors':
        start('-1', 0)
    places = {'models_dir': given.models_dir, 'data_dir': given.data_dir}
    difference = export(given.RN_dir, given.output, format=format, people=given.people, **places)
    told = f'its answers differ from ours by {difference:.0e} of the largest at most'
    say(f'Written: {given.output}; {"the weights of the run" if format == "safetensors" else told}')
    say(f'Model card: {card_of(given.output)}')
    if given.people:
        say('It names the people that the run was trained on: names are personal data')


if __name__ == '__main__':
    sys.exit(run_command(main))
