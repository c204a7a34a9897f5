#!/usr/bin/env python3
"""Scores a trained recognition network: `python evaluate.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sge_la.errors import run_command
from sge_la.settings.command_line import parse_evaluate
from sge_la.settings.papers import protocol_of


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_evaluate(argv, _of_folder)
    if options.figures or options.report:
        from sge_la.reporting.figures import require_matplotlib

        require_matplotlib()
    from sge_la.backends.runtime import quietly
    from sge_la.runs.plan import as_trained

    if protocol_of(options):
        from sge_la.paper import casia_b_command

        casia_b_command.evaluate(options)
        return
    options = as_trained(options)
    with quietly():
        from sge_la.evaluation.gallery import run_gallery
        from sge_la.evaluation.pipeline import run_evaluation
    (run_gallery if options.protocol == 'gallery' else run_evaluation)(options)
    if options.figures or options.report or options.save_features:
        from sge_la.reporting.run_figures import show_run

        show_run(options)


def _of_folder(name: str, models_dir: str):
    from sge_la.runs.plan import options_of_folder

    return options_of_folder(name, models_dir)


if __name__ == '__main__':
    sys.exit(run_command(main))
