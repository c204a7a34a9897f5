"""`python -m sge_la.ablation`: rows of the IJCAI paper's ablation beside its numbers."""

import sys

from sge_la.errors import run_command
from sge_la.paper.ablation import main

if __name__ == '__main__':
    sys.exit(run_command(main))
