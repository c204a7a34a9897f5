#!/usr/bin/env python3
"""Trains gait encoders, then a recognition network on their encodings: `python train.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sge_la.command_line import parse_train
from sge_la.errors import run_command


def main(argv: Sequence[str] | None = None) -> None:
    options = parse_train(argv)
    from sge_la.data import load
    from sge_la.runtime import quietly

    dataset = load(
        options.dataset,
        options.length,
        options.data_dir,
        view=options.view,
        tests=(options.probe,) if options.probe else None,
    )
    with quietly():  # TensorFlow takes seconds, so a wrong flag or a missing file is told before
        from sge_la.experiment import run_training
        from sge_la.repeats import run_repeats
    (run_repeats if options.runs > 1 else run_training)(options, dataset)


if __name__ == '__main__':
    sys.exit(run_command(main))
