"""Tenants with sessions of the same names share few connections, and calls are cancelled at any moment.

No call may return another session's data, and no connection may leak.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from redis.asyncio.connection import Connection

from reliability.check import Check, Counts, Tick
from reliability.sqlite.power import MEMORY
from reliability.tenants.session import Session, Wrong
from server.store import StoreOptions, open_store
from server.store import open as opening
from server.store.base import SessionKey, Store
from server.store.redis import RedisStore
from testing.redis_binaries import require
from testing.redis_servers import RedisServer, until

TENANTS = ("acme", "other", "third", "acme/b")
IDS = ("a", "b", "book")
# Size of each of the store's two connection pools; small, so that all sessions share them.
CONNECTIONS = 6
ROUND_OPERATIONS = 500
KINDS = ("Redis", "Redis", "Redis", "Redis", "SQLite")
CANCELLED_SHARE = 0.4
PATIENCE_SECONDS = 0.004
CONTROL_OPERATIONS = 5_000


class Round:
    """New sessions of all tenants, each with a writer and a reader, for a number of calls."""

    def __init__(self, seed: str, store: Store, number: int, operations: int, counts: Counts, tick: Tick) -> None:
        self._dice = random.Random(seed)
        self._store, self._left, self._counts, self._tick = store, operations, counts, tick
        keys = [SessionKey(tenant, f"{id} {number}") for tenant in TENANTS for id in IDS]
        self.sessions = {key: Session(key, self._dice.randrange(1 << 30)) for key in keys}

    async def go(self) -> None:
        for session in self.sessions.values():
            await self._judged(self._store.create(session.record))
        await asyncio.gather(
            *(asker for session in self.sessions.values() for asker in (self._write(session), self._read(session)))
        )
        for session in self.sessions.values():
            await self._judged(session.is_whole(self._store))
        for key in self.sessions:
            await self._judged(self._store.delete(key))

    async def _write(self, session: Session) -> None:
        while self._takes_one():
            if self._dice.random() < 0.7:
                await self._ask("appends", session.append(self._store, self._dice))
            else:
                await self._ask("checkpoints", session.checkpoint(self._store, self._dice))

    async def _read(self, session: Session) -> None:
        siblings = {key: other for key, other in self.sessions.items() if key.tenant == session.key.tenant}
        while self._takes_one():
            match self._dice.choice(("journals", "journals", "records", "recoveries", "lists")):
                case "journals":
                    await self._ask("journals", session.journal(self._store, self._dice))
                case "records":
                    await self._ask("records", session.get(self._store))
                case "recoveries":
                    await self._ask("recoveries", session.recover(self._store))
                case "lists":
                    await self._ask("lists", _list(self._store, siblings))

    def _takes_one(self) -> bool:
        self._left -= 1
        return self._left >= 0

    async def _ask(self, name: str, asked: Awaitable[None]) -> None:
        """Waits for the call, or cancels it after a moment; if that comes too late, the answer is checked."""
        self._counts.cases += 1
        self._counts.add(name)
        self._tick(1)
        task = asyncio.ensure_future(self._judged(asked))
        if self._dice.random() < CANCELLED_SHARE:
            await asyncio.wait([task], timeout=self._dice.random() * PATIENCE_SECONDS)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        self._counts.add("cancelled", task.cancelled())

    async def _judged(self, asked: Awaitable[None]) -> None:
        try:
            await asked
        except Wrong as wrong:
            self._counts.wrong(str(wrong))
        except Exception as error:
            self._counts.wrong(f"{type(error).__name__}: {error}")


async def _list(store: Store, siblings: dict[SessionKey, Session]) -> None:
    before = {key: session.acknowledged for key, session in siblings.items()}
    listed = await store.list_sessions(next(iter(siblings)).tenant, 2 * len(siblings))
    for record in listed:
        if record.key not in siblings:
            raise Wrong(f"{record.key} is listed for {next(iter(siblings)).tenant}")
        siblings[record.key].check(record, before[record.key])
    if len(listed) != len(siblings):
        raise Wrong(f"{len(listed)} of {len(siblings)} sessions are listed")


def _sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


def leaks(store: Store) -> list[str]:
    """Tasks and connections that are still in use although no call is in flight."""
    found = [f"{task.get_name()} still runs" for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if isinstance(store, RedisStore):
        for link in (store._link, store._bulk):
            topology: Any = link._topology
            if link._free._value != CONNECTIONS:
                found.append(f"{CONNECTIONS - link._free._value} connections are never released")
            if held := len(topology._pool._in_use_connections):
                found.append(f"{held} connections were not returned to the pool")
    return found


async def rounds(cases: int, seed: int, tick: Tick) -> Counts:
    counts = Counts()
    with (
        TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root,
        mock.patch.object(opening, "CONNECTIONS", CONNECTIONS),
        RedisServer(require("valkey9"), Path(root) / "valkey", appendonly="no") as server,
    ):
        async with opened(server, Path(root)) as stores:
            sockets = _sockets()
            for number in range(-(-cases // ROUND_OPERATIONS)):
                kind, operations = KINDS[number % len(KINDS)], min(ROUND_OPERATIONS, cases - counts.cases)
                await Round(f"{seed} {number}", stores[kind], number, operations, counts, tick).go()
                counts.add(f"operations on {kind}", operations)
                for leak in leaks(stores[kind]):
                    counts.wrong(f"round {number}: {leak}")
                if (more := _sockets() - sockets - 2 * CONNECTIONS) > 0:
                    counts.wrong(f"round {number}: {more} sockets more than there are connections")
    return counts


@asynccontextmanager
async def opened(server: RedisServer, root: Path) -> AsyncIterator[dict[str, Store]]:
    stores = {
        "Redis": await open_store(server.url, StoreOptions(durability="volatile", keys_file=root / "seal.keys")),
        "SQLite": await open_store(f"sqlite:///{root}/data"),
    }
    try:
        yield stores
    finally:
        for store in stores.values():
            await store.close()
    until(lambda: server.command("INFO", "clients")["connected_clients"] == 1, "all connections are closed")


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(rounds(cases, seed, tick))


async def _nothing_left(connection: Connection) -> bool:
    return False


def _only_when_closed(disconnect: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def disconnected(connection: Connection, nowait: bool = False, **options: Any) -> None:
        # `nowait` is the disconnect of a cancelled call.
        if not nowait:
            await disconnect(connection, nowait, **options)

    return disconnected


def control(seed: int) -> Counts:
    """If a connection is reused with unread responses of a cancelled call, some caller must get a wrong response."""
    with (
        mock.patch.object(Connection, "disconnect", _only_when_closed(Connection.disconnect)),
        mock.patch.object(Connection, "can_read", _nothing_left),
    ):
        return run(CONTROL_OPERATIONS, seed, lambda cases: None)


CHECK = Check(
    name="tenants",
    what="store calls of several tenants on shared connections, many cancelled",
    gate_cases=10_000,
    long_cases=1_000_000,
    run=run,
    control=control,
)
