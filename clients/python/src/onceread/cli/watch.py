"""`onceread watch`: the newest sessions and how fast they are read, refreshed until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Annotated, NamedTuple

import typer
from rich.live import Live
from rich.table import Table

from onceread._sync.client import Onceread
from onceread.cli.exit_codes import reported
from onceread.cli.options import Json, address
from onceread.cli.output import SESSION_COLUMNS, Output, session_row, table
from onceread.results import SessionInfo


class SessionsSample(NamedTuple):
    """The newest sessions at a time of the monotonic clock, and the tokens per second of each since the last sample."""

    at: float
    sessions: list[SessionInfo]
    tokens_per_second: dict[str, float]


def watch(
    context: typer.Context,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two updates.")] = 1.0,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of sessions.")] = 20,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many updates; at Ctrl-C by default.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the newest sessions and how fast they are read, until Ctrl-C; with --json one line per update."""
    output = Output(json)
    with reported(output), address(context).client() as client:
        try:
            following = islice(_samples(client, limit, every), updates)
            if json:
                for sample in following:
                    output.line({"sessions": sample.sessions, "tokens_per_second": sample.tokens_per_second})
                return
            with Live(console=output.results, auto_refresh=False) as live:
                for sample in following:
                    live.update(_shown(sample), refresh=True)
        except KeyboardInterrupt:
            # Ctrl-C is the way to stop watching.
            return


def _samples(client: Onceread, limit: int, every_seconds: float) -> Iterator[SessionsSample]:
    last = None
    for number in count():
        if number:
            time.sleep(every_seconds)
        sessions = [session.info for session in islice(client.sessions.list(), limit)]
        last = _with_rates(SessionsSample(time.monotonic(), sessions, {}), last)
        yield last


def _with_rates(sample: SessionsSample, last: SessionsSample | None) -> SessionsSample:
    before = {} if last is None else {info.id: info.text.tokens for info in last.sessions}
    seconds = 1.0 if last is None else sample.at - last.at
    return sample._replace(
        tokens_per_second={
            info.id: max(0.0, round((info.text.tokens - before.get(info.id, info.text.tokens)) / seconds, 1))
            for info in sample.sessions
        }
    )


def _shown(sample: SessionsSample) -> Table:
    total = sum(sample.tokens_per_second.values())
    rows = ([*session_row(info), f"{sample.tokens_per_second[info.id]:,.0f}"] for info in sample.sessions)
    title = f"{len(sample.sessions)} sessions, {total:,.0f} tokens/s"
    return table((*SESSION_COLUMNS, "tokens/s"), rows, title)
