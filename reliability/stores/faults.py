"""Failing disk calls of Redis, a full disk and full memory, under load; acknowledged text must survive.

With `appendfsync always`, Redis exits if it cannot keep what it is about to acknowledge, and is restarted here; with
`everysec` it goes on and refuses writes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from redis.exceptions import RedisError

from reliability.check import Check, Counts, Tick
from reliability.stores.calls import Site, failing, mend, rewrite, sites_of
from reliability.stores.crowd import Crowd
from reliability.stores.smalldisk import SmallDisk, small_disk
from server.store.open import StoreOptions, open_store
from testing.redis_binaries import BINARIES, available
from testing.redis_servers import RedisServer, until

HEARD_MAX = 10
REFUSED_MAX = 4
# For a call that is made all the time, the one that fails is among the first so many.
CALLS_MAX = 30
ERRORS = ("EIO", "ENOSPC")
LEFT_BYTES_MAX = 32 << 10
FULL_DISKS, FULL_MEMORIES = 2, 2
REWRITES_MAX = 10
CONTROL_CASES = 6
# `appendfsync` for each durability.
SYNCED = {"fsync": "always", "everysec": "everysec"}

Met = Callable[[], bool]


@dataclass(frozen=True)
class Fault:
    """`upon` injects the fault into a server until the context ends; the context's value says whether it has shown.

    A fault with `rewrites` shows only while the server rewrites its append-only file.
    """

    kind: str
    name: str
    upon: Callable[[RedisServer, Crowd], AbstractContextManager[Met]]
    rewrites: bool = False


def failing_call(site: Site, dice: random.Random, log: Path) -> Fault:
    error, lasts = dice.choice(ERRORS), dice.random() < 0.5
    number = site.number or dice.randint(1, CALLS_MAX)

    @contextmanager
    def upon(server: RedisServer, crowd: Crowd) -> Iterator[Met]:
        with failing(server, site, error, number, lasts, log) as tracer:
            yield tracer.met

    return Fault("failing calls", f"{site}, {error}{' until healed' * lasts}", upon, rewrites=site.number > 0)


def full_disk(disk: SmallDisk, dice: random.Random) -> Fault:
    left_bytes = dice.randint(0, LEFT_BYTES_MAX)

    @contextmanager
    def upon(server: RedisServer, crowd: Crowd) -> Iterator[Met]:
        before = crowd.in_doubt
        with disk.full(left_bytes):
            yield lambda: crowd.in_doubt > before

    return Fault("full disks", f"a full disk, {left_bytes} bytes before", upon)


def full_memory(dice: random.Random) -> Fault:
    left_bytes = dice.randint(0, LEFT_BYTES_MAX)

    @contextmanager
    def upon(server: RedisServer, crowd: Crowd) -> Iterator[Met]:
        before = crowd.refused_as_full
        server.command("CONFIG", "SET", "maxmemory", server.command("INFO", "memory")["used_memory"] + left_bytes)
        yield lambda: crowd.refused_as_full > before
        server.command("CONFIG", "SET", "maxmemory", 0)

    return Fault("full memories", f"full memory, {left_bytes} bytes before", upon)


class Life:
    """A server and its clients, and faults injected one after another."""

    def __init__(self, server: RedisServer, seed: str, counts: Counts, tick: Tick) -> None:
        self._server, self._seed, self._counts, self._tick = server, seed, counts, tick
        self._dice = random.Random(seed)

    async def live(self, faults: Sequence[Fault], durability: str, keys: Path, is_killed: bool = False) -> None:
        store = await open_store(self._server.url, StoreOptions(durability, keys))
        try:
            crowd = Crowd(store, self._seed, since_seconds=time.time())
            for fault in faults:
                if self._counts.violations:
                    break
                await self._meet(fault, crowd, is_killed)
                # Discards what the server has only in memory.
                self._server.kill()
                await asyncio.to_thread(self._start)
                for wrong in [*crowd.surprises, *await crowd.examine()]:
                    self._counts.wrong(f"{self._seed}, {self._server.binary}, {fault.name}: {wrong}")
                crowd.surprises.clear()
                self._counts.cases += 1
                self._counts.add(fault.kind)
                self._tick(1)
        finally:
            await store.close()
        for name, amount in crowd.acknowledged.items():
            self._counts.add(f"acknowledged {name}", amount)
        self._counts.add("answers lost or refused", crowd.in_doubt)
        self._counts.add("refused as full", crowd.refused_as_full)

    async def _meet(self, fault: Fault, crowd: Crowd, is_killed: bool) -> None:
        server, dice = self._server, self._dice
        async with crowd.busy():
            await crowd.hear(dice.randint(1, HEARD_MAX))
            with fault.upon(server, crowd) as met:
                for _ in range(REWRITES_MAX):
                    if met() or not fault.rewrites:
                        break
                    with suppress(RedisError):
                        await asyncio.to_thread(rewrite, server)
                await crowd.see(met, f"{fault.name} shows")
                self._counts.add("ends of the server", not server.running)
                if dice.random() < 0.5 and not server.running:
                    # A supervisor restarts it while the fault lasts; the start may fail.
                    with suppress(AssertionError):
                        await asyncio.to_thread(server.start)
                enough, heard = crowd.in_doubt + crowd.refused_as_full + dice.randint(0, REFUSED_MAX), crowd.heard
                await crowd.see(
                    lambda: (
                        not server.running
                        or crowd.in_doubt + crowd.refused_as_full >= enough
                        or crowd.heard > heard + HEARD_MAX
                    ),
                    f"{fault.name} is over, or has hit several calls",
                )
                if is_killed and server.running:
                    server.kill()
            await asyncio.to_thread(self._recover, fault.rewrites)
            await crowd.hear(dice.randint(1, HEARD_MAX))

    def _recover(self, rewrites: bool) -> None:
        """Brings the server back as an operator does once the disk works again; returns when it accepts writes."""
        if rewrites:
            with suppress(RedisError):
                if self._works():
                    return
            # After a failed sync Redis refuses writes until a sync of a rewritten file succeeds.
            with suppress(RedisError):
                rewrite(self._server)
        until(self._works, f"{self._server} accepts writes again")

    def _works(self) -> bool:
        """Whether it accepts writes; a server that has exited is restarted first."""
        if not self._server.running:
            self._start()
        return works(self._server)

    def _start(self) -> None:
        try:
            self._server.start()
        except AssertionError:
            if not mend(self._server):
                raise
            self._server.start()
            self._counts.add("manifests mended by hand")


def works(server: RedisServer) -> bool:
    return bool(server.command("SET", "probe", "1", "EX", "1"))


async def lives(cases: int, seed: int, tick: Tick) -> Counts:
    counts = Counts()
    for number, kind in enumerate(cycle(filter(available, BINARIES))):
        if counts.cases == cases or counts.violations:
            break
        await _lives_of(kind, cases - counts.cases, f"{seed} {number}", counts, tick)
    return counts


async def _lives_of(kind: str, cases: int, seed: str, counts: Counts, tick: Tick) -> None:
    """Every fault of a server of this kind once, up to the number of cases."""
    dice = random.Random(seed)
    disks = min(cases, FULL_DISKS)
    await _fill(kind, "fsync", disks, f"{seed} disk", counts, tick)
    seconds = min(cases - disks, FULL_DISKS)
    await _fill(kind, "everysec", seconds, f"{seed} disk, synced each second", counts, tick)
    with TemporaryDirectory() as root, RedisServer(kind, Path(root) / "server", hz="100") as server:
        log = Path(root) / "calls"
        sites = sites_of(server, log)
        faults = [full_memory(dice) for _ in range(FULL_MEMORIES)]
        faults += [failing_call(site, dice, log) for site in sites]
        life = Life(server, seed, counts, tick)
        await life.live(faults[: cases - disks - seconds], "fsync", Path(root) / "keys")


async def _fill(
    kind: str, durability: str, cases: int, seed: str, counts: Counts, tick: Tick, is_killed: bool = False
) -> None:
    """A server on a disk that fills up so many times."""
    dice = random.Random(seed)
    with TemporaryDirectory() as root, small_disk(Path(root) / "disk") as disk:
        settings: dict[str, Any] = {"dir": str(disk.folder), "appendfsync": SYNCED[durability]}
        # With `everysec`, Redis leaves a gap in a rewritten file when it goes on after a short write, and then cannot
        # start again. That durability does not promise to survive this, so rewrites are off.
        settings |= {"auto_aof_rewrite_percentage": "0"} if durability == "everysec" else {}
        with RedisServer(kind, Path(root) / "server", place=disk.place, **settings) as server:
            faults = [full_disk(disk, dice) for _ in range(cases)]
            await Life(server, seed, counts, tick).live(faults, durability, Path(root) / "keys", is_killed)


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(lives(cases, seed, tick))


def control(seed: int) -> Counts:
    """A Redis that acknowledges before it writes and is killed on a full disk must be found to have lost text."""
    counts = Counts()
    kind = next(filter(available, BINARIES))
    asyncio.run(_fill(kind, "everysec", CONTROL_CASES, f"{seed} control", counts, lambda cases: None, is_killed=True))
    return counts


CHECK = Check(
    name="faults-redis",
    what="failing calls, full disks and full memory of Redis and Valkey",
    gate_cases=38,
    long_cases=5_000,
    run=run,
    control=control,
)
