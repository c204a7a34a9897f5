#!/usr/bin/env python3
"""Scores a trained recognition network: `python evaluate.py --help`."""

import sys

from sge_la.commands import evaluate as main
from sge_la.errors import run_command

if __name__ == '__main__':
    sys.exit(run_command(main))
