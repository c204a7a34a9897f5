"""Reads what a folder's name says about the run that made it, the reverse of `sge_la.layout`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sge_la.errors import UserError

TASKS = ('rev_rec_plus', 'rev_rec', 'prediction', 'sorting')
_DATASET = r'(?P<dataset>CASIA_B|[A-Za-z0-9]+?)(?:-(?P<test_set>[AB]))?'
_MODEL = r'(?:_(?P<attention>[A-Za-z]+))?(?:_RN_(?P<manner>ap|sc)|_(?P<axis>[xyz]))'
_KEY = (
    r'_(?P<length>\d{1,4})_(?P<temperature>\d+(?:\.\d+)?(?:e-?\d+)?)_(?P<frozen>[01])(?:view_(?P<view>\d{1,2}))?'
    rf'pre_(?P<task>{"|".join(TASKS)})'
)
# CASIA-B's names end in ways of their own, the second even in an underscore.
_CASIA_B = r'(?:_test_adj_2|_double_(?:rev_rec\+pred|rev_rec\+sort|pred\+sort)?)?'
_SUFFIX = rf'(?P<suffix>{_CASIA_B}(?:_[A-Za-z][A-Za-z0-9.+-]*)*)'
_NAME = re.compile(f'{_DATASET}{_MODEL}(?:{_KEY})?{_SUFFIX}', re.ASCII)


@dataclass(frozen=True)
class RunName:
    """What a folder's name says; None where it does not say.

    Attributes:
        kind: 'encoder' (one axis) or 'recognition'.
        encoding: 'CAGE', or 'AGE' for the short names of the IJCAI 2020 code.
        dataset: e.g. 'BIWI'.
        test_set: 'A' or 'B' in the authors' folders `IAS-A_...` and `IAS-B_...`.
        attention: 'LA', 'BA' or an ablation's; rev_rec_plus leaves it out.
        axis: 'x', 'y' or 'z' of an encoder.
        manner: 'ap' or 'sc' of a recognition network.
        length: T.
        temperature: t of the contrastive loss.
        frozen: 0 or 1.
        view: KS20's or CASIA-B's view.
        task: the pretext task.
        suffix: what follows, e.g. '_select-val_transfer-KGBD'.
    """

    kind: str
    encoding: str
    dataset: str
    test_set: str | None = None
    attention: str | None = None
    axis: str | None = None
    manner: str | None = None
    length: int | None = None
    temperature: float | None = None
    frozen: int | None = None
    view: int | None = None
    task: str | None = None
    suffix: str = ''


def parse_run_name(name: str) -> RunName:
    """Reads the name of a run's folder, in any variant that the original, its authors' releases or we write.

    Args:
        name: without the folders above it, e.g. `BIWI_LA_RN_ap_6_0.1_0pre_rev_rec` or `BIWI_LA_x`.

    Raises:
        UserError: it is no such name.
    """
    match = _NAME.fullmatch(name) if len(name) < 256 else None
    found = match.groupdict() if match else {}
    # Only rev_rec_plus, which has no attention of its own, leaves it out; there are no encoders of it.
    plus = found.get('task') == 'rev_rec_plus'
    if not match or (plus and (found['attention'] or found['axis'])) or (not plus and not found['attention']):
        shown = name if len(name) < 100 else name[:100] + '...'
        raise UserError(
            f'the folder name {shown!r} cannot be read; expected one like BIWI_LA_RN_ap_6_0.1_0pre_rev_rec, '
            'BIWI_LA_x_6_0.1_0pre_rev_rec or BIWI_LA_RN_ap; check --RN_dir or the folder'
        )
    numbers = {'length': int, 'temperature': float, 'frozen': int, 'view': int}
    values = {key: kind(found[key]) for key, kind in numbers.items() if found[key] is not None}
    words = {key: found[key] for key in ('dataset', 'test_set', 'attention', 'axis', 'manner', 'task', 'suffix')}
    return RunName(
        kind='encoder' if found['axis'] else 'recognition',
        encoding='AGE' if found['length'] is None else 'CAGE',
        **words,
        **values,
    )
