"""From the files of the three released layouts to a `Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sge_la.data.arrays import read_split
from sge_la.data.dataset import LEAKS, Dataset, shared_recordings
from sge_la.data.layout import AXES, LONGEST, DatasetFiles, SplitFiles, check_dataset_name, dataset_files
from sge_la.data.raw.text import alike_people
from sge_la.data.skeletons import Skeleton, for_dataset, from_json
from sge_la.data.way import Way
from sge_la.errors import UserError, listed, program, say
from sge_la.files.text import read_json
from sge_la.settings.papers import CONDITION_MATCHING, DATASETS, facts
from sge_la.settings.parser import did_you_mean

# Tried in this order: what this project writes, what later repositories share, the oldest.
LAYOUT_ORDER = (2, 3, 1)
_LENGTHS = range(1, LONGEST + 1)


def print_warning(text: str) -> None:
    """Prints a warning to stderr."""
    say(f'warning: {text}', error=True)


def load(
    name: str,
    length: int = 6,
    data_dir: Path | str = 'Datasets',
    *,
    view: int | None = None,
    tests: Sequence[str] | None = None,
    layout: int | None = None,
    warn: Callable[[str], None] = print_warning,
) -> Dataset:
    """Reads a data set, whichever of the three layouts it lies in (2 is tried first, then 3, then 1).

    Args:
        name: 'BIWI', 'IAS', 'KGBD', 'KS20', 'KinectReID', 'CASIA_B', 'CASIA_B_match', 'DEMO', or the user's own.
        length: T, frames in a sequence.
        data_dir: the folder `Datasets/`.
        view: KS20's view 0 to 4, or None for the random split; CASIA-B's 0 to 10.
        tests: names of test sets; None for those that the original scores: BIWI 'Walking', IAS 'A' and 'B', KGBD and
            KS20 'probe'. Layout 3 has BIWI 'Still' and a 'gallery' for the last two as well. 'CASIA_B_match' has 'all',
            'nm', 'bg' and 'cl'.
        layout: 1, 2 or 3 to read this one only.
        warn: is given a sentence for what is odd but no error: another number of identities than the paper's, sequences
            that belong to nobody.

    Returns:
        The data set; its arrays take 4 bytes a coordinate, and little more is needed while reading.

    Raises:
        UserError: it is missing, damaged, or does not fit together; each case in one sentence.
    """
    files, names = find(name, length, data_dir, view=view, tests=tests, layout=layout)
    train = read_split(files.train, length, facts(name).joints)
    joints = train.skeletons.shape[2]
    splits = {test: read_split(files.tests[test], length, joints) for test in names}
    identities = tuple(train.ids)
    for test, split in splits.items():
        if not is_open_set(name):
            check_test_identities(split.ids, identities, files.tests[test].ids)
    skeleton, record = read_skeleton(files, joints), read_record(files)
    way = Way.from_json(record.get('way'), str(record_path(files)))
    shared = any(shared_recordings(train.recordings, split.recordings).size for split in splits.values())
    # Views of one walk share its number, and cross-view tests have some of them on either side on purpose.
    leaks = LEAKS if shared and view is None else ''
    dataset = Dataset(
        name, length, files.layout, files.root, train, splits, identities, skeleton, names_in(record), way, leaks
    )
    for text in oddities(dataset, files):
        warn(text)
    return dataset


def is_open_set(name: str) -> bool:
    """Whether a data set tests on people whom it does not train on: CASIA-B's condition-based matching does."""
    return name == CONDITION_MATCHING


def check_test_identities(ids: dict[int, np.ndarray], identities: Sequence[int], path: Path) -> None:
    """Checks that the training set has every identity of a test set.

    Raises UserError: it lacks one.
    """
    unknown = sorted(set(ids) - set(identities))
    if unknown:
        raise UserError(
            f'{path}: every test identity should be in the training set, but {len(unknown)} of {len(ids)} are not '
            f'({listed(unknown)}); check that both are of one data set'
        )


