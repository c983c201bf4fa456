"""`onceread watch`: sessions and how fast they are read, as it changes.

It knows two looks at the same sessions and the time between them, and nothing of what they read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Annotated, NamedTuple

import typer
from rich.live import Live
from rich.table import Table

from onceread._sync.client import Onceread
from onceread.cli.exits import reported
from onceread.cli.output import SESSION_COLUMNS, Output, session_row, table
from onceread.cli.server import Json, address
from onceread.results import SessionInfo


class Look(NamedTuple):
    """The newest sessions at a moment of a monotonic clock; how many tokens a second each has read since the last."""

    at: float
    sessions: list[SessionInfo]
    tokens_per_second: dict[str, float]


def watch(
    context: typer.Context,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    limit: Annotated[int, typer.Option(min=1, help="How many sessions, newest first.")] = 20,
    looks: Annotated[int | None, typer.Option(min=1, help="End after so many; left out: at Ctrl-C.")] = None,
    json: Json = False,
) -> None:
    """Shows sessions and how fast they are read, again and again, until Ctrl-C; with --json a line a look."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        try:
            following = islice(_looks(client, limit, every), looks)
            if json:
                for look in following:
                    output.line({"sessions": look.sessions, "tokens_per_second": look.tokens_per_second})
                return
            with Live(console=output.results, auto_refresh=False) as live:
                for look in following:
                    live.update(_shown(look), refresh=True)
        except KeyboardInterrupt:
            # That is how one stops watching.
            return


def _looks(client: Onceread, limit: int, every_seconds: float) -> Iterator[Look]:
    last = None
    for number in count():
        if number:
            time.sleep(every_seconds)
        sessions = [session.info for session in islice(client.sessions.list(), limit)]
        last = _compared(Look(time.monotonic(), sessions, {}), last)
        yield last


def _compared(look: Look, last: Look | None) -> Look:
    before = {} if last is None else {info.id: info.text.tokens for info in last.sessions}
    seconds = 1.0 if last is None else look.at - last.at
    return look._replace(
        tokens_per_second={
            info.id: max(0.0, round((info.text.tokens - before.get(info.id, info.text.tokens)) / seconds, 1))
            for info in look.sessions
        }
    )


def _shown(look: Look) -> Table:
    total = sum(look.tokens_per_second.values())
    rows = ([*session_row(info), f"{look.tokens_per_second[info.id]:,.0f}"] for info in look.sessions)
    title = f"{len(look.sessions)} sessions, {total:,.0f} tokens/s"
    return table((*SESSION_COLUMNS, "tokens/s"), rows, title)
