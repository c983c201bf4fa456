"""The command `onceread`: its subcommands and the options that they share."""

from __future__ import annotations

from typing import Annotated

import typer

from onceread.cli import ask, copies, read, serve_check, sessions, watch
from onceread.cli.exit_codes import EXIT_CODES
from onceread.cli.options import Address
from onceread.connection_config import DEFAULT_URL, VERSION

app = typer.Typer(
    name="onceread",
    help="Read texts of any length into sessions of an Onceread server, and ask questions about them.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onceread-client {VERSION}")
        raise typer.Exit


@app.callback()
def shared(
    context: typer.Context,
    url: Annotated[
        str | None, typer.Option(envvar="ONCEREAD_URL", show_default=DEFAULT_URL, help="Address of the server.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="ONCEREAD_API_KEY", show_envvar=True, help="API key of the server.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = Address(url, api_key)


for name, command in (
    ("serve-check", serve_check.serve_check),
    ("read", read.read),
    ("ask", ask.ask),
    ("sessions", sessions.sessions),
    ("rm", sessions.rm),
    ("fork", copies.fork),
    ("snapshot", copies.snapshot),
    ("save", copies.save),
    ("load", copies.load),
    ("watch", watch.watch),
):
    app.command(name, epilog=EXIT_CODES)(command)
