"""train.py and evaluate.py on CASIA-B: a single run, or the runs of a whole table.

Nothing heavy is imported before flags and files are known to be right.
"""

from __future__ import annotations

from sge_la.data.casia_b import check_files, load_raw, present_views
from sge_la.errors import say
from sge_la.settings.papers import ALL, CME, cases, protocol_of


def train(options) -> dict:
    """A run of train.py; returns Rank-1 by view or probe type, and by row of the table that is printed."""
    single = _with_data(options)
    for case in single:
        check_files(case)
    raw = load_raw(options if protocol_of(options) == CME else single[0])
    from sge_la.paper import casia_b
    from sge_la.runs.states import saying_how_to_go_on

    with saying_how_to_go_on(options.overwrite):
        if protocol_of(options) == CME:
            return casia_b.train_conditions(options, raw)
        return casia_b.train_views(single, raw)


def evaluate(options) -> dict:
    """A run of evaluate.py; returns what `train` does."""
    if protocol_of(options) == CME:
        raw = load_raw(options)
    from sge_la.paper import casia_b
    from sge_la.runs.find import as_trained

    if protocol_of(options) == CME:
        return casia_b.match_conditions(as_trained(options), raw)
    return casia_b.evaluate_views([as_trained(case) for case in cases(options)])


def _with_data(options) -> list:
    """The single runs of a table whose data are there; all other runs are left to fail with their reason."""
    single = cases(options)
    if options.view != ALL:
        return single
    views = present_views(options.data_dir, options.length)
    found = [case for case in single if case.view in views]
    if not found:
        return single[:1]
    if missing := [str(case.view) for case in single if case.view not in views]:
        say(f'note: views that are not there, and have no column in the table: {", ".join(missing)}')
    return found
