"""How a command ends: with which number, and what it says when it did not go well.

It knows errors, and nothing of the commands that they happen in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from onceread import errors
from onceread.cli.output import Output


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    NOT_ALLOWED = 6
    INTERRUPTED = 130


EXITS = (
    "Ends with 0: done; 1: failed; 2: wrong usage, or a file that can not be read; 3: no such session or snapshot; "
    "4: conflict with what is there; 5: no server, or not now; 6: the key does not allow it; 130: interrupted."
)


class Unusable(Exception):
    """What was named on the command line can not be used; the text says why, and what to do."""


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


def exit_of(error: Exception) -> Exit:
    match error:
        case errors.Missing():
            return Exit.NOT_FOUND
        case errors.Conflict() | errors.SourceMismatch():
            return Exit.CONFLICT
        case errors.NotNow() | errors.ConnectionFailed() | errors.SessionQuarantined() | errors.StoreFull():
            return Exit.UNAVAILABLE
        case errors.Denied():
            return Exit.NOT_ALLOWED
        case errors.BadRequest() | Unusable() | OSError() | ValueError():
            return Exit.USAGE
        case _:
            return Exit.FAILED


@contextmanager
def reported(output: Output) -> Iterator[None]:
    """Says what went wrong, and ends the command with its number."""
    try:
        yield
    except BrokenPipeError:
        # Whoever read this has seen enough.
        raise
    except KeyboardInterrupt:
        output.failure(Interrupted("interrupted"))
        raise typer.Exit(Exit.INTERRUPTED) from None
    except (errors.OncereadError, Unusable, OSError, ValueError) as error:
        output.failure(error)
        raise typer.Exit(exit_of(error)) from None
