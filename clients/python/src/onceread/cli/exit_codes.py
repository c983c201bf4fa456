"""The exit codes of the commands, and the report of an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from onceread import errors
from onceread.cli.output import Output


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNAVAILABLE = 5
    NOT_ALLOWED = 6
    INTERRUPTED = 130


EXIT_CODES = (
    "Exit codes: 0: done; 1: failed; 2: wrong usage, or a file that cannot be read; 3: no such session or snapshot; "
    "4: conflict with the stored state; 5: no server, or not ready; 6: not allowed by the key; 130: interrupted."
)


class UsageError(Exception):
    """An argument that cannot be used; the text says why, and what to do."""


class Interrupted(Exception):
    """Ctrl-C was pressed."""


def exit_code(error: Exception) -> ExitCode:
    match error:
        case errors.Missing():
            return ExitCode.NOT_FOUND
        case errors.Conflict() | errors.SourceMismatch():
            return ExitCode.CONFLICT
        case errors.NotNow() | errors.ConnectionFailed() | errors.SessionQuarantined() | errors.StoreFull():
            return ExitCode.UNAVAILABLE
        case errors.Denied():
            return ExitCode.NOT_ALLOWED
        case errors.BadRequest() | UsageError() | OSError() | ValueError():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED


@contextmanager
def reported(output: Output) -> Iterator[None]:
    """Prints an error, and ends the command with its exit code."""
    try:
        yield
    except BrokenPipeError:
        # The reader of standard output has closed it, as `head` does: no error to report.
        raise
    except KeyboardInterrupt:
        output.failure(Interrupted("interrupted"))
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (errors.OncereadError, UsageError, OSError, ValueError) as error:
        output.failure(error)
        raise typer.Exit(exit_code(error)) from None
