"""Failovers under load: a master is paused or killed, a replica is promoted, and the old master comes back.

A paused master resumes with commands in its sockets and still acts as master: for seconds there are two.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from reliability.check import Check, Counts, Tick
from reliability.sqlite.power import MEMORY
from reliability.stores.crowd import KEYS, Crowd
from server.sessions.receipts import Receipts
from server.store.base import SessionKey, SessionMissing, SessionRecord
from server.store.open import StoreOptions, open_store
from server.store.redis.names import names
from testing.redis_binaries import available
from testing.redis_groups import Cluster, Sentinels
from testing.redis_servers import RedisServer, until

# A master without a replica in reach must not take writes where no WAITAOF asks its replicas.
CONFIRMED = {"min_replicas_to_write": "1", "min_replicas_max_lag": "2"}
GROUPS = (
    (Sentinels, "valkey9"),
    (Cluster, "valkey9"),
    (Sentinels, "redis7"),
    (Cluster, "redis8"),
    (Sentinels, "valkey8"),
    (Cluster, "redis7"),
    (Sentinels, "redis8"),
    (Cluster, "valkey8"),
)
HEARD_MAX = 60
PACE_SECONDS = 0.02
SETTLED_SECONDS = 60
KILLED_SHARE = 0.3
FAILOVERS_IN_LIFE = 10
CONTROL_FAILOVERS_MAX = 6
RECEIPTS = Receipts(b"a secret of the test")

Group = Sentinels | Cluster


def master_of(group: Group, key: SessionKey) -> RedisServer:
    """The master, once the running servers agree on one."""
    return group.master() if isinstance(group, Sentinels) else group.master_of(names(key).record)


def settled(group: Group) -> bool:
    """Whether there are as many masters as there should be, and all others follow one."""
    servers, masters = (group.servers, 1) if isinstance(group, Sentinels) else (group.members, 3)
    others = [server for server in servers if server.command("INFO", "replication")["role"] != "master"]
    return len(servers) - len(others) == masters and all(server.follows() for server in others)


def follows(server: RedisServer, master: RedisServer) -> bool:
    info = server.command("INFO", "replication")
    return bool(info.get("master_port") == master.port and info.get("master_link_status") == "up")


def fail_over(group: Group, key: SessionKey, killed: bool) -> None:
    """Returns when there is a new master and the old one is back as a replica."""
    old = master_of(group, key)
    (old.kill if killed else old.pause)()
    new = master_of(group, key)
    if isinstance(group, Sentinels):
        # Until then the other replica would still confirm writes of the old master.
        [other] = (server for server in group.servers if server not in (old, new))
        until(lambda: follows(other, new), f"{other} follows {new}")
    (old.start if killed else old.resume)()
    until(lambda: settled(group), "the old master follows the new one", SETTLED_SECONDS)
    master_of(group, key)


def rolled_back(record: SessionRecord | None, key: SessionKey, token: str) -> bool:
    """Whether a client's receipt shows a server that acknowledged text is missing."""
    receipt = RECEIPTS.read(key, token)
    if record is None or record.lineage != receipt.lineage or record.accepted_bytes < receipt.offset:
        return True
    return record.accepted_bytes == receipt.offset and record.chain != receipt.chain


class Losses:
    """Checks the receipts of all sessions after a failover: the losses that they detect, and those that they miss."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self.found: list[str] = []
        self.missed: list[str] = []
        self._short: list[tuple[SessionKey, int, str]] = []

    async def look(self) -> None:
        for key in KEYS:
            acked = self._crowd.may[key][-1]
            if acked is not None and acked.record is not None and len(self._crowd.may[key]) == 1:
                await self._look(key, acked.record)

    async def _look(self, key: SessionKey, acknowledged: SessionRecord) -> None:
        token, record = RECEIPTS.give(acknowledged), await self._record(key)
        same = record is not None and record.lineage == acknowledged.lineage
        lost_bytes = acknowledged.accepted_bytes - (record.accepted_bytes if record is not None and same else 0)
        if rolled_back(record, key, token):
            self.found.append(f"{key.id}: the receipt for {acknowledged.accepted_bytes} bytes: {lost_bytes} are lost")
        elif lost_bytes > 0:
            self.missed.append(f"{key.id}: {lost_bytes} bytes are lost")
        if same and lost_bytes > 0:
            self._short.append((key, lost_bytes, token))

    async def write_over(self) -> None:
        """Appends other text of the same length, so that the session's length alone no longer shows the loss."""
        for key, lost_bytes, token in self._short:
            end = (await self._crowd.store.get(key)).accepted_bytes
            await self._crowd.store.append(key, end, b"?" * lost_bytes, 1.0)
            if not rolled_back(await self._record(key), key, token):
                self.missed.append(f"{key.id}: {lost_bytes} other bytes are taken for those that were lost")

    async def _record(self, key: SessionKey) -> SessionRecord | None:
        try:
            return await self._crowd.store.get(key)
        except SessionMissing:
            return None


