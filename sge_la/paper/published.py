"""The T-PAMI paper's numbers, in percent: its comparison (Table 2; AGEs: its README) and CASIA-B (tables 8 and 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sge_la.settings.papers import CME, CVE, DEGREES, NUM_VIEWS, PROBE_TYPES

COLUMNS = ('BIWI', 'IAS-A', 'IAS-B', 'KS20', 'KGBD')
_N = None
# Rank-1 and nAUC of each method by column; None where the paper has none.
PAPER = {
    'D13 + SVM': ((17.9, _N, _N, _N, _N), (_N,) * 5),
    'D13 + KNN': ((39.3, 33.8, 40.5, 58.3, 46.9), (64.3, 63.6, 71.1, 78.0, 90.0)),
    'D16 + AdaBoost': ((41.8, 27.4, 39.2, 59.8, 69.9), (74.1, 65.5, 78.2, 78.8, 90.6)),
    'Single-layer LSTM': ((15.8, 20.0, 19.1, 80.9, 39.8), (65.8, 65.9, 68.4, 92.3, 87.2)),
    'Multi-layer LSTM': ((36.1, 34.4, 30.9, 81.6, 46.2), (75.6, 72.1, 71.9, 94.2, 89.8)),
    'PoseGait': ((33.3, 41.4, 37.1, 70.5, 90.6), (81.8, 79.9, 74.8, 94.0, 97.8)),
    'AGEs': ((59.1, 56.1, 58.2, 86.9, 87.7), (86.5, 81.7, 85.3, 94.9, 96.3)),
    'CAGE Rev.Rec.': ((62.9, 60.1, 62.5, 86.9, 86.9), (86.8, 82.9, 86.9, 94.9, 97.1)),
    'CAGE Rev.Rec.Plus': ((63.3, 59.1, 62.2, 92.0, 90.6), (88.3, 81.5, 86.2, 94.9, 98.1)),
}
# Table 8: views 0 to 180 degrees.
_CROSS_VIEW = {
    'PoseGait': (10.7, 37.4, 52.5, 28.3, 24.3, 18.9, 23.5, 17.2, 23.6, 18.8, 4.3),
    'MG-SCR': (20.0, 63.1, 60.3, 52.0, 54.0, 80.4, 75.1, 74.3, 65.6, 39.1, 25.5),
    'SM-SGE': (18.4, 50.8, 53.6, 40.9, 51.2, 59.3, 52.3, 53.9, 30.2, 28.8, 13.6),
    'CAGE': (35.5, 78.5, 79.5, 58.0, 66.1, 76.0, 64.4, 66.9, 68.4, 49.9, 46.3),
}
# Table 9: probe-gallery in the order of PROBE_TYPES.
_CONDITIONS = {
    'LMNN': (3.9, 18.3, 17.4, 11.6, 23.1),
    'ITML': (7.5, 19.5, 20.1, 10.3, 21.8),
    'EFL': (12.3, 5.8, 19.9, 5.6, 17.1),
    'SDALF': (4.9, 10.2, 16.7, 11.6, 22.9),
    'Score-level + MLR': (13.6, 13.6, 13.5, 9.7, 14.7),
    'Feature-level + MLR': (16.3, 18.9, 25.4, 20.3, 31.8),
    'CAGE': (54.3, 37.5, 31.9, 27.0, 36.3),
}
PUBLISHED = {CVE: _CROSS_VIEW, CME: _CONDITIONS}
# What the columns are called by the options (views, probe types), and in the paper.
KEYS = {CVE: tuple(range(NUM_VIEWS)), CME: PROBE_TYPES}
TITLES = {
    CVE: tuple(str(DEGREES * view) for view in range(NUM_VIEWS)),
    CME: tuple(f'{probe[:2].title()}-{probe[3:].title()}' for probe in PROBE_TYPES),
}
_WHAT = {
    CVE: 'CASIA-B, cross-view evaluation (CVE), by the angle of the tested view: Rank-1 accuracy in %',
    CME: 'CASIA-B, condition-based matching (CME), probe-gallery: Rank-1 accuracy in %',
}


def published(method: str, column: str | None) -> tuple[float | None, float | None]:
    """Rank-1 and nAUC of a method on a data set in the paper; None where it has none."""
    if method not in PAPER or column not in COLUMNS:
        return None, None
    rank1, nauc = PAPER[method]
    return rank1[COLUMNS.index(column)], nauc[COLUMNS.index(column)]


def table(protocol: str, found: Mapping[object, Mapping[str, float | None]], length: int) -> str:
    """Puts a run's numbers (view or probe type → Rank-1 by method, as fractions) beside the paper's.

    A row a method, a column a view or pair of conditions; `-` where there is no number.
    """
    columns = [place for place, key in enumerate(KEYS[protocol]) if key in found]
    methods = list(dict.fromkeys(name for methods in found.values() for name in methods))
    rows = [('here', [TITLES[protocol][place] for place in columns])]
    for name in methods:
        values = [found[KEYS[protocol][place]].get(name) for place in columns]
        rows.append((name, [None if value is None else 100 * value for value in values]))
    rows.append(('in the paper', [''] * len(columns)))
    rows += [(name, [values[place] for place in columns]) for name, values in PUBLISHED[protocol].items()]
    return '\n'.join([f'### {_WHAT[protocol]}, {length} frames', *_aligned(rows)])


def _aligned(rows: Sequence[tuple[str, Sequence[object]]]) -> list[str]:
    first = max(len(name) for name, _ in rows)
    cells = [(name, ['-' if v is None else v if isinstance(v, str) else f'{v:.1f}' for v in row]) for name, row in rows]
    width = max(5, *(len(cell) for _, row in cells for cell in row))
    return [f'{name:<{first}}  {"  ".join(f"{cell:>{width}}" for cell in row)}'.rstrip() for name, row in cells]
