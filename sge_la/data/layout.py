"""Where files lie under `Datasets/`, in the original's spelling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sge_la.errors import UserError
from sge_la.settings.papers import CONDITION_MATCHING, is_dataset_name

AXES = ('x', 'y', 'z')
# Frames in a sequence, at most: more are a slip of the finger.
LONGEST = 1000


@dataclass(frozen=True)
class SplitFiles:
    """The files of one split (training, or one test set).

    `folder`: the folder that holds them all; `prefix`: '' for training, 't_' for test arrays; `stem`: what follows the
    axis, e.g. 'BIWI_6' or 'IAS-A_6'.
    """

    folder: Path
    prefix: str
    stem: str

    def source(self, axis: str) -> Path:
        return self.folder / f'{self.prefix}source_{axis}_{self.stem}.npy'

    def target(self, axis: str) -> Path:
        return self.folder / f'{self.prefix}target_{axis}_{self.stem}.npy'

    @property
    def ids(self) -> Path:
        return self.folder / f'ids_{self.stem}.npy'

    @property
    def frame_id(self) -> Path:
        return self.folder / f'frame_id_{self.stem}.npy'

    @property
    def recording(self) -> Path:
        """The recording that each sequence is from: no released data set has it, `prepare` writes it."""
        return self.folder / f'{self.prefix}recording_{self.stem}.npy'


@dataclass(frozen=True)
class DatasetFiles:
    """The files of one data set in one of the three released layouts.

    `layout`: 1 (SGE-LA, flat), 2 (Locality-Awareness-SGE, a folder a length) or 3 (SPC-MGR and later); `root`: the
    folder of this data set and length; `train`: the training split; `tests`: test splits by name; the first is the one
    that is scored when nothing is said.
    """

    layout: int
    root: Path
    train: SplitFiles
    tests: dict[str, SplitFiles]


# Test sets of layout 3 (one folder each) that are no probe and gallery, and what the single test folder of layouts 1
# and 2 holds if it is not called 'test'.
TEST_FOLDERS = {'BIWI': ('Walking', 'Still'), 'IAS': ('A', 'B')}
DEFAULT_TEST = {'BIWI': 'Walking', 'KGBD': 'probe', 'KS20': 'probe'}


def check_dataset_name(name: str) -> str:
    """Returns a name that train.py takes and that is safe as a part of file names; refuses any other."""
    if not is_dataset_name(name):
        raise UserError(
            "a data set's name should have 1 to 64 letters, digits or - . + and start with a letter or digit, "
            f'found {name!r}; choose another name'
        )
    return name


def dataset_files(
    data_dir: Path | str, dataset: str, length: int, layout: int, view: int | None = None
) -> DatasetFiles:
    """Names the files of a data set in a given layout; nothing is read.

    `data_dir`: the folder `Datasets/`; `dataset`: e.g. 'BIWI'; `length`: T, frames in a sequence; `layout`: 1, 2 or 3;
    `view`: KS20's view 0 to 4, or None for the random split.
    """
    data_dir = Path(data_dir)
    root = data_dir if layout == 1 else data_dir / dataset / str(length)
    if view is not None:
        root = root / f'view_{view}'
    if dataset == CONDITION_MATCHING:
        return _condition_matching_files(root, layout, f'CASIA_B_{length}')
    stem = f'{dataset}_{length}'
    if layout == 3:
        train = SplitFiles(root / 'train_npy_data', '', stem)
        names = TEST_FOLDERS.get(dataset, ('probe', 'gallery'))
        tests = {name: SplitFiles(root / 'test_npy_data' / name, 't_', stem) for name in names}
        return DatasetFiles(layout, root, train, tests)
    train = SplitFiles(root / f'{dataset}_train_npy_data', '', stem)
    test_folder = root / f'{dataset}_test_npy_data'
    if dataset == 'IAS':
        tests = {name: SplitFiles(test_folder, 't_', f'IAS-{name}_{length}') for name in TEST_FOLDERS['IAS']}
    else:
        tests = {DEFAULT_TEST.get(dataset, 'test'): SplitFiles(test_folder, 't_', stem)}
    return DatasetFiles(layout, root, train, tests)


def _condition_matching_files(root: Path, layout: int, stem: str) -> DatasetFiles:
    """Gallery and probe of CASIA-B by condition, and all of them together, which the original asks for as well."""
    test_folder = root / 'CASIA_B_test_npy_data'
    tests = {'all': SplitFiles(test_folder, 't_', stem)}
    tests |= {name: SplitFiles(test_folder / name, 't_', stem) for name in ('nm', 'bg', 'cl')}
    return DatasetFiles(layout, root, SplitFiles(root / 'CASIA_B_train_npy_data', '', stem), tests)
