"""`python -m sge_la.compare`: the paper's comparison table with our numbers."""

import sys

from sge_la.errors import run_command
from sge_la.paper.comparison import main

if __name__ == '__main__':
    sys.exit(run_command(main))
