"""The published Rank-1 accuracies on CASIA-B, in percent (T-PAMI paper, tables 8 and 9), and tables beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sge_la.casia_b.protocols import CME, CVE, DEGREES, NUM_VIEWS, PROBE_TYPES

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


def table(protocol: str, found: Mapping[object, Mapping[str, float | None]], length: int) -> str:
    """Puts a run's numbers beside the paper's.

    Args:
        protocol: 'CVE' or 'CME'.
        found: view or probe type → Rank-1 by method, as fractions; None for what could not be had.
        length: T, for the heading.

    Returns:
        Lines: a row a method, a column a view or pair of conditions; `-` where there is no number.
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
