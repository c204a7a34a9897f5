"""From raw recordings to the arrays under `Datasets/`; the command is `python -m sge_la.data.prepare`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Imports the command on first use: `python -m` wants to be the first to import it."""
    if name in ('main', 'parser'):
        from sge_la.data.prepare import __main__

        return getattr(__main__, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
