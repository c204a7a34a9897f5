"""Errors that a user can cause, and how a command reports them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence


class UserError(Exception):
    """A mistake in the input, told in one sentence: what was expected, what was found, what to do."""


def run_command(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Runs a command and turns what a user can cause into one line on stderr.

    Args:
        main: takes the arguments (None: those of the process) and returns an exit status or None for 0.
        argv: arguments without the program's name.

    Returns:
        The exit status: what `main` returned, 2 for a `UserError`, 130 after Ctrl-C. Other exceptions are
        defects and keep their traceback.
    """
    try:
        return main(argv) or 0
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); there is nobody left to tell.
        sys.stderr.close()
        return 141
    except KeyboardInterrupt:
        print('stopped by Ctrl-C', file=sys.stderr)
        return 130
