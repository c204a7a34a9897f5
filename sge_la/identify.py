"""Names the person of new recordings: `python -m sge_la.identify --RN_dir NAME RECORDING...`.

A recording is a file as Datasets/README.md describes for recordings of one's own, or a `.txt` file of KGBD. It is cut
into sequences, one behind the other, and the mean of their scores tells who walks. The network knows the people that it
was trained on and nobody else. If it was trained without some people of its data set (`train --unknown`), their
recordings have told how strangers score, and it answers 'unknown'; else it names somebody for a stranger too. With
`--gallery` the people of a gallery are named instead (`sge_la.enrol`), and whoever is too far from all of them is
answered 'unknown'. `--stream` answers to frames as they come.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from sge_la.errors import UserError, counted, run_command, say
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    import numpy as np

    from sge_la.api import Answer, Recogniser
    from sge_la.enrol.gallery import Gallery


_NO_STRANGERS = (
    'note: this network names somebody for everyone, since nothing tells how strangers score: train with --unknown 0.2 '
    '(a run that was: score it once with --protocol openset), or enrol people in a gallery'
)


def identify(
    frames: np.ndarray,
    run: str | Path | Recogniser,
    *,
    models_dir: str | Path | None = None,
    data_dir: str | Path = 'Datasets',
    top: int = 5,
    accept: bool = False,
) -> list[Answer]:
    """Who walks in a recording: its likeliest people, likeliest first.

    `frames` are [F, J, 3], metres, in the axes and with the joints in the order of the training data, at least T of
    them; frames with lost joints are treated as those of the training data were. `run` is a loaded `Recogniser`, or
    name or path of the folder of a recognition network. What is odd about the recording is a warning (`Notice`);
    `accept`: so is what would be refused.

    Raises UserError: the run is missing, or the recording does not fit it, or is in another unit or upright direction.
    """
    from sge_la.api import Recogniser
    from sge_la.enrol.recordings import sequences_in

    if not isinstance(run, Recogniser):
        run = Recogniser.load(run, models_dir=models_dir, data_dir=data_dir)
    return run.identify(sequences_in(frames, None, run, 'the recording', accept), top)


def main(argv: Sequence[str] | None = None) -> None:
    from sge_la.enrol import file
    from sge_la.enrol.recordings import add_flags, load_run, refuse_missing, sequences_of

    parser = Parser('identify', 'Name the person of new recordings.')
    parser.add_argument(
        'recordings', nargs='*', type=Path, metavar='RECORDING', help='.csv, .npy, .txt of KGBD, .skeleton, .json, .trc'
    )
    parser.add_argument('--RN_dir', help="name (or path) of a recognition network's folder (--gallery: the gallery's)")
    parser.add_argument('--gallery', type=Path, help='name people of this gallery, or nobody (see gallery)')
    parser.add_argument('--top', type=int, default=5, help='answers for each recording (default 5)')
    parser.add_argument('--stream', action='store_true', help='read frames from standard input, a line each')
    add_flags(parser, 'name somebody')
    given = parser.parse_intermixed_args(argv)
    if given.top < 1:
        raise UserError(f'--top: a number of at least 1 was expected, found {given.top}')
    if not given.RN_dir and not given.gallery:
        raise UserError('a trained network or a gallery was expected: give --RN_dir or --gallery')
    if given.stream == bool(given.recordings):
        raise UserError('recordings or --stream were expected, one of the two: name files, or give --stream alone')
    if given.stream and given.body:
        raise UserError('--body is for files, and --stream reads frames of one body: leave out one of the two')
    refuse_missing(given.recordings)
    gallery = file.read(given.gallery) if given.gallery else None
    run = load_run(given.RN_dir or gallery.run, given)
    gallery = gallery and gallery.using(run.encoder, given.gallery)
    if not gallery and not run.strangers:
        say(_NO_STRANGERS, error=True)
    if given.stream:
        _stream(run, gallery, given)
    refused = 0
    for path in given.recordings:
        try:
            sequences = sequences_of(path, run, given.body, given.accept)
        except UserError as error:
            if len(given.recordings) == 1:
                raise
            say(f'{path}: no answer: {error}')
            refused += 1
            continue
        say(f'{path}: {gallery.identify(sequences, given.top) if gallery else _of_network(run, sequences, given.top)}')
    if refused:
        raise UserError(f'{refused} of {len(given.recordings)} recordings have no answer; their lines say why')


def _stream(run: Recogniser, gallery: Gallery | None, given: Namespace) -> None:
    """Answers to standard input."""
    from sge_la.enrol.stream import answers
    from sge_la.evaluation.enrolled import RECALLED, SEQUENCE
    from sge_la.evaluation.threshold import UNKNOWN

    def of_gallery(sequence: np.ndarray) -> tuple[str, str]:
        found = gallery.identify(sequence, given.top, SEQUENCE)
        return found.person or UNKNOWN, found.further

    def of_network(sequence: np.ndarray) -> tuple[str, str]:
        scores = run.scores(sequence)
        name, doubt = _named(run, scores, SEQUENCE)
        listed = ', '.join(f'{one.person} {one.score:.3f}' for one in run.answers(scores, given.top))
        return name, f'{listed}; {doubt}' if doubt else listed

    if gallery and gallery.enrolled.index:
        say(
            f'note: {len(gallery.vectors):,} sequences are searched through an index, which finds who is nearest to '
            f'{gallery.enrolled.recall():.0%} of {RECALLED} of them (the own recording left out)',
            error=True,
        )
    for line in answers(sys.stdin.buffer, run, of_gallery if gallery else of_network, given.accept):
        say(line)


def _of_network(run: Recogniser, sequences: np.ndarray, top: int) -> str:
    """The answer of the recognition network to a recording, a line for each of the likeliest people."""
    from sge_la.evaluation.enrolled import RECORDING

    scores, counts = run.scores(sequences), f'{counted(len(sequences), "sequence")} of {run.encoder.length} frames'
    name, doubt = _named(run, scores, RECORDING)
    lines = [f'{name} ({doubt}; {counts})' if doubt else counts]
    for place, answer in enumerate(run.answers(scores, top), 1):
        lines.append(f'  {place}. {answer.person}  score {answer.score:.3f}  votes {answer.votes:.1%}')
    return '\n'.join(lines)


def _named(run: Recogniser, scores: np.ndarray, level: str) -> tuple[str, str]:
    """The likeliest person or 'unknown', and what that rests on, in words; '' where strangers are not known."""
    from sge_la.evaluation.threshold import UNKNOWN

    person = str(run.answers(scores, top=1)[0].person)
    doubt = run.strangers.doubt(scores, level) if run.strangers else None
    if doubt is None:
        return person, ''
    sure = '' if doubt.probability is None else f'; {person} with probability {doubt.probability:.1%}'
    words = f'score {doubt.score:.3f}, threshold {doubt.threshold:.3f}{sure}'
    return UNKNOWN if doubt.unknown else person, words


class _CallableModule(ModuleType):
    """Lets `sge_la.identify(...)` be the function whether or not this module has been imported under that name."""

    def __call__(self, *args, **further) -> list[Answer]:
        return identify(*args, **further)


sys.modules[__name__].__class__ = _CallableModule

if __name__ == '__main__':
    sys.exit(run_command(main))
