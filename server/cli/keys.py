"""The commands below `keys`: create, list and revoke API keys in the keys file."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from server.cli.flags import add_flags
from server.http import api_keys
from server.http.permissions import SCOPES
from server.settings import Settings

_DAY_SECONDS = 86400


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds the commands below `keys` to their parser."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        below = commands.add_parser(name, help=help, allow_abbrev=False)
        add_flags(below, shown=False)
        return below

    making = command("create", "create a key, and the file if missing; prints the key once")
    making.add_argument("--tenant", required=True, help="tenant whose sessions the key gives access to")
    making.add_argument(
        "--scopes", default="read,ask", help=f"comma-separated scopes out of {','.join(SCOPES)} [default %(default)s]"
    )
    making.add_argument("--expires-in", type=float, metavar="DAYS", help="days until the key expires [default: never]")
    making.set_defaults(run=create)
    command("list", "list all keys, without their secrets").set_defaults(run=show)
    ending = command("revoke", "revoke a key; running servers refuse it within seconds")
    ending.add_argument("id", metavar="ID", help="the key's id, as `keys list` shows it")
    ending.set_defaults(run=revoke)


async def create(options: argparse.Namespace, settings: Settings) -> int:
    path, now = _path(settings), time.time()
    scopes = tuple(dict.fromkeys(filter(None, options.scopes.split(","))))
    expires_at = None if options.expires_in is None else now + options.expires_in * _DAY_SECONDS
    if expires_at is not None and not now < expires_at < datetime.max.replace(tzinfo=UTC).timestamp():
        raise api_keys.KeysError(f"--expires-in {options.expires_in:g} is not a positive number of days")
    with api_keys.changing(path) as known:
        changed, key, token = known.with_new(options.tenant, scopes, now, expires_at)
        api_keys.save(path, changed)
    print(f"key {key.id} of tenant {key.tenant} is in {path}; it is shown only this once:", file=sys.stderr)
    print(token)
    return 0


async def show(_: argparse.Namespace, settings: Settings) -> int:
    now = time.time()
    rows = [("ID", "TENANT", "SCOPES", "CREATED", "EXPIRES", "STATE")]
    for key in api_keys.load(_path(settings)).keys:
        created, expires = _day(key.created_at), "never" if key.expires_at is None else _day(key.expires_at)
        rows.append((key.id, key.tenant, ",".join(key.scopes), created, expires, key.state(now)))
    _print_columns(rows)
    return 0


async def revoke(options: argparse.Namespace, settings: Settings) -> int:
    path = _path(settings)
    api_keys.load(path)
    with api_keys.changing(path) as known:
        api_keys.save(path, known.without(options.id))
    print(f"key {options.id} is revoked; running servers refuse it within 5 s")
    return 0


def _path(settings: Settings) -> Path:
    if settings.keys_file is None:
        raise api_keys.KeysError(
            "no keys file is named; name it with --keys-file FILE or ONCEREAD_KEYS_FILE=FILE, as for the server"
        )
    return settings.keys_file


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
