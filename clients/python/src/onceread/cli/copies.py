"""`onceread fork`, `snapshot`, `save` and `load`: copies of a memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onceread._sync.session import Session
from onceread.cli.exit_codes import UsageError, reported
from onceread.cli.options import Json, SessionName, address
from onceread.cli.output import Output, size

NewId = Annotated[str | None, typer.Option("--id", help="Id of the new session; a random one by default.")]


def fork(
    context: typer.Context,
    session: SessionName,
    id: NewId = None,
    snapshot: Annotated[str | None, typer.Option(help="Fork this snapshot instead of the current memory.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of the new session.")] = None,
    json: Json = False,
) -> None:
    """Make a new session with the memory of another."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        source = client.sessions.get(session)
        metadata = None if title is None else {**source.metadata, "title": title}
        copy = source.fork(id=id, metadata=metadata, snapshot=snapshot)
        output.result(copy.info, copy.id)


def snapshot(
    context: typer.Context,
    session: SessionName,
    name: Annotated[str | None, typer.Argument(help="Name of the snapshot; without one, all are listed.")] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Go back to the snapshot; text that came after it is deleted.")
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the snapshot.")] = False,
    json: Json = False,
) -> None:
    """Take, restore, delete or list snapshots of a session."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        if (restore and delete) or ((restore or delete) and name is None):
            raise UsageError("name one snapshot, and either --restore or --delete")
        found = client.sessions.get(session)
        if name is None:
            _list(output, found)
        elif restore:
            output.result(found.restore(name), f"{session} is back at {name}")
        elif delete:
            found.delete_snapshot(name)
            output.result({"session": session, "name": name, "deleted": True}, f"deleted {name}")
        else:
            kept = found.snapshot(name)
            output.result(kept, f"{name}: {kept.offset:,} bytes of text, {kept.tokens:,} tokens")


def _list(output: Output, session: Session) -> None:
    kept = session.snapshots()
    if output.json:
        output.line(kept)
    elif kept:
        rows = ([one.name, size(one.offset), f"{one.tokens:,}"] for one in kept)
        output.rows(("snapshot", "bytes", "tokens"), rows)
    else:
        output.note(f"{session.id} has no snapshots; onceread snapshot {session.id} NAME takes one")


def save(
    context: typer.Context,
    session: SessionName,
    file: Annotated[Path, typer.Argument(help="File to write; an existing one is replaced.")],
    json: Json = False,
) -> None:
    """Write a session's memory to a safetensors file."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        found = client.sessions.get(session)
        found.save(file)
        written = file.stat().st_size
        output.result({"session": session, "file": str(file), "bytes": written}, f"{file}: {size(written)}")


def load(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file that `save` wrote.")],
    id: NewId = None,
    json: Json = False,
) -> None:
    """Make a new session with a memory from a file; the server must have the same weights."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        session = client.sessions.load(file, id=id)
        output.result(session.info, session.id)
