"""`onceread sessions` and `onceread rm`: list and delete sessions."""

from __future__ import annotations

import sys
from itertools import islice
from typing import Annotated

import typer

from onceread.cli.exit_codes import reported
from onceread.cli.options import Json, address
from onceread.cli.output import SESSION_COLUMNS, Output, session_row


def sessions(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of sessions.")] = 20,
    json: Json = False,
) -> None:
    """List sessions, newest first."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        found = [session.info for session in islice(client.sessions.list(), limit)]
        if json:
            output.line(found)
        elif found:
            output.rows(SESSION_COLUMNS, map(session_row, found))
        else:
            output.note("there are no sessions yet; onceread read FILE makes one")


def rm(
    context: typer.Context,
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION…", help="Ids of sessions.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json: Json = False,
) -> None:
    """Delete sessions with their texts, memories and snapshots. At a terminal it asks for confirmation."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        found = [client.sessions.get(id) for id in sessions]
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Delete {', '.join(sessions)} for good?", abort=True)
        for session in found:
            session.delete()
        output.result([{"id": session.id, "deleted": True} for session in found], f"deleted {', '.join(sessions)}")
