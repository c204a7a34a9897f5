#!/usr/bin/env python3
"""Scores a trained recognition network: `python evaluate.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sge_la.casia_b.protocols import protocol_of
from sge_la.command_line import parse_evaluate
from sge_la.errors import run_command


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_evaluate(argv, _of_folder)
    if options.figures or options.report:
        from sge_la.figures import require_matplotlib

        require_matplotlib()
    from sge_la.run_folders import as_trained
    from sge_la.runtime import quietly

    if protocol_of(options):
        from sge_la.casia_b import command as casia_b

        casia_b.evaluate(options)
        return
    options = as_trained(options)
    with quietly():
        from sge_la.assess import run_evaluation
        from sge_la.gallery import run_gallery
    (run_gallery if options.protocol == 'gallery' else run_evaluation)(options)
    if options.figures or options.report or options.save_features:
        from sge_la.pictures import show_run

        show_run(options)


def _of_folder(name: str, models_dir: str):
    from sge_la.run_folders import options_of_folder

    return options_of_folder(name, models_dir)


if __name__ == '__main__':
    sys.exit(run_command(main))
