"""The numbers of the T-PAMI paper's comparison (its Table 2; AGEs: its README), in per cent."""

from __future__ import annotations

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


def published(method: str, column: str | None) -> tuple[float | None, float | None]:
    """Rank-1 and nAUC of a method on a data set in the paper; None where it has none."""
    if method not in PAPER or column not in COLUMNS:
        return None, None
    rank1, nauc = PAPER[method]
    return rank1[COLUMNS.index(column)], nauc[COLUMNS.index(column)]
