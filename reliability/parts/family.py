"""Sessions that are forks of each other, changed one call after the other, and compared with a plain model of them.

The store's process may be killed at any moment. The call in flight at that moment may or may not have had its effect;
every other call's effect is known.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

from reliability.parts.memories import Held, Seen, Shown, begun, grown, without
from server.store import rules
from server.store.base import (
    CHECKPOINTS_KEPT,
    LEASE_SECONDS,
    DamagedValue,
    Redaction,
    SessionKey,
    SessionMissing,
    SessionRecord,
    Store,
    StoredCheckpoint,
    StoreError,
    StoreUnavailable,
)
from server.store.parts import StoredPart

TENANT = "tenant"
SESSIONS_MAX, SNAPSHOTS_MAX = 4, 2
ANSWER_SECONDS = 60.0
LOADED_AT_ONCE = 16

Sessions = dict[str, Held]
Call = Callable[[], Awaitable[object]]


class Family:
    """`sessions` is what was acknowledged, `in_doubt` what it is if the call in flight had its effect."""

    def __init__(self, store: Store, name: str, dice: random.Random, tenant: str = TENANT) -> None:
        self._store, self._dice, self._tenant = store, dice, tenant
        self.ids = [f"{name}-{number}" for number in range(SESSIONS_MAX)]
        self.sessions: Sessions = {}
        self.in_doubt: Sessions | None = None
        self.done = Counter[str]()
        self.wrong: list[str] = []
        self.stopping = False

    async def work(self, answers: asyncio.Semaphore) -> None:
        """Changes sessions until a call fails or `stopping` is set; each answer releases `answers` once."""
        self.stopping = False
        while not self.stopping:
            name, after, call = self.change()
            self.in_doubt = after
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await call()
            except StoreUnavailable:
                return
            except (StoreError, TimeoutError) as error:
                self.wrong.append(f"{name} is refused: {type(error).__name__}: {error}")
                return
            self.sessions, self.in_doubt = after, None
            self.done[name] += 1
            answers.release()

    def change(self) -> tuple[str, Sessions, Call]:
        """A change: its name, the sessions after it, and the call."""
        free = [id for id in self.ids if id not in self.sessions]
        if not self.sessions:
            return self._create(free[0])
        id = self._dice.choice([*self.sessions])
        held = self.sessions[id]
        ways = [self._checkpoint, self._checkpoint, self._checkpoint, self._redact, self._delete]
        if free:
            ways += [self._fork, self._fork]
        if len(held.snapshots) < SNAPSHOTS_MAX:
            ways += [self._snapshot]
        if held.snapshots:
            ways += [self._restore, self._drop]
        if free and self._dice.random() < 0.1:
            return self._create(free[0])
        return self._dice.choice(ways)(id, held)

    def _create(self, id: str) -> tuple[str, Sessions, Call]:
        held = Held(self._lineage(), ((1, begun(self._dice)),))
        record, first = self._begun(id, held)
        return "create", {**self.sessions, id: held}, lambda: self._store.create(record, first)

    def _fork(self, id: str, held: Held) -> tuple[str, Sessions, Call]:
        """A fork of the session's newest checkpoint or of a snapshot; the session may be a fork itself."""
        new = next(free for free in self.ids if free not in self.sessions)
        fork = Held(self._lineage(), (self._dice.choice([held.checkpoints[-1], *held.snapshots.values()]),))
        record, first = self._begun(new, fork)
        return "fork", {**self.sessions, new: fork}, lambda: self._store.create(record, first, source=self.key(id))

    def _checkpoint(self, id: str, held: Held) -> tuple[str, Sessions, Call]:
        version, memory = held.version + 1, grown(self._dice, held.newest)
        checkpoints = (*held.checkpoints, (version, memory))[-CHECKPOINTS_KEPT:]

        async def call() -> None:
            lease = await self._store.lease(self.key(id), "reader", LEASE_SECONDS)
            await self._store.checkpoint(lease, memory.stored(version), time.time())

        return "checkpoint", self._with(id, replace(held, checkpoints=checkpoints)), call

    def _snapshot(self, id: str, held: Held) -> tuple[str, Sessions, Call]:
        name = f"s{self._dice.getrandbits(32)}"
        version, memory = held.checkpoints[-1]
        after = replace(held, snapshots={**held.snapshots, name: (version, memory)})
        return (
            "snapshot",
            self._with(id, after),
            lambda: self._store.keep_snapshot(self.key(id), name, held.lineage, memory.stored(version), time.time()),
        )

    def _drop(self, id: str, held: Held) -> tuple[str, Sessions, Call]:
        name = self._dice.choice([*held.snapshots])
        left = {other: kept for other, kept in held.snapshots.items() if other != name}
        return (
            "drop",
            self._with(id, replace(held, snapshots=left)),
            lambda: self._store.drop_snapshot(self.key(id), name),
        )

    def _restore(self, id: str, held: Held) -> tuple[str, Sessions, Call]:
        _, memory = self._dice.choice([*held.snapshots.values()])
        version, lineage = held.version + 1, rules.branched_lineage(held.lineage, self._lineage())
        after = replace(held, lineage=lineage, checkpoints=((version, memory),))

        async def call() -> None:
            record = await self._store.get(self.key(id))
            await self._store.rewind(record, memory.stored(version), lineage, time.time())

        return "restore", self._with(id, after), call

    def _redact(self, id: str, held: Held) -> tuple[str, Sessions, Call]:
        """Removes one part from every memory of the session."""
        part = self._dice.choice(held.newest.parts) if held.newest.parts else None
        version, lineage = held.version + 1, rules.branched_lineage(held.lineage, self._lineage())
        memory = held.newest if part is None else without(held.newest, part)
        snapshots = {
            name: (kept_version, without(kept, part))
            for name, (kept_version, kept) in held.snapshots.items()
            if part in kept.parts and part is not None
        }
        after = Held(lineage, ((version, memory),), {**held.snapshots, **snapshots})
        redaction = Redaction(
            (),
            memory.stored(version),
            {name: kept.stored(number) for name, (number, kept) in snapshots.items()},
            tuple(name for name in held.snapshots if name not in snapshots),
        )

        async def call() -> None:
            record = await self._store.get(self.key(id))
            await self._store.redact(record, redaction, lineage, time.time())

        return "redact", self._with(id, after), call

    def _delete(self, id: str, held: Held) -> tuple[str, Sessions, Call]:
        left = {other: kept for other, kept in self.sessions.items() if other != id}
        return "delete", left, lambda: self._store.delete(self.key(id))

    def key(self, id: str) -> SessionKey:
        return SessionKey(self._tenant, id)

    def _with(self, id: str, held: Held) -> Sessions:
        return {**self.sessions, id: held}

    def _lineage(self) -> str:
        return f"{self._dice.getrandbits(64):x}"

    def _begun(self, id: str, held: Held) -> tuple[SessionRecord, StoredCheckpoint]:
        now, first = time.time(), held.newest.stored(held.version)
        record = SessionRecord(self.key(id), now, now, "model", "fingerprint", lineage=held.lineage)
        return rules.begun(record, first), first

    async def examine(self) -> int:
        """Compares the store with the model, which then is what the store shows; returns the number of parts."""
        parts, shown = 0, dict[str, Shown]()
        for id in self.ids:
            with suppress(SessionMissing):
                try:
                    shown[id], number = await self._shown(self.key(id))
                    parts += number
                except DamagedValue as error:
                    self.wrong.append(f"session {id}: {error}")
        if self.in_doubt is not None and shown == _shown(self.in_doubt):
            self.sessions = self.in_doubt
        elif shown != _shown(self.sessions):
            self.wrong.append(f"{_differences(shown, _shown(self.sessions))}; what was acknowledged is another")
        self.in_doubt = None
        return parts

    async def _shown(self, key: SessionKey) -> tuple[Shown, int]:
        """What the store shows of the session, and how many parts were loaded and are right."""
        recovery = await self._store.recover(key)
        for damage in recovery.damaged:
            self.wrong.append(f"session {key.id}: {damage}")
        named = [snapshot.name for snapshot in await self._store.snapshots(key)]
        snapshots = {name: (await self._store.load_snapshot(key, name))[1] for name in named}
        memories = [*recovery.checkpoints, *snapshots.values()]
        # Distinct, since memories share most of their parts.
        parts = list(
            dict.fromkeys(part for memory in memories for part in memory.parts if isinstance(part, StoredPart))
        )
        for begin in range(0, len(parts), LOADED_AT_ONCE):
            some = parts[begin : begin + LOADED_AT_ONCE]
            for part, content in zip(some, await self._store.load(key, some), strict=True):
                if sha256(content).digest() != part.digest:
                    self.wrong.append(f"session {key.id}: part {part.digest.hex()[:12]} has other bytes")
        seen = {name: Seen.of(memory) for name, memory in snapshots.items()}
        checkpoints = tuple(Seen.of(checkpoint) for checkpoint in recovery.checkpoints)
        return Shown(recovery.record.lineage, checkpoints, seen), len(parts)

    async def end(self) -> None:
        """Deletes all sessions."""
        for id in self.sessions:
            await self._store.delete(self.key(id))


def _shown(sessions: Sessions) -> dict[str, Shown]:
    return {id: held.shown() for id, held in sessions.items()}


def _differences(shown: dict[str, Shown], expected: dict[str, Shown]) -> str:
    """In words, which sessions differ."""
    ids: Iterable[str] = [id for id in {**shown, **expected} if shown.get(id) != expected.get(id)]
    return ", ".join(f"session {id} {'differs' if id in shown and id in expected else _one(id, shown)}" for id in ids)


def _one(id: str, shown: dict[str, Shown]) -> str:
    return "exists" if id in shown else "is missing"
