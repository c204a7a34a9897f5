"""train.py and evaluate.py on CASIA-B: a single run, or the runs of a whole table.

Nothing heavy is imported before flags and files are known to be right.
"""

from __future__ import annotations

from sge_la.data.casia_b import cases_at_hand, check_files, load_raw
from sge_la.settings.papers import CME, cases, protocol_of


def train(options) -> dict:
    """A run of train.py; returns Rank-1 by view or probe type, and by row of the table that is printed."""
    single = cases_at_hand(options)
    for case in single:
        check_files(case)
    raw = load_raw(options) if protocol_of(options) == CME else None
    from sge_la.paper import casia_b
    from sge_la.runs.states import saying_how_to_go_on

    with saying_how_to_go_on(options.overwrite):
        if protocol_of(options) == CME:
            return casia_b.train_conditions(options, raw)
        return casia_b.train_views(single)


def evaluate(options) -> dict:
    """A run of evaluate.py; returns what `train` does."""
    if protocol_of(options) == CME:
        raw = load_raw(options)
    from sge_la.paper import casia_b
    from sge_la.runs.find import as_trained

    if protocol_of(options) == CME:
        return casia_b.match_conditions(as_trained(options), raw)
    return casia_b.evaluate_views([as_trained(case) for case in cases(options)])
