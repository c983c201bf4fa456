"""The command line as a whole: its commands, and the options that they share.

It knows every command by name, and nothing of what they do.
"""

from __future__ import annotations

from typing import Annotated

import typer

from onceread.cli import asking, checking, copying, listing, reading, watching
from onceread.cli.exits import EXITS
from onceread.cli.server import Address
from onceread.settings import DEFAULT_URL, VERSION

app = typer.Typer(
    name="onceread",
    help="Reads texts of any length into sessions of a Onceread server, and asks them.",
    epilog=EXITS,
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
        str | None, typer.Option(envvar="ONCEREAD_URL", show_default=DEFAULT_URL, help="The server's address.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="ONCEREAD_API_KEY", show_envvar=True, help="The key that the server asks for.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Says it.")] = False,
) -> None:
    context.obj = Address(url, api_key)


for name, command in (
    ("serve-check", checking.serve_check),
    ("read", reading.read),
    ("ask", asking.ask),
    ("sessions", listing.sessions),
    ("rm", listing.rm),
    ("fork", copying.fork),
    ("snapshot", copying.snapshot),
    ("save", copying.save),
    ("load", copying.load),
    ("watch", watching.watch),
):
    app.command(name, epilog=EXITS)(command)
