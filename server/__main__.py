"""`python -m server`: reads the command line and the settings, and serves; or does another of its commands.

It knows the commands by name, and nothing of their work.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from server.cli import keys, stores
from server.http.auth import must_be_guarded
from server.observability import logs
from server.settings import Settings, SettingsError, table
from server.store.base import StoreError

Command = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]


def main() -> int:
    options = _parser().parse_args()
    command: Command = options.run
    try:
        settings = Settings.from_environment(os.environ)
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
        description="Serves sessions over HTTP.",
        epilog=f"settings, from the environment:\n{table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("serve", help="serves; what it does by itself").set_defaults(run=_serve)
    commands.add_parser("doctor", help="says whether the store keeps what is promised of it").set_defaults(
        run=stores.examine
    )
    commands.add_parser(
        "rotate-seal-key", help="puts a new key in front of the keys that values are sealed with"
    ).set_defaults(run=stores.rotate)
    keys.add_to(commands.add_parser("keys", help="makes, shows and revokes the keys of those who may use the server"))
    return parser


async def _serve(_: argparse.Namespace, settings: Settings) -> int:
    must_be_guarded(settings)
    # Only here: what the application stands on takes seconds to load.
    from server.cli.serve import serve

    return await serve(settings)


if __name__ == "__main__":
    sys.exit(main())
