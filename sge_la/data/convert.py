"""Writes a data set in another layout or joint order: `python -m sge_la.data.convert NAME --to_layout 3 --out DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sge_la.data.joints import TABLE
from sge_la.errors import UserError, run_command, say
from sge_la.settings.papers import facts
from sge_la.settings.parser import Parser

if TYPE_CHECKING:
    from sge_la.data.dataset import Split
    from sge_la.data.layout import DatasetFiles
    from sge_la.data.skeletons import Skeleton


_ORDERS = (*TABLE, 'kinect_v1_mirrored')
_DESCRIPTION = """\
Writes a data set again, in another layout or in another order of its joints, into another folder.

Layouts: 1 SGE-LA, 2 Locality-Awareness-SGE, 3 SPC-MGR and later (Datasets/README.md shows them).

Orders of joints, matched by name; joints that the new order lacks are left out:
  kinect_v1           Kinect SDK, 20 joints: BIWI, IAS, DEMO
  kgbd                KGBD's own, 20 joints
  kinect_v2           Kinect 2 SDK, 25 joints: KS20 (from it also kinect_v1)
  casia_b             14 estimated joints: CASIA-B
  coco_17 and others  for recordings of one's own, as `prepare --skeleton` knows them
  kinect_v1_mirrored  right joints in the left ones' places: what TranSG, MoCos, Prompter and Hi-MPC make of KGBD

skeleton.json beside the new training arrays names the joints in their new order.
"""


def parser() -> Parser:
    """The command line."""
    result = Parser('convert', _DESCRIPTION)
    result.add_dataset()
    result.add_argument('--from_layout', type=int, choices=(1, 2, 3), help='default: the one that it is found in')
    result.add_argument('--to_layout', type=int, choices=(1, 2, 3), help='default: as it is')
    result.add_argument('--joints', choices=_ORDERS, help='default: as they are')
    result.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='the new Datasets folder')
    result.add_argument('--name', dest='new_name', metavar='NEW', help='a new name for the data set')
    result.add_argument('--overwrite', action='store_true', help='replace what is there')
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    options = parser().parse_args(argv)
    files = convert(
        options.name,
        options.length,
        options.data_dir,
        options.out,
        view=options.view,
        from_layout=options.from_layout,
        to_layout=options.to_layout,
        joints=options.joints,
        new_name=options.new_name,
        overwrite=options.overwrite,
    )
    say(f'written: {files.train.folder}')
    return 0


def convert(
    name: str,
    length: int,
    data_dir: Path | str,
    out: Path | str,
    *,
    view: int | None = None,
    from_layout: int | None = None,
    to_layout: int | None = None,
    joints: str | None = None,
    new_name: str | None = None,
    overwrite: bool = False,
) -> DatasetFiles:
    """Writes a data set in another layout or order of joints. Coordinates stay what they are, to the last bit.

    Args:
        name, length, data_dir, view: the data set, as in `load`.
        out: the new `Datasets` folder.
        from_layout, to_layout: 1, 2 or 3; None for the one that it is found in.
        joints: a key of `SKELETONS`, or 'kinect_v1_mirrored'; None for the order that they have.
        new_name: a new name, or None.
        overwrite: whether what is there is replaced.

    Returns:
        The new files' names.

    Raises:
        UserError: the data set is missing or damaged, the joints are not known, or the new one cannot be written.
    """
    import numpy as np

    from sge_la.data.arrays import read_split
    from sge_la.data.layout import dataset_files
    from sge_la.data.loading import find, present_tests, read_record, read_skeleton
    from sge_la.data.write import write_dataset

    files, _ = find(name, length, data_dir, view=view, layout=from_layout)
    new_name, layout = new_name or name, to_layout or files.layout
    names = _test_names(files, present_tests(files), dataset_files(out, new_name, length, layout, view))
    train = read_split(files.train, length, facts(name).joints, np.float64)
    num_joints = train.skeletons.shape[2]
    skeleton = read_skeleton(files, num_joints)
    target = _order(joints, skeleton, name)
    expected, found = facts(new_name).joints, len(target.joints) if target else num_joints
    if expected not in (None, found):
        raise UserError(
            f'{new_name} should have {expected} joints, but {found} were to be written; give another --name'
        )
    return write_dataset(
        out,
        new_name,
        _new_split(train, skeleton, target),
        {
            new: _new_split(read_split(files.tests[old], length, num_joints, np.float64), skeleton, target)
            for old, new in names.items()
        },
        layout=layout,
        view=view,
        overwrite=overwrite,
        skeleton=target or skeleton,
        prepared=read_record(files) or None,
    )


def _order(joints: str | None, source: Skeleton | None, name: str) -> Skeleton | None:
    from sge_la.data.skeletons import SKELETONS, mirrored

    if joints is None:
        return None
    if source is None:
        raise UserError(
            f'the joints of {name} have no known names to be ordered by; put a skeleton.json beside its training arrays'
        )
    return mirrored(SKELETONS['kinect_v1']) if joints == 'kinect_v1_mirrored' else SKELETONS[joints]


def _new_split(split: Split, source: Skeleton | None, target: Skeleton | None):
    from sge_la.data.skeletons import reorder
    from sge_la.data.write import NewSplit

    skeletons = split.skeletons if target is None else reorder(split.skeletons, source, target)
    return NewSplit(skeletons, split.ids, recordings=split.recordings)


def _test_names(source: DatasetFiles, present: Sequence[str], target: DatasetFiles) -> dict[str, str]:
    """Old name → new name of each test set that has a place in the new layout; what was scored is scored again."""
    from sge_la.data.loading import default_tests

    scored = dict(zip(default_tests(source), default_tests(target), strict=False))
    names = {old: scored.get(old, old) for old in present}
    for old, new in list(names.items()):
        if new not in target.tests:
            say(f'left out: test set {old}, which layout {target.layout} has no place for')
            del names[old]
    return names


if __name__ == '__main__':
    sys.exit(run_command(main))
