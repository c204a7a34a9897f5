#!/usr/bin/env python3
"""Trains gait encoders, then a recognition network on their encodings: `python train.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sge_la.casia_b.protocols import protocol_of
from sge_la.command_line import parse_train
from sge_la.errors import run_command


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_train(argv)
    if options.figures:
        _require_matplotlib()
    from sge_la.casia_b import command as casia_b
    from sge_la.casia_b.loading import load_for
    from sge_la.runtime import quietly

    if protocol_of(options):
        casia_b.train(options)
        return
    dataset = load_for(options)
    with quietly():  # TensorFlow takes seconds, so a wrong flag or a missing file is told before
        from sge_la.experiment import run_training
        from sge_la.repeats import run_repeats
        from sge_la.stages import saying_how_to_go_on
    with saying_how_to_go_on(options.overwrite):
        (run_repeats if options.runs > 1 else run_training)(options, dataset)
    if options.figures:
        from sge_la.pictures import show_run

        show_run(options)


def _require_matplotlib() -> None:
    from sge_la.figures import require_matplotlib

    require_matplotlib()  # before hours of training


if __name__ == '__main__':
    sys.exit(run_command(main))
