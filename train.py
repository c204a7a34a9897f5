#!/usr/bin/env python3
"""Trains gait encoders, then a recognition network on their encodings: `python train.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sge_la.errors import run_command
from sge_la.settings.command_line import parse_train
from sge_la.settings.papers import protocol_of


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_train(argv)
    if options.figures:
        _require_matplotlib()
    from sge_la.backends.runtime import quietly
    from sge_la.data.casia_b import load_for
    from sge_la.paper import casia_b_command

    if protocol_of(options):
        casia_b_command.train(options)
        return
    dataset = load_for(options)
    with quietly():  # TensorFlow takes seconds, so a wrong flag or a missing file is told before
        from sge_la.runs.states import saying_how_to_go_on
        from sge_la.training.pipeline import run_repeats, run_training
    with saying_how_to_go_on(options.overwrite):
        (run_repeats if options.runs > 1 else run_training)(options, dataset)
    if options.figures:
        from sge_la.reporting.run_figures import show_run

        show_run(options)


def _require_matplotlib() -> None:
    from sge_la.reporting.figures import require_matplotlib

    require_matplotlib()  # before hours of training


if __name__ == '__main__':
    sys.exit(run_command(main))
