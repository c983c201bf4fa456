"""`onceread read`: files into a session, with progress; resumes after an interrupt."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from onceread import errors
from onceread._sync.client import Onceread
from onceread._sync.session import Session
from onceread.cli import input_files, progress
from onceread.cli.exit_codes import UsageError, reported
from onceread.cli.options import Json, address
from onceread.cli.output import Output


def read(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Files, or - for standard input.")],
    session: Annotated[str | None, typer.Option(help="Append to this session; made if it does not exist.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="SESSION", help="Resume an interrupted read of the same files.")
    ] = None,
    at: Annotated[
        int, typer.Option(min=0, help="With --resume: the offset in the session's text at which these files begin.")
    ] = 0,
    title: Annotated[
        str | None, typer.Option(help="Title of a new session; the name of the first file by default.")
    ] = None,
    document: Annotated[str | None, typer.Option(help="The document of the session that the files belong to.")] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of the files.")] = "utf-8",
    plain: Annotated[
        bool, typer.Option("--plain", help="Read .md, .html, .epub, .pdf and .docx files as plain text.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until all text has been read, not only until it is durable.")] = True,
    json: Json = False,
) -> None:
    """Read files into a session, in the given order, and show progress.

    The text of .md, .html, .epub, .pdf and .docx files is extracted.

    Ctrl-C leaves a session that --resume finishes: durable text is not sent again.
    """
    output = Output(json)
    with reported(output), address(context).client() as client:
        if resume is not None and session is not None:
            raise UsageError("give either --session, to append to it, or --resume, to finish an interrupted read")
        output.note(f"checking {', '.join(map(str, files))}")
        source = input_files.source(files, encoding, plain)
        try:
            found = client.sessions.get(resume) if resume else _get_or_create(client, session, title, files)
            begin = at if resume else found.info.text.accepted_bytes
            output.note(f"session {found.id}")
            try:
                with progress.progress_view(output, files[0].name) as view:
                    final = found.read(source, at=begin, document=document, wait=wait, progress=view)
            except (KeyboardInterrupt, errors.ConnectionFailed, errors.NotNow):
                command = _resume_command(found.id, begin, files, context.params)
                output.unfinished({"session": found.id, "at": begin, "command": command}, f"to resume: {command}")
                raise
        finally:
            source.close()
        facts: dict[str, Any] = {"session": found.id, "at": begin, "receipt": found.receipt, "progress": final}
        verb = "read" if wait else "durable"
        output.result(facts, f"{found.id}: {final.accepted_bytes:,} bytes {verb}, {final.tokens:,} tokens")
        output.note(f"to ask it: onceread ask {found.id}")


def _get_or_create(client: Onceread, id: str | None, title: str | None, files: list[Path]) -> Session:
    name = "standard input" if files[0] == input_files.STANDARD_INPUT else files[0].stem
    metadata = {"title": (title or name)[:512]}
    if id is None:
        return client.sessions.create(metadata=metadata)
    try:
        return client.sessions.get(id)
    except errors.SessionNotFound:
        return client.sessions.create(id=id, metadata=metadata)


def _resume_command(id: str, at: int, files: list[Path], options: dict[str, Any]) -> str:
    """The command that resumes this one."""
    words = ["onceread", "read", "--resume", id]
    words += ["--at", str(at)] if at else []
    words += ["--document", options["document"]] if options["document"] else []
    words += ["--encoding", options["encoding"]] if options["encoding"] != "utf-8" else []
    words += ["--plain"] if options["plain"] else []
    return shlex.join([*words, *map(str, files)])
