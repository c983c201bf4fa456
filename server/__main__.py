"""`python -m server`: reads the settings, then serves or runs one of the other commands."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from server.cli import keys, stores
from server.cli.flags import add_flags, flags_of
from server.http.auth import must_be_guarded
from server.http.browser_guard import BrowserGuard
from server.observability import logs
from server.settings import Settings, SettingsError
from server.store.base import StoreError

Command = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]


def main() -> int:
    options = _parser().parse_args()
    command: Command = options.run
    try:
        settings = Settings.from_environment(os.environ, flags_of(options))
    except SettingsError as error:
        print(f"onceread: {error}", file=sys.stderr)
        return 2
    logs.begin(settings.log_format, settings.log_level)
    try:
        return asyncio.run(command(options, settings))
    except (StoreError, ValueError, OSError) as error:
        print(f"onceread: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        usage="%(prog)s [--SETTING VALUE ...] [COMMAND]",
        description="Serves sessions over HTTP. Each setting is a flag and an environment variable; the flag wins.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=34, width=120),
        allow_abbrev=False,
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="python -m server")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        below = commands.add_parser(name, help=help, allow_abbrev=False)
        add_flags(below, shown=False)
        return below

    command("serve", "serve over HTTP (the default)").set_defaults(run=_serve)
    command("doctor", "check that the store meets the configured durability").set_defaults(run=stores.examine)
    command("rotate-seal-key", "add a new encryption key for stored values").set_defaults(run=stores.rotate)
    keys.add_to(command("keys", "create, list and revoke API keys"))
    add_flags(parser)
    return parser


async def _serve(_: argparse.Namespace, settings: Settings) -> int:
    must_be_guarded(settings)
    # Refuses invalid hosts and origins before the weights are loaded.
    BrowserGuard.of(settings)
    # Read by OpenMP when torch is loaded: threads that wait for the model's next step sleep, and leave the event loop
    # the core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Imported here: torch takes seconds to load, and the other commands do not need it.
    from server.cli.serve import serve

    return await serve(settings)


if __name__ == "__main__":
    sys.exit(main())
