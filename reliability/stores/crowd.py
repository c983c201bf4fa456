"""Many clients of one store, with a record of what was acknowledged; after a fault the store is checked against it.

Each session has one writer. It sends a write of unknown outcome again: the same bytes at the same offset. Two readers
of each session compete for its lease and store checkpoints.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from time import monotonic
from typing import TypeVar

from server.store.base import (
    DamagedValue,
    Recovery,
    SessionKey,
    SessionMissing,
    SessionRecord,
    SessionTaken,
    Store,
    StoredCheckpoint,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from server.store.text_hash import EMPTY_CHAIN, extended
from tests.server.store.sqlite import appender

T = TypeVar("T")

TENANT = "acme"
KEYS = tuple(SessionKey(TENANT, f"book {number}") for number in range(6))
PIECE_BYTES_MAX = 3000
DEADLINE_SECONDS = 60
PAUSE_SECONDS = 0.005
LEASE_SECONDS = 0.05
RESENT_FROM = 6


def text(lineage: str, start: int, end: int) -> bytes:
    """The bytes from `start` to `end` of the endless text of one lineage."""
    return appender.text(SessionKey(TENANT, lineage), start, end)


def memory(lineage: str, version: int, offset: int, chain: str = EMPTY_CHAIN) -> StoredCheckpoint:
    """The checkpoint of a lineage at this version and offset."""
    whole = appender.memory(SessionKey(TENANT, lineage), version, offset)
    return replace(whole, value=whole.value[:2000], info=whole.info._replace(memory_bytes=2000, chain=chain))


@dataclass
class Acknowledged:
    """What was acknowledged for one lineage of a session, how far its text was sent, and its latest record."""

    lineage: str
    accepted_bytes: int = 0
    sent_bytes: int = 0
    version: int = 0
    record: SessionRecord | None = None
    # Starts of its pieces: resent from there, text is recognised as a repeat even after the journal was trimmed.
    starts: deque[int] = field(default_factory=lambda: deque([0], RESENT_FROM))
    verified: tuple[int, str] = (0, EMPTY_CHAIN)

    def chain_at(self, offset: int) -> str:
        known, chain = self.verified if self.verified[0] <= offset else (0, EMPTY_CHAIN)
        self.verified = (offset, extended(chain, text(self.lineage, known, offset)))
        return self.verified[1]


class Crowd:
    """`may` holds the lineages that each session may show, with the one that its writer expects last.

    `wrong` lists violations that no fault excuses. `surprises` are refusals and answers that contradict what was
    acknowledged: with a single server they are violations too; with replicas, a stale server may have answered.

    Half of the writers and readers use `elsewhere`, another connection to the same store. `since_seconds` is the time
    at which the sessions' clock begins: 0 makes them so old that the store's grace time for a listed session without a
    record is over.
    """

    def __init__(
        self,
        store: Store,
        seed: str,
        pace_seconds: float = 0.0,
        elsewhere: Store | None = None,
        since_seconds: float = 0.0,
    ) -> None:
        self.store, self.seed, self.pace_seconds = store, seed, pace_seconds
        self._elsewhere, self._since_seconds = elsewhere or store, since_seconds
        self.may: dict[SessionKey, tuple[Acknowledged | None, ...]] = {key: (None,) for key in KEYS}
        self.epochs = dict.fromkeys(KEYS, 0)
        self.wrong: list[str] = []
        self.surprises: list[str] = []
        self.acknowledged: dict[str, int] = {}
        self.in_doubt = self.refused_as_full = 0
        self._over = False
        self._clock = 0
        self._surprises_before = 0
        self._news = asyncio.Event()

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """The clients work until the block ends; then each finishes its current call."""
        self._over, self._clock, self._surprises_before = False, self._clock + 1, len(self.surprises)
        async with asyncio.TaskGroup() as tasks:
            for key, writes in zip(KEYS, cycle((self.store, self._elsewhere))):
                tasks.create_task(self._write(key, writes, self._dice("writer", key)))
                for holder, reads in (("one replica", self.store), ("another", self._elsewhere)):
                    tasks.create_task(self._read(key, reads, holder, self._dice(holder, key)))
            tasks.create_task(self._look())
            try:
                yield
            finally:
                self._over = True

    async def hear(self, acknowledgements: int) -> None:
        """Returns after so many more acknowledgements, or after a surprise, since then fewer may come."""
        enough, end = self.heard + acknowledgements, monotonic() + DEADLINE_SECONDS
        while self.heard < enough and len(self.surprises) == self._surprises_before:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), max(0.0, end - monotonic()))

    async def see(self, condition: Callable[[], bool], what: str) -> None:
        """Returns once the condition holds; the clients go on working."""
        end = monotonic() + DEADLINE_SECONDS
        while not condition():
            assert monotonic() < end, f"{what}: not within {DEADLINE_SECONDS} seconds"
            await asyncio.sleep(PAUSE_SECONDS)

    @property
    def heard(self) -> int:
        return sum(self.acknowledged.values())

    @property
    def _now(self) -> float:
        return self._since_seconds + self._clock

    def _dice(self, who: str, key: SessionKey) -> random.Random:
        return random.Random(f"{self.seed} {self._clock} {who} {key.id}")

    def _acknowledge(self, name: str) -> None:
        self.acknowledged[name] = self.acknowledged.get(name, 0) + 1
        self._news.set()

    def _surprise(self, key: SessionKey, what: object) -> None:
        self.surprises.append(f"{key.id}: {what!r}")
        self._news.set()

    async def _surely(self, ask: Callable[[bool], Awaitable[T]], done: type[StoreError] | None = None) -> T | None:
        """Repeats the call until it is answered; None if a refusal shows that an earlier attempt had taken effect."""
        doubted, end = False, monotonic() + DEADLINE_SECONDS
        while True:
            try:
                return await ask(doubted)
            except StoreUnavailable as error:
                if monotonic() > end:
                    raise AssertionError(f"no answer within {DEADLINE_SECONDS} seconds") from error
                self.in_doubt, doubted = self.in_doubt + 1, True
            except StoreFull as error:
                # There may be room at any moment. A refused append kept nothing; a longer call may have begun.
                if monotonic() > end:
                    raise AssertionError(f"no room within {DEADLINE_SECONDS} seconds") from error
                self.refused_as_full, doubted = self.refused_as_full + 1, doubted or done is not None
            except StoreError as refusal:
                if doubted and done is not None and isinstance(refusal, done):
                    return None
                raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def _write(self, key: SessionKey, store: Store, dice: random.Random) -> None:
        while not self._over:
            await asyncio.sleep(dice.random() * self.pace_seconds)
            acked = self.may[key][-1]
            try:
                if acked is None:
                    await self._create(key, store)
                elif dice.random() < 0.03:
                    await self._delete(key, store)
                else:
                    await self._append(key, store, acked, dice)
            except StoreError as refusal:
                self._surprise(key, refusal)
                return

    async def _create(self, key: SessionKey, store: Store) -> None:
        self._clock += 1
        new = Acknowledged(f"{key.id} {self._clock}")
        self.may[key] = (*self.may[key], new)
        record = SessionRecord(key, self._now, self._now, "delta", "f00d", lineage=new.lineage)

        async def ask(doubted: bool) -> bool:
            await store.create(record)
            return True

        if await self._surely(ask, SessionTaken):
            self.may[key] = (new,)
            self._acknowledge("creations")

    async def _delete(self, key: SessionKey, store: Store) -> None:
        self.may[key] = (*self.may[key], None)

        async def ask(doubted: bool) -> bool:
            await store.delete(key)
            return True

        if await self._surely(ask, SessionMissing):
            self.may[key] = (None,)
            self._acknowledge("deletions")

    async def _append(self, key: SessionKey, store: Store, acked: Acknowledged, dice: random.Random) -> None:
        known = acked.accepted_bytes
        start = dice.choice((known, known, known, dice.choice(acked.starts)))
        end = known + dice.randint(1, PIECE_BYTES_MAX)
        piece = text(acked.lineage, start, end)
        acked.sent_bytes = end
        appended = await self._surely(lambda _: store.append(key, start, piece, self._now))
        assert appended is not None
        if appended.accepted_bytes != end or appended.record.chain != acked.chain_at(end):
            self.wrong.append(f"{key.id}: {start} to {end} was sent, it ends at {appended.accepted_bytes}")
        acked.accepted_bytes, acked.record = end, appended.record
        acked.starts.append(end)
        self.may[key] = (acked,)
        self._acknowledge("appends")

    async def _read(self, key: SessionKey, store: Store, holder: str, dice: random.Random) -> None:
        while not self._over:
            await asyncio.sleep(dice.random() * LEASE_SECONDS / 2)
            try:
                await self._checkpoint(key, store, holder, dice)
            except DamagedValue as damage:
                self._surprise(key, damage)
            except StoreError:
                # Expected: the session may be deleted, another reader may hold its lease, the store may be down.
                continue

    async def _checkpoint(self, key: SessionKey, store: Store, holder: str, dice: random.Random) -> None:
        latest = self.epochs[key]
        lease = await store.lease(key, holder, LEASE_SECONDS)
        if lease.epoch <= latest:
            self.wrong.append(f"{key.id}: epoch {lease.epoch} behind {latest}")
        self.epochs[key] = max(self.epochs[key], lease.epoch)
        record = await store.get(key)
        acked = next((acked for acked in self.may[key] if acked and acked.lineage == record.lineage), None)
        offset = dice.randint(record.read_bytes, record.accepted_bytes)
        read = await store.journal(key, record.read_bytes, offset - record.read_bytes)
        same_life = (await store.get(key)).lineage == record.lineage
        if same_life and read != text(record.lineage, record.read_bytes, offset):
            self._surprise(key, f"other bytes than were sent before {offset}")
        latest = self.epochs[key]
        new = memory(record.lineage, record.version + 1, offset, extended(record.info.chain, read))
        await store.checkpoint(lease, new, self._now)
        if lease.epoch < latest:
            self._surprise(key, f"a checkpoint under epoch {lease.epoch} behind {latest}")
        if acked:
            acked.version = max(acked.version, new.version)
        self._acknowledge("checkpoints")
        if dice.random() < 0.7:
            await store.release(lease)

    async def _look(self) -> None:
        while not self._over:
            await asyncio.sleep(PAUSE_SECONDS)
            # What was acknowledged to one client must be visible to every later call.
            known = {key: (t.lineage, t.accepted_bytes, t.version) for key, (*_, t) in self.may.items() if t}
            try:
                page = await self.store.list_sessions(TENANT, len(KEYS))
            except DamagedValue as damage:
                self.surprises.append(f"list: {damage}")
            except StoreError:
                continue
            else:
                for record in page:
                    lineage, accepted_bytes, version = known.get(record.key, ("", 0, 0))
                    seen = (record.accepted_bytes, record.version)
                    if lineage == record.lineage and (seen[0] < accepted_bytes or seen[1] < version):
                        self._surprise(record.key, f"listed with {seen} after {(accepted_bytes, version)}")

    async def examine(self) -> list[str]:
        """The violations found while no client works, in words; afterwards the clients continue from what was found."""
        found = [what for key in KEYS for what in await self._examine(key)]
        listed = await self._surely(lambda _: self.store.list_sessions(TENANT, 2 * len(KEYS))) or []
        unread = await self._surely(lambda _: self.store.unread(1)) or []
        there = {key for key in KEYS if self.may[key] != (None,)}
        found += [f"{key.id}: exists, but is not listed" for key in there - {record.key for record in listed}]
        found += [f"{record.key.id}: listed, but does not exist" for record in listed if record.key not in there]
        behind = {record.key for record in listed if record.accepted_bytes > record.read_bytes}
        found += [f"{key.id}: unread, but not listed as such" for key in behind - {record.key for record in unread}]
        found, self.wrong = self.wrong + found, []
        return found

    async def _examine(self, key: SessionKey) -> list[str]:
        allowed = self.may[key]
        try:
            recovery = await self._surely(lambda _: self.store.recover(key))
        except SessionMissing:
            self.may[key] = (None,)
            return [] if None in allowed else [f"{key.id}: lost"]
        assert recovery is not None
        record = recovery.record
        acked = next((acked for acked in allowed if acked and acked.lineage == record.lineage), None)
        found = [] if acked else [f"{key.id}: has the lineage {record.lineage}, which ended or never existed"]
        acked = acked or Acknowledged(record.lineage, record.accepted_bytes, record.accepted_bytes, record.version)
        if not acked.accepted_bytes <= record.accepted_bytes <= acked.sent_bytes:
            found.append(f"{key.id}: {acked.accepted_bytes} bytes acknowledged, {record.accepted_bytes} found")
        if record.version < acked.version:
            found.append(f"{key.id}: version {acked.version} acknowledged, {record.version} found")
        found += [f"{key.id}: {what}" for what in await self._sound(acked, recovery)]
        if record.accepted_bytes != acked.accepted_bytes:
            acked.starts = deque([record.accepted_bytes], RESENT_FROM)
        acked.accepted_bytes, acked.version, acked.record = record.accepted_bytes, record.version, record
        self.may[key] = (acked,)
        return found

    async def _sound(self, acked: Acknowledged, recovery: Recovery) -> list[str]:
        """The contradictions within one session, in words."""
        record, kept = recovery.record, recovery.checkpoints
        start, end = recovery.journal_offset, record.accepted_bytes
        found = list(recovery.damaged)
        if await self._surely(lambda _: self.store.journal(record.key, start, end)) != text(acked.lineage, start, end):
            found.append(f"other bytes than were sent between {start} and {end}")
        if record.info.chain != acked.chain_at(record.read_bytes) or record.chain != acked.chain_at(end):
            found.append("its chain is of another text")
        if [each.version for each in kept] != [record.version, record.version - 1][: record.version]:
            found.append(f"checkpoints {[each.version for each in kept]} at version {record.version}")
        found += [f"checkpoint {e.version} is another" for e in kept if e != memory(acked.lineage, e.version, e.offset)]
        if kept and (kept[0].offset != record.read_bytes or kept[-1].offset < start):
            found.append(f"checkpoints at {[each.offset for each in kept]}, read to {record.read_bytes}")
        return found
