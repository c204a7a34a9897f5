"""`python -m sge_la.cost`: size and cost of the models beside the published ones."""

import sys

from sge_la.errors import run_command
from sge_la.paper.cost import main

if __name__ == '__main__':
    sys.exit(run_command(main))
