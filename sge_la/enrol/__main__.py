"""People who are enrolled without training: `python -m sge_la.enrol new|add|remove|list|check GALLERY`.

A gallery is one file. `new` makes an empty one for a trained run; `add` enrols recordings of a person, and finds anew
where strangers begin; `remove` deletes all that is kept of a person; `list` says who is there; `check` reads all of it,
and with the run compares. `identify --gallery` answers from it.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sge_la.errors import UserError, counted, run_command, say
from sge_la.settings.options import share
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.enrol.gallery import Gallery, Threshold

ACTIONS = ('new', 'add', 'remove', 'list', 'check')
_OWN_FLAGS = {
    'person': ('add', 'remove'),
    'recordings': ('add',),
    'far': ('new',),
    'accept': ('add',),
    'body': ('add',),
}


def main(argv: Sequence[str] | None = None) -> None:
    from sge_la.enrol.recordings import add_flags

    parser = Parser('gallery', __doc__.partition(': ')[0] + '.\n\n' + __doc__.partition('\n\n')[2])
    parser.add_argument('action', choices=ACTIONS, metavar='ACTION', help=', '.join(ACTIONS))
    parser.add_argument('gallery', type=Path, metavar='GALLERY', help='the file')
    parser.add_argument('recordings', nargs='*', type=Path, metavar='RECORDING', help='add: as identify reads them')
    parser.add_argument('--person', action='append', help='add, remove: the name of the person')
    parser.add_argument('--RN_dir', help="folder of the trained run (new; else the gallery's run in --models_dir)")
    parser.add_argument(
        '--far', type=share, help='new: share of strangers who may be taken for somebody (default 0.01)'
    )
    add_flags(parser, 'add: take it')
    given = parser.parse_intermixed_args(argv)
    _refuse_nonsense(given)
    {'new': _new, 'add': _add, 'remove': _remove, 'list': _list, 'check': _check}[given.action](given)


def _refuse_nonsense(given: Namespace) -> None:
    for name, actions in _OWN_FLAGS.items():
        flag = name if name == 'recordings' else f'--{name}'
        if getattr(given, name) and given.action not in actions:
            raise UserError(
                f'gallery {given.action} takes no {flag}, which is for {" and ".join(actions)}: leave it out'
            )
    if len(given.person or ()) > 1:
        raise UserError(f'gallery {given.action} takes one --person, found {len(given.person)}: call it once for each')
    given.person = given.person and given.person[0]
    if given.action in ('add', 'remove') and not given.person:
        raise UserError(f'gallery {given.action} needs to know whom: give --person NAME')
    if given.action == 'add' and not given.recordings:
        raise UserError('gallery add needs recordings of the person: name one or more files')
    if given.action == 'new' and not given.RN_dir:
        raise UserError('gallery new needs a trained run that encodes: give --RN_dir')


def _new(given: Namespace) -> None:
    from sge_la.enrol import file
    from sge_la.enrol.gallery import Gallery
    from sge_la.enrol.recordings import load_run
    from sge_la.evaluation.threshold import FAR

    run = load_run(given.RN_dir, given)
    far = FAR if given.far is None else given.far
    with file.changing(given.gallery, new=True) as write:
        write(Gallery.new(run.encoder, run.skeleton, far))
    say(f'{given.gallery}: an empty gallery of {run.encoder.plan.network.name}, false accept rate {far:g}')


def _add(given: Namespace) -> None:
    from sge_la.data.raw.text import alike_people
    from sge_la.enrol import file
    from sge_la.enrol.recordings import load_run, refuse_missing, sequences_of

    try:
        file.checked_name(given.person, '--person')
    except ValueError as error:
        raise UserError(f'{error}: choose another name') from error
    refuse_missing(given.recordings)
    before = file.read(given.gallery)
    run = load_run(given.RN_dir or before.run, given)
    before.using(run.encoder, given.gallery)
    found = [
        (file.recording_name(path), sequences_of(path, run, given.body, given.accept)) for path in given.recordings
    ]
    with file.changing(given.gallery) as write:
        gallery = file.read(given.gallery).using(run.encoder, given.gallery).with_recordings(given.person, found)
        write(gallery)
    for name, sequences in found:
        say(f'{given.person}: {name}, {counted(len(sequences), "sequence")}')
    for note in alike_people(gallery.people):
        say(f'note: {note}')
    say(_summary(gallery))


def _remove(given: Namespace) -> None:
    from sge_la.enrol import file

    with file.changing(given.gallery) as write:
        before = file.read(given.gallery)
        gallery = before.without(given.person)
        write(gallery)
    say(f'{given.person} is removed, with {counted(len(before.vectors) - len(gallery.vectors), "sequence")}')
    say(_summary(gallery))


def _list(given: Namespace) -> None:
    from sge_la.enrol import file

    gallery = file.read(given.gallery)
    for person in gallery.people:
        own = [recording for recording in gallery.recordings if recording.person == person]
        say(f'{person}: {", ".join(f"{recording.name} ({recording.sequences})" for recording in own)}')
    say(_summary(gallery))


def _check(given: Namespace) -> None:
    from sge_la.enrol import file
    from sge_la.enrol.recordings import load_run

    gallery = file.read(given.gallery)
    if not gallery.agrees():
        raise UserError(f'the thresholds of {given.gallery} are not those of its recordings; make it again')
    gallery.using(load_run(given.RN_dir or gallery.run, given).encoder, given.gallery)
    say(f'{given.gallery} is sound, and the encoder of its run {gallery.run} is the one that made it')
    say(_summary(gallery))


def _summary(gallery: Gallery) -> str:
    """What a gallery holds, and what its thresholds rest on."""
    counts = (
        f'{counted(len(gallery.people), "person", "people")}, {counted(len(gallery.recordings), "recording")}, '
        f'{counted(len(gallery.vectors), "sequence")}'
    )
    if not gallery.thresholds:
        return f'{counts}; thresholds need two people'
    lines = [counts, *(_of_threshold(level, found, gallery.far) for level, found in gallery.thresholds.items())]
    return '\n'.join(lines)


def _of_threshold(level: str, found: Threshold, far: float) -> str:
    text = f'threshold for a {level}: {found.distance:.3f}, false accept rate {far:g} on '
    text += f'{counted(found.strangers, level)} of the gallery, each with its person left out'
    if found.recognised is not None:
        text += f'; {found.recognised:.1%} of the other recordings of enrolled people are named'
    if far * found.strangers < 1:
        text += f' (so few cannot show a rate below {1 / found.strangers:.2g}: none of them is accepted)'
    return text


if __name__ == '__main__':
    sys.exit(run_command(main))