def oddities(dataset: Dataset, files: DatasetFiles) -> list[str]:
    """Sentences on what is odd about a data set, but no error."""
    found = []
    expected = facts(dataset.name).identities
    if expected is not None and len(dataset.identities) != expected:
        found.append(f'{dataset.name} has {len(dataset.identities)} identities here, and {expected} in the paper')
    if is_open_set(dataset.name):
        found += [
            open_set_oddity(split.ids, dataset.identities, files.tests[name].ids)
            for name, split in dataset.tests.items()
        ]
    splits = [(files.train, dataset.train)] + [(files.tests[name], split) for name, split in dataset.tests.items()]
    for part, split in splits:
        unused = int((split.labels < 0).sum())
        if unused:
            found.append(
                f'{part.ids}: {unused} of {len(split.labels)} sequences belong to no identity, and are neither '
                f'recognised nor scored (is {dataset.length} the right length?)'
            )
    return [text for text in (*found, *alike_people(dataset.names.values())) if text]


def open_set_oddity(ids: dict[int, np.ndarray], identities: Sequence[int], path: Path) -> str:
    """A sentence if people are tested on who should be unknown, else ''."""
    known = sorted(set(ids) & set(identities))
    if not known:
        return ''
    return f'{path}: {len(known)} of {len(ids)} people are in the training set too ({listed(known)}), and should not be'


def read_skeleton(files: DatasetFiles, joints: int) -> Skeleton | None:
    """The skeleton of a data set: of the `skeleton.json` beside its training arrays, else by its name.

    Raises UserError: the file is damaged or has another number of joints.
    """
    name = files.train.stem.rsplit('_', 1)[0]
    path = files.train.folder / 'skeleton.json'
    if path.exists():
        skeleton = from_json(read_json(path), str(path))
        if len(skeleton.joints) != joints:
            raise UserError(
                f'{path} names {len(skeleton.joints)} joints, but the arrays have {joints}; correct or delete it'
            )
        return skeleton
    skeleton = for_dataset(name)
    return skeleton if skeleton is not None and len(skeleton.joints) == joints else None


def record_path(files: DatasetFiles) -> Path:
    """Where `prepare` says what it has done."""
    return files.train.folder / 'prepare.json'


def read_record(files: DatasetFiles) -> dict[str, Any]:
    """What `prepare` says that it has done; empty where it says nothing.

    Raises UserError: the file is damaged.
    """
    path = record_path(files)
    content = read_json(path) if path.exists() else None
    return content if isinstance(content, dict) else {}


def names_in(record: dict[str, Any]) -> dict[int, str]:
    """The people's names by label, as `read_record` has them; empty where it has none."""
    people = record.get('people')
    names = people if isinstance(people, dict) else {}
    # Whoever made the file chose the names, and terminals obey control characters.
    printable = {label: name for label, name in names.items() if isinstance(name, str) and name.isprintable()}
    return {int(label): name for label, name in printable.items() if label.isdecimal() and len(label) < 10}


def find(
    name: str,
    length: int,
    data_dir: Path | str = 'Datasets',
    *,
    view: int | None = None,
    tests: Sequence[str] | None = None,
    layout: int | None = None,
) -> tuple[DatasetFiles, tuple[str, ...]]:
    """Finds the layout that a data set lies in; the files are only looked for, not opened.

    Returns its files, and the names of the test sets that are wanted. Raises UserError: it is missing (all places are
    named), or files of it are.
    """
    check_dataset_name(name)
    if length not in _LENGTHS:
        raise UserError(
            f'a length of {_LENGTHS[0]} to {_LENGTHS[-1]} frames was expected, found {length}; give another'
        )
    layouts = LAYOUT_ORDER if layout is None else (layout,)
    candidates = [dataset_files(data_dir, name, length, number, view) for number in layouts]
    problems = []
    for files in candidates:
        names = tuple(tests) if tests is not None else default_tests(files)
        needed = _needed(files, names)
        missing = [path for path in needed if not path.exists()]
        unknown = [test for test in names if test not in files.tests]
        if not missing and not unknown:
            return files, names
        if len(missing) < len(needed):
            problems.append((len(missing), _partial(files, names, missing, unknown)))
    if problems:
        raise UserError(min(problems)[1])
    raise UserError(_missing(name, length, Path(data_dir), candidates))


_WITH_READER = ('BIWI', 'IAS', 'KGBD', 'KS20', 'CASIA_B', 'DEMO')


