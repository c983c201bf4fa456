"""Damaged parts, loans and lenders: a part loads with its own bytes or is refused, and nothing else is lost by it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from reliability.check import Check, Counts, Tick
from reliability.damage.check import unverified
from reliability.parts import memories
from reliability.parts.family import TENANT, Family, Sessions
from reliability.parts.memories import Held, Seen
from reliability.parts.vessels import LOAN, PART, InRedis, InSqlite, Vessel
from reliability.sqlite.power import MEMORY
from server.store import sharing
from server.store.base import DamagedValue, SessionKey, SessionMissing, StoredCheckpoint, StoredPart, StoreError
from server.store.encryption import Sealer
from server.store.manifest import Manifest
from server.store.open import StoreOptions, open_store
from server.store.parts import Root
from server.store.redis import RedisStore
from server.store.sqlite import SqliteStore, parts
from testing.redis_binaries import require
from testing.redis_servers import RedisServer

SQLITE, VALKEY = "SQLite", "Valkey"
TENANTS = (TENANT, "other")
PART_BYTES = 512
CHANGES = 25
CASES_A_HISTORY = 40
CONTROL_CASES, CONTROL_RUNS_MAX = 40, 12
# How many parts one damage can make unreadable: two values may be exchanged.
HURT_MAX = 2
DRAWS_MAX = 30

settled = sharing.settled
Loaded = set[tuple[SessionKey, StoredPart]]


class Look:
    """All sessions as the store shows them: the parts that load, those that are refused, and what is wrong."""

    def __init__(self, vessel: Vessel) -> None:
        self._store = vessel.store
        self.loaded: Loaded = set()
        self.refused: Loaded = set()
        self.refusals = 0
        self.wrong: list[str] = []

    async def at(self, family: Family, sessions: Sessions) -> None:
        for id in family.ids:
            held, key = sessions.get(id), family.key(id)
            try:
                await self._at(key, held)
            except SessionMissing:
                if held is not None:
                    self.wrong.append(f"session {'/'.join(key)} is missing")
            except StoreError:
                self.refusals += 1
            except Exception as error:
                self.wrong.append(f"session {'/'.join(key)} raises {type(error).__name__}: {error}")

    async def _at(self, key: SessionKey, held: Held | None) -> None:
        recovery = await self._store.recover(key)
        if held is None:
            self.wrong.append(f"session {'/'.join(key)} exists")
            return
        expected = held.shown()
        left_out = len(expected.checkpoints) - len(recovery.checkpoints)
        found = [Seen.of(checkpoint) for checkpoint in recovery.checkpoints]
        if any(each not in expected.checkpoints for each in found) or left_out > len(recovery.damaged):
            self.wrong.append(f"session {'/'.join(key)} has other checkpoints")
        kept: list[StoredCheckpoint] = [*recovery.checkpoints]
        for name in expected.snapshots:
            _, snapshot = await self._store.load_snapshot(key, name)
            kept.append(snapshot)
            if Seen.of(snapshot) != expected.snapshots[name]:
                self.wrong.append(f"session {'/'.join(key)} has another snapshot")
        contents = {part.digest: part.content() for memory in _memories(held) for part in memory.parts}
        stored = {part for memory in kept for part in memory.parts if isinstance(part, StoredPart)}
        for part, content in await self._load(key, sorted(stored)):
            if content != contents.get(part.digest):
                self.wrong.append(f"session {'/'.join(key)}: part {part.digest.hex()[:12]} is served with other bytes")

    async def _load(self, key: SessionKey, some: list[StoredPart]) -> list[tuple[StoredPart, bytes]]:
        """The parts that load, one by one if some of them are refused."""
        try:
            found = list(zip(some, await self._store.load(key, some), strict=True))
        except DamagedValue:
            if len(some) == 1:
                self.refused.add((key, some[0]))
                return []
            return [each for part in some for each in await self._load(key, [part])]
        self.loaded |= {(key, part) for part, _ in found}
        return found


def _memories(held: Held) -> list[memories.Memory]:
    return [memory for _, memory in (*held.checkpoints, *held.snapshots.values())]


async def case(vessel: Vessel, families: Sequence[Family], dice: random.Random, counts: Counts) -> None:
    """Damages a value, looks at all sessions, changes one, and looks again."""
    kind, way = await vessel.hurt(dice)
    counts.add(f"{kind}: {way}")
    before = Look(vessel)
    for family in families:
        await before.at(family, family.sessions)
    if kind == PART and (before.refusals or len({part for _, part in before.refused}) > HURT_MAX):
        before.wrong.append(f"{len(before.refused)} parts and {before.refusals} sessions are refused")
    changed = dice.choice(families)
    name, sessions, call = changed.change()
    for _ in range(DRAWS_MAX):
        # A damaged loan matters most when the lender is deleted.
        if kind != LOAN or name == "delete":
            break
        name, sessions, call = changed.change()
    own = {changed.key(id) for id in changed.ids if sessions.get(id) != changed.sessions.get(id)}
    try:
        await call()
        counts.add("changes made")
    except StoreError:
        sessions = changed.sessions
        counts.add("changes refused")
    except Exception as error:
        sessions = changed.sessions
        before.wrong.append(f"{name} raises {type(error).__name__}: {error}")
    after = Look(vessel)
    for family in families:
        await after.at(family, sessions if family is changed else family.sessions)
    lost = {(key, part) for key, part in before.loaded - after.loaded if key not in own}
    if lost:
        after.wrong.append(f"{name} of {sorted(own)} took {len(lost)} parts from {sorted({key for key, _ in lost})}")
    for wrong in before.wrong + after.wrong:
        counts.wrong(f"{vessel.name}, {kind} {way}: {wrong}")
    counts.add("parts loaded", len(before.loaded) + len(after.loaded))
    counts.add("parts refused", len(before.refused) + len(after.refused))
    counts.add("sessions refused", before.refusals + after.refusals)


@asynccontextmanager
async def filled(kind: str, server: RedisServer, folder: Path) -> AsyncIterator[Vessel]:
    if kind == SQLITE:
        vessel: Vessel = InSqlite(await SqliteStore.open(folder))
    else:
        server.command("FLUSHALL")
        store = await open_store(server.url, StoreOptions("volatile", folder / "keys"))
        assert isinstance(store, RedisStore)
        vessel = InRedis(store, server)
    try:
        yield vessel
    finally:
        await vessel.close()


async def damage(cases: int, seed: int, tick: Tick, kinds: Sequence[str]) -> Counts:
    counts = Counts()
    with (
        TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root,
        mock.patch.multiple(memories, PART_BYTES_MAX=PART_BYTES, PARTS_MIN=2, PARTS_MAX=8),
        RedisServer(require("valkey9"), Path(root) / "valkey", appendonly="no") as server,
    ):
        for number in count():
            kind, dice = kinds[number % len(kinds)], random.Random(f"{seed} {number}")
            async with filled(kind, server, Path(root) / str(number)) as vessel:
                families = [await _lived(vessel, dice, tenant) for tenant in TENANTS]
                await vessel.look()
                for _ in range(min(CASES_A_HISTORY, cases - counts.cases)):
                    await case(vessel, families, dice, counts)
                    await vessel.heal()
                    counts.cases += 1
                    counts.add(f"cases in {kind}")
                    tick(1)
            if counts.cases == cases:
                return counts
    return counts


async def _lived(vessel: Vessel, dice: random.Random, tenant: str) -> Family:
    """A family after so many changes. Both tenants use the same ids."""
    family = Family(vessel.store, "0", random.Random(dice.random()), tenant)
    for _ in range(CHANGES):
        _, sessions, call = family.change()
        await call()
        family.sessions = sessions
    return family


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(damage(cases, seed, tick, (SQLITE, VALKEY)))


def hasty(
    manifest: Manifest, before: Iterable[Root], memories: Sequence[Root], lent: Sequence[Root | None]
) -> sharing.Settled:
    """Frees parts although a damaged loan may name them."""
    return settled(manifest, before, memories, [root for root in lent if root is not None])


def control(seed: int) -> Counts:
    """Damaged parts that are not compared with a checksum or seal, and parts freed under damaged loans, are found."""
    unchecked = mock.patch.object(parts, "_checked", lambda part, value: value or b"")
    unsealed = mock.patch.object(Sealer, "open", unverified)
    unlent = mock.patch.object(sharing, "settled", hasty)
    found = [
        _found(unchecked, SQLITE, "other bytes", seed),
        _found(unsealed, VALKEY, "other bytes", seed),
        _found(unlent, SQLITE, "took", seed),
        _found(unlent, VALKEY, "took", seed),
    ]
    return Counts(len(found), [what for violations in found for what in violations] if all(found) else [])


def _found(guard_removed: AbstractContextManager[object], kind: str, words: str, seed: int) -> list[str]:
    """The violations with these words in the first of a few runs that has any."""
    for number in range(CONTROL_RUNS_MAX):
        with guard_removed:
            counts = asyncio.run(damage(CONTROL_CASES, seed + number, lambda cases: None, (kind,)))
        if found := [what for what in counts.violations if words in what]:
            return found
    return []


CHECK = Check(
    name="damage-parts",
    what="damaged parts, loans and lenders in Valkey and in the embedded store",
    gate_cases=160,
    long_cases=100_000,
    run=run,
    control=control,
)
