"""Every kind of store killed under load, and restarted while its clients go on.

The page cache outlives a process, so a kill is weaker than a power cut.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from reliability.check import Check, Counts, Tick
from reliability.sqlite.power import MEMORY
from reliability.stores.crowd import Crowd
from reliability.stores.process import StoreProcess
from server.store.base import Store
from server.store.open import StoreOptions, open_store
from testing.redis_binaries import available
from testing.redis_servers import RedisServer

SQLITE = "sqlite"
# Kills before the next start from an empty folder; the embedded store's process starts slowly.
KILLS = {"valkey9": 13, "valkey8": 13, "redis8": 13, "redis7": 13, SQLITE: 8}
HEARD_MAX = 60
CONTROL_KILLS = 2

Restart = Callable[[], Awaitable[None]]


@asynccontextmanager
async def killable(kind: str, folder: Path, durability: str) -> AsyncIterator[tuple[Store, Restart]]:
    """A store of this kind, and a function that kills and restarts it."""
    if kind == SQLITE:
        process = StoreProcess(f"sqlite:///{folder}")
        await process.start()

        async def restart_process() -> None:
            await process.kill()
            await process.start()

        try:
            yield cast(Store, process), restart_process
        finally:
            await process.kill()
        return
    keep = "no" if durability == "volatile" else "yes"
    with RedisServer(kind, folder, appendonly=keep, auto_aof_rewrite_min_size="200kb") as server:
        store = await open_store(server.url, StoreOptions(durability, folder / "keys"))

        async def restart_server() -> None:
            server.kill()
            await asyncio.to_thread(server.start)

        try:
            yield store, restart_server
        finally:
            await store.close()


async def life(kind: str, kills: int, seed: str, durability: str, counts: Counts, tick: Tick) -> None:
    """So many kills of a store on one folder."""
    dice = random.Random(seed)
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        async with killable(kind, Path(folder), durability) as (store, restart):
            crowd = Crowd(store, seed)
            for number in range(kills):
                async with crowd.busy():
                    await crowd.hear(dice.randint(1, HEARD_MAX))
                    await restart()
                    await crowd.hear(dice.randint(0, 10))
                for wrong in [*crowd.surprises, *await crowd.examine()]:
                    counts.wrong(f"{seed}, kill {number} of {kind}: {wrong}")
                crowd.surprises.clear()
                counts.cases += 1
                counts.add(f"kills of {kind}")
                tick(1)
            for name, amount in crowd.acknowledged.items():
                counts.add(f"acknowledged {name}", amount)
            counts.add("answers lost or refused", crowd.in_doubt)


async def lives(cases: int, seed: int, tick: Tick) -> Counts:
    counts = Counts()
    kinds = [kind for kind in KILLS if kind == SQLITE or available(kind)]
    for number, kind in enumerate(cycle(kinds)):
        if counts.cases == cases:
            break
        kills = min(KILLS[kind], cases - counts.cases)
        await life(kind, kills, f"{seed} {number}", "fsync", counts, tick)
    return counts


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(lives(cases, seed, tick))


def control(seed: int) -> Counts:
    """A Redis without an append-only file must be found to have lost acknowledged text."""
    counts = Counts()
    kind = next(kind for kind in KILLS if kind != SQLITE and available(kind))
    asyncio.run(life(kind, CONTROL_KILLS, f"{seed} control", "volatile", counts, lambda cases: None))
    return counts


CHECK = Check(
    name="store-killed",
    what="kills of every kind of store under load",
    gate_cases=300,
    long_cases=10_000,
    run=run,
    control=control,
)
