#!/usr/bin/env python3
"""Scores a trained recognition network: `python evaluate.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sge_la.command_line import parse_evaluate
from sge_la.errors import run_command


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_evaluate(argv)
    from sge_la.runtime import quietly

    with quietly():
        from sge_la.assess import options_of_folder, run_evaluation
    if options.RN_dir:
        options = options_of_folder(options)
    if options.protocol == 'gallery':
        from sge_la.gallery import run_gallery

        run_gallery(options)
        return
    run_evaluation(options)


if __name__ == '__main__':
    sys.exit(run_command(main))
