#!/usr/bin/env python3
"""Trains gait encoders, then a recognition network on their encodings: `python train.py --help`."""

import sys

from sge_la.commands import train as main
from sge_la.errors import run_command

if __name__ == '__main__':
    sys.exit(run_command(main))