def present_tests(files: DatasetFiles) -> tuple[str, ...]:
    """The test sets of which some file is there, and those that are scored when nothing is said."""
    scored = default_tests(files)
    return tuple(name for name, part in files.tests.items() if name in scored or is_begun(part))


def default_tests(files: DatasetFiles) -> tuple[str, ...]:
    """The test sets that are scored when nothing is said: both of IAS, otherwise the layout's first."""
    names = tuple(files.tests)
    return names if names == ('A', 'B') else names[:1]


def is_begun(files: SplitFiles) -> bool:
    """Whether some file is there that a split cannot do without."""
    return any(map(Path.exists, split_files(files)))


def split_files(files: SplitFiles) -> list[Path]:
    """The files that a split cannot do without."""
    return [*(files.source(axis) for axis in AXES), files.ids]


def _needed(files: DatasetFiles, tests: Sequence[str]) -> list[Path]:
    parts = [files.train] + [files.tests[name] for name in tests if name in files.tests]
    return [path for part in parts for path in split_files(part)]


def _partial(files: DatasetFiles, names: Sequence[str], missing: list[Path], unknown: list[str]) -> str:
    """What is wrong with a data set of which a part is there."""
    what = f'the data set in {files.root} (layout {files.layout})'
    if unknown:
        places = ', '.join(files.tests)
        return f"{what} has the test sets {places}, but '{unknown[0]}' was asked for; choose another or add its files"
    shown = ', '.join(str(path.relative_to(files.root)) for path in missing[:4])
    more = f' and {len(missing) - 4} more' if len(missing) > 4 else ''
    total = len(_needed(files, names))
    return f'{what} lacks {len(missing)} of {total} files: {shown}{more}; get or make them again (Datasets/README.md)'


def _missing(name: str, length: int, data_dir: Path, candidates: Sequence[DatasetFiles]) -> str:
    """What to say of a data set of which nothing is there."""
    places = ', '.join(dict.fromkeys(str(files.train.source('x')) for files in candidates))
    lengths = available_lengths(name, data_dir, [length])
    hint = f' (lengths that are there: {", ".join(map(str, lengths))})' if lengths else ''
    views = [path.name[5:] for path in (data_dir / name / str(length)).glob('view_*') if path.name[5:].isdecimal()]
    hint += f' (views that are there: {", ".join(sorted(views, key=int))}; name one by --view)' if views else ''
    there = [path.name for path in data_dir.iterdir() if path.is_dir()] if data_dir.is_dir() else []
    near = did_you_mean(name, (other for other in [*DATASETS, *there] if other != name))
    raw = '' if name == 'DEMO' else ' --raw FOLDER'
    protocol = {'CASIA_B': ' --protocol CVE', CONDITION_MATCHING: ' --protocol CME'}.get(name, '')
    folder = '' if data_dir == Path('Datasets') else f' --data_dir {data_dir}'
    prepared = 'CASIA_B' if protocol else name
    command = f'{program("prepare")} {prepared}{raw}{protocol} --length {length}{folder}'
    # Whatever has no reader is prepared like recordings of one's own, the paper's KinectReID too.
    table = '' if prepared in _WITH_READER else ' (FOLDER with a recordings.csv, as for recordings of your own)'
    return (
        f'the data set {name} with sequences of {length} frames was looked for in {data_dir.absolute()}, as '
        f'{places} (and its y, z, ids and test files), and is not there{near}{hint}; make it with "{command}"{table}, '
        'or fetch it as Datasets/README.md says'
    )


def available_lengths(name: str, data_dir: Path | str, without: Sequence[int] = ()) -> list[int]:
    """The lengths for which a data set has training files in any layout."""
    data_dir = Path(data_dir)
    stem = 'CASIA_B' if is_open_set(name) else name
    found = set()
    for folder in (data_dir / name).glob('*'):
        if (
            folder.name.isdecimal()
            and len(folder.name) <= 4
            and any(folder.rglob(f'source_x_{stem}_{folder.name}.npy'))
        ):
            found.add(int(folder.name))
    for path in (data_dir / f'{name}_train_npy_data').glob(f'source_x_{name}_*.npy'):
        length = path.stem.rsplit('_', 1)[1]
        if length.isdecimal() and len(length) <= 4:
            found.add(int(length))
    return sorted(found - set(without))
