"""`onceread read`: files into a session, with progress, and on from where it was interrupted.

It knows what is typed and shown; sending, and going on after breaks, is the client's business.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from onceread import errors
from onceread._sync.client import Onceread
from onceread._sync.session import Session
from onceread.cli import progress, texts
from onceread.cli.exits import Unusable, reported
from onceread.cli.output import Output
from onceread.cli.server import Json, address


def read(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files, or - for standard input.")],
    session: Annotated[
        str | None, typer.Option(help="Read into this session, behind its text; it is made where there is none.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Go on with a reading of the same files that broke off.")
    ] = None,
    at: Annotated[
        int, typer.Option(min=0, help="With --resume: the offset in the session's text where these files begin.")
    ] = 0,
    title: Annotated[str | None, typer.Option(help="A new session's title; left out, the first file's name.")] = None,
    encoding: Annotated[str, typer.Option(help="How the files' text is encoded; it is sent as UTF-8.")] = "utf-8",
    plain: Annotated[
        bool, typer.Option("--plain", help="Take .md, .html, .epub and .pdf as they are, as plain text.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until all has been read, not only kept.")] = True,
    json: Json = False,
) -> None:
    """Reads files into a session, one behind the other, and shows how far it is.

    Plain text is taken as it is; of .md, .html, .epub and .pdf files the text is taken. Ctrl-C leaves a session that
    --resume finishes: what is durable is not sent again.
    """
    output = Output(json)
    with reported(output), address(context).client() as client:
        if resume is not None and session is not None:
            raise Unusable("give either --session, to read behind its text, or --resume, to finish what broke off")
        output.note(f"looking at {', '.join(path.name for path in files)}")
        source = texts.source(files, encoding, plain)
        try:
            found = client.sessions.get(resume) if resume else _found_or_made(client, session, title, files)
            begin = at if resume else found.info.text.accepted_bytes
            output.note(f"session {found.id}")
            try:
                with progress.shown(output, files[0].name) as show:
                    final = found.read(source, at=begin, wait=wait, progress=show)
            except (KeyboardInterrupt, errors.ConnectionFailed, errors.NotNow):
                command = _again(found.id, begin, files, context.params)
                output.unfinished({"session": found.id, "at": begin, "command": command}, f"to finish it: {command}")
                raise
        finally:
            source.close()
        told: dict[str, Any] = {"session": found.id, "at": begin, "receipt": found.receipt, "progress": final}
        verb = "read" if wait else "kept"
        output.result(told, f"{found.id}: {final.accepted_bytes:,} bytes {verb}, {final.tokens:,} tokens")
        output.note(f"ask it: onceread ask {found.id}")


def _found_or_made(client: Onceread, id: str | None, title: str | None, files: list[Path]) -> Session:
    name = "standard input" if files[0] == texts.STANDARD_INPUT else files[0].stem
    metadata = {"title": (title or name)[:512]}
    if id is None:
        return client.sessions.create(metadata=metadata)
    try:
        return client.sessions.get(id)
    except errors.SessionNotFound:
        return client.sessions.create(id=id, metadata=metadata)


def _again(id: str, at: int, files: list[Path], options: dict[str, Any]) -> str:
    """The command that goes on from here."""
    words = ["onceread", "read", "--resume", id]
    words += ["--at", str(at)] if at else []
    words += ["--encoding", options["encoding"]] if options["encoding"] != "utf-8" else []
    words += ["--plain"] if options["plain"] else []
    return shlex.join([*words, *map(str, files)])
