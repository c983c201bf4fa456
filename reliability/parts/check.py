"""Stores killed while memories of megabytes are checkpointed, forked, kept, restored, redacted and deleted.

After each kill, every part of every memory must load. At the end of a life all sessions are deleted, and nothing of
them may be left.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from reliability.check import Check, Counts, Tick
from reliability.parts.family import Family
from reliability.parts.left import left_in_redis, left_in_sqlite, unneeded_in_sqlite
from reliability.sqlite.power import MEMORY
from reliability.stores.process import StoreProcess
from server.store.base import Store
from server.store.open import StoreOptions
from testing.redis_binaries import require
from testing.redis_servers import RedisServer

GUARDED, UNGUARDED = "reliability.stores.process", ("reliability.parts.unguarded", "reliability.parts.leaking")
SQLITE, VALKEY = "SQLite", "Valkey"
KINDS = (SQLITE, VALKEY)
# Kills before all sessions are deleted and a new life begins in an empty folder.
KILLS = 6
FAMILIES = 2
DONE_MAX, DELAY_SECONDS_MAX = 20, 0.05
SWEEP_SECONDS = 3600
CONTROL_KILLS, CONTROL_LIVES_MAX = 4, 10

Kill = Callable[[random.Random], Awaitable[None]]
Left = Callable[[], list[str]]


@asynccontextmanager
async def killable(kind: str, folder: Path, module: str) -> AsyncIterator[tuple[Store, Kill, Left]]:
    """A store of this kind in a process, how to kill and restart it, and what is left in it once that has ended."""
    if kind == SQLITE:
        process = StoreProcess(f"sqlite:///{folder}", module=module)
        await process.start()
        try:
            yield cast(Store, process), _restarting(process), lambda: left_in_sqlite(folder)
        finally:
            await process.kill()
        return
    with RedisServer(require("valkey9"), folder) as server:
        process = StoreProcess(server.url, StoreOptions(keys_file=folder / "keys"), module=module)
        await process.start()
        again = _restarting(process)

        async def kill(dice: random.Random) -> None:
            if dice.random() < 0.5:
                await again(dice)
            else:
                server.kill()
                await asyncio.to_thread(server.start)

        try:
            yield cast(Store, process), kill, lambda: left_in_redis(server)
        finally:
            await process.kill()


def _restarting(process: StoreProcess) -> Kill:
    async def kill(_: random.Random) -> None:
        await process.kill()
        await process.start()

    return kill


async def life(kind: str, kills: int, seed: str, counts: Counts, tick: Tick, module: str) -> None:
    """So many kills of a store on one folder, and then its sessions' end."""
    dice = random.Random(seed)
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        async with killable(kind, Path(folder), module) as (store, kill, left):
            families = [Family(store, f"{number}", random.Random(f"{seed} {number}")) for number in range(FAMILIES)]
            for number in range(kills):
                await killed(families, dice, kill)
                for family in families:
                    counts.add("parts compared", await family.examine())
                    for wrong in family.wrong:
                        counts.wrong(f"{seed}, kill {number} of {kind}: {wrong}")
                counts.cases += 1
                counts.add(f"kills of {kind}")
                tick(1)
                if counts.violations:
                    # The model is not what the store has any more.
                    return
            if kind == SQLITE:
                await store.close()
                counts.violations += [f"{seed}, {kind}: {what}" for what in unneeded_in_sqlite(Path(folder))]
                await kill(dice)
            for family in families:
                await family.end()
                for name, amount in family.done.items():
                    counts.add(f"acknowledged {name}", amount)
            await store.expire(time.time() + SWEEP_SECONDS)
            await store.close()
            counts.violations += [f"{seed}, at the end of {kind}: {what}" for what in left()]


async def killed(families: Sequence[Family], dice: random.Random, kill: Kill) -> None:
    """Kills the store at a random moment while the families are changed."""
    answers = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(family.work(answers)) for family in families]
    heard = asyncio.create_task(_hear(answers, dice.randint(1, DONE_MAX)))
    await asyncio.wait([heard, *tasks], return_when=asyncio.FIRST_COMPLETED)
    heard.cancel()
    await asyncio.sleep(dice.uniform(0, DELAY_SECONDS_MAX))
    for family in families:
        family.stopping = True
    await kill(dice)
    await asyncio.gather(*tasks)


async def _hear(answers: asyncio.Semaphore, number: int) -> None:
    for _ in range(number):
        await answers.acquire()


async def lives(cases: int, seed: int, tick: Tick) -> Counts:
    counts = Counts()
    for number, kind in enumerate(cycle(KINDS)):
        if counts.cases == cases or counts.violations:
            break
        await life(kind, min(KILLS, cases - counts.cases), f"{seed} {number}", counts, tick, GUARDED)
    return counts


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(lives(cases, seed, tick))


def control(seed: int) -> Counts:
    """A store that frees parts without looking at its loans, and one that frees none, must both be found."""
    found = []
    for module in UNGUARDED:
        counts = Counts()
        for number in range(CONTROL_LIVES_MAX):
            asyncio.run(life(SQLITE, CONTROL_KILLS, f"{seed} control {number}", counts, lambda cases: None, module))
            if counts.violations:
                break
        found.append(counts.violations)
    return Counts(len(found), [what for violations in found for what in violations] if all(found) else [])


CHECK = Check(
    name="parts",
    what="kills of the embedded store and of Valkey while memories in parts are forked and deleted",
    gate_cases=24,
    long_cases=1_000,
    run=run,
    control=control,
)