async def go_through(crowd: Crowd, losses: Losses, fault: Callable[[], None], dice: random.Random) -> list[str]:
    """The violations after a fault under load, in words."""
    async with crowd.busy():
        await crowd.hear(dice.randint(1, HEARD_MAX))
        await asyncio.to_thread(fault)
    await losses.look()
    found = await crowd.examine()
    await losses.write_over()
    return [*losses.found, *losses.missed, *found]


async def life(
    kind: tuple[type[Group], str], failovers: int, seed: str, durability: str, counts: Counts, tick: Tick
) -> list[str]:
    """So many failovers of one group, or until something is lost; returns the losses that no receipt detected."""
    make, binary = kind
    dice = random.Random(seed)
    settings: dict[str, Any] = {"down_after_milliseconds": 500} if make is Sentinels else {}
    settings |= {"node_timeout_milliseconds": 1_000} if make is Cluster else {}
    settings |= CONFIRMED if durability == "fsync+replica" else {}
    # A killed master takes no more writes; a paused one does, which is what a replica's confirmation guards against.
    killed_share = KILLED_SHARE if durability == "fsync+replica" else 0.0
    with (
        TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        make(binary, Path(folder), **settings) as group,
    ):
        store = await open_store(group.url, StoreOptions(durability, Path(folder) / "keys"))
        try:
            crowd = Crowd(store, seed, PACE_SECONDS)
            losses = Losses(crowd)
            for number in range(failovers):
                if counts.violations:
                    break
                fault = partial(fail_over, group, dice.choice(KEYS), dice.random() < killed_share)
                for wrong in await go_through(crowd, losses, fault, dice):
                    counts.wrong(f"{seed}, failover {number} of {make.__name__} on {binary}: {wrong}")
                counts.cases += 1
                counts.add(f"failovers of {make.__name__} on {binary}")
                counts.add("losses found by receipts", len(losses.found))
                tick(1)
        finally:
            await store.close()
    for name, amount in crowd.acknowledged.items():
        counts.add(f"acknowledged {name}", amount)
    counts.add("writes refused or in doubt", crowd.in_doubt)
    counts.add("answers by a master that was", len(crowd.surprises))
    return losses.missed


async def lives(cases: int, seed: int, tick: Tick) -> Counts:
    counts = Counts()
    kinds = [kind for kind in GROUPS if available(kind[1])]
    each = max(1, min(FAILOVERS_IN_LIFE, cases // len(kinds)))
    for number, kind in enumerate(cycle(kinds)):
        if counts.cases >= cases or counts.violations:
            break
        await life(kind, min(each, cases - counts.cases), f"{seed} {number}", "fsync+replica", counts, tick)
    return counts


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(lives(cases, seed, tick))


def control(seed: int) -> Counts:
    """Without confirmation by a replica acknowledged text must be lost, and receipts must detect every loss."""
    counts = Counts()
    kind = next(kind for kind in GROUPS if available(kind[1]))
    missed = asyncio.run(life(kind, CONTROL_FAILOVERS_MAX, f"{seed} control", "fsync", counts, lambda cases: None))
    return Counts(counts.cases, amounts=counts.amounts) if missed else counts


CHECK = Check(
    name="failover",
    what="failovers of Sentinel and Cluster under load",
    gate_cases=4,
    long_cases=200,
    run=run,
    control=control,
)
