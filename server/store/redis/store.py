"""The shared store: every session's keys in one slot of Redis, changed by scripts that compare before they write.

Nothing is decided in Redis but whether the record still is the one that a change was worked out from, and who has
the lease. It knows neither connections nor how a value is sealed.
"""

import asyncio
import builtins
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from server.store import rules
from server.store.contract import (
    CHECKPOINTS_KEPT,
    REPEATS_KEPT,
    Appended,
    DamagedValue,
    Lease,
    OffsetMismatch,
    Recovery,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    StaleCheckpoint,
    StoredCheckpoint,
    StoreError,
    StoreUnavailable,
)
from server.store.entry import Entry, Mark
from server.store.redis.doctor import Doctor
from server.store.redis.faults import Unreachable
from server.store.redis.forgetting import Forgetting
from server.store.redis.indexes import Indexes
from server.store.redis.journal import Journal
from server.store.redis.leases import Leases
from server.store.redis.link import PAUSES_SECONDS, Link
from server.store.redis.memories import Memories
from server.store.redis.names import names
from server.store.redis.records import Found, Records
from server.store.sealing import Sealer

Result = TypeVar("Result")
# A session that is listed but not there is taken out of the list when it was created so long ago.
UNLISTED_SECONDS = 600.0


class RedisStore:
    """`control` and `bulk` are ways to the same Redis: memories on theirs hold up nobody's append."""

    shared = True

    def __init__(self, control: Link, bulk: Link, sealer: Sealer, doctor: Doctor) -> None:
        self._link, self._bulk, self._doctor = control, bulk, doctor
        self._records, self._indexes = Records(control, sealer), Indexes(control)
        self._journal, self._memories = Journal(control, sealer), Memories(bulk, sealer)
        self._leases, self._forgetting = (
            Leases(control, self._records),
            Forgetting(control, self._records, self._indexes),
        )
        self.durability = control.durability.name
        self._turns: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()
        self._closed = False

    async def create(self, record: SessionRecord) -> None:
        rules.check_new(record)
        self._open()
        at, key = names(record.key), record.key
        await self._indexes.list_session(key, record.created_at, sure=False)
        if record.expires_at is not None:
            await self._indexes.may_expire(key, record.expires_at)
        sealed = self._records.seal(Entry(record, journal_offset=record.accepted_bytes))
        leftovers = [at.tombstone, at.journal, at.pieces, at.lease]
        try:
            made = await self._link.change("create", [at.record, *leftovers], sealed)
        except Unreachable:
            await asyncio.sleep(PAUSES_SECONDS[0])
            made = await self._link.change("create", [at.record, *leftovers], sealed)
            while not made and (found := await self._records.load(key)).entry.record.lineage == record.lineage:
                # It was made the first time, and may have moved on since.
                made = await self._records.confirm(at.record, found.sealed)
        if not made:
            raise rules.taken(key)
        await self._indexes.list_session(key, record.created_at, sure=True)

    async def get(self, key: SessionKey) -> SessionRecord:
        return (await self._load(key)).entry.record

    async def list(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        rules.check_window(0, limit)
        self._open()
        last = None if after is None else await self.get(SessionKey(tenant, after))
        page: list[SessionRecord] = []
        if limit == 0:
            return page
        async for key, created_at in self._indexes.sessions(tenant, None if last is None else last.created_at):
            if last is not None and (created_at, key.id) >= (last.created_at, last.key.id):
                continue
            try:
                record = await self.get(key)
            except (SessionMissing, SessionExpired):
                # One that is young may only be on its way into the store.
                if created_at < time.time() - UNLISTED_SECONDS:
                    await self._unlist(key, created_at)
                continue
            if record.created_at != created_at:
                # The record decides: the index is put right, and the page begun anew.
                await self._indexes.list_session(key, record.created_at, sure=True)
                return await self.list(tenant, limit, after)
            page.append(record)
            if len(page) == limit:
                break
        return page

    async def delete(self, key: SessionKey) -> None:
        self._open()
        await self._forgetting.delete(key)

    async def append(
        self, key: SessionKey, offset: int | None, piece: bytes, at: float, repeats: bool = True
    ) -> Appended:
        rules.check_piece(offset, piece)
        self._open()
        await self._indexes.mark_unread(key)
        # One after the other: appends from here would only make each other begin anew.
        async with self._turns.setdefault(key, asyncio.Lock()):
            while True:
                appended = await self._steadily(key, lambda found: self._append(found, offset, piece, at, repeats))
                if appended is not None:
                    return appended

    async def _append(
        self, found: Found, offset: int | None, piece: bytes, at: float, repeats: bool
    ) -> Appended | None:
        """The answer, or None where another change came first."""
        entry, place = found.entry, names(found.entry.record.key)
        accepted = entry.record.accepted_bytes
        start, known, new = rules.placed(accepted, offset, piece, repeats)
        if known:
            await self._journal.recognise(entry, start, known)
        if not new:
            # Written where it was compared: what was read may be the word of a Redis that is master no more.
            used = replace(entry, record=rules.used(entry.record, at))
            sure = await self._records.change("replace", [place.record], found.sealed, self._records.seal(used))
            return Appended(used.record, replayed=True) if sure else None
        grown = replace(entry, record=rules.grown(entry.record, new, at))
        sealed, line = self._journal.sealed(entry, new)
        kept = await self._records.change(
            "append",
            [place.record, place.journal, place.pieces],
            found.sealed,
            self._records.seal(grown),
            accepted,
            sealed,
            line,
            entry.journal_offset,
            REPEATS_KEPT,
        )
        return Appended(grown.record, replayed=False) if kept else None

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        rules.check_window(offset, limit)
        return await self._steadily(key, lambda found: self._read_journal(found.entry, offset, limit))

    async def _read_journal(self, entry: Entry, offset: int, limit: int) -> bytes:
        accepted = entry.record.accepted_bytes
        if offset > accepted:
            raise OffsetMismatch(accepted)
        if offset < entry.journal_offset:
            raise rules.trimmed(offset, entry.journal_offset)
        return await self._journal.read(entry, offset, min(offset + limit, accepted))

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        self._open()
        return await self._leases.take(key, holder, seconds, ask)

    async def renew(self, lease: Lease, seconds: float) -> None:
        self._open()
        await self._leases.renew(lease, seconds)

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        self._open()
        return {lease.key for lease in leases if await self._leases.is_wanted(lease)}

    async def release(self, lease: Lease) -> None:
        self._open()
        await self._leases.release(lease)

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        key, mark = lease.key, Mark.of(checkpoint, secrets.token_hex(8))
        self._open()
        record = (await self._load(key)).entry.record
        lengths: list[int] | None = None
        while True:
            if not await self._leases.is_held(lease):
                raise rules.stale_lease(lease)
            rules.check_follows(record, checkpoint)
            if lengths is None:
                lengths = await self._memories.upload(record, mark, checkpoint.value)
            keep = partial(self._keep, lease=lease, mark=mark, checkpoint=checkpoint, lengths=lengths, at=at)
            if await self._steadily(key, keep):
                return
            record = (await self._load(key)).entry.record

    async def _keep(
        self,
        found: Found,
        lease: Lease,
        mark: Mark,
        checkpoint: StoredCheckpoint,
        lengths: builtins.list[int],
        at: float,
    ) -> bool:
        """Whether the uploaded memory became the newest; False where another change came first."""
        entry, place = found.entry, names(lease.key)
        rules.check_follows(entry.record, checkpoint)
        if await self._journal.chain_at(entry, checkpoint.offset) != checkpoint.chain:
            raise StaleCheckpoint(
                "the memory was read from another text than is stored: recover and read on from there"
            )
        marks = (*entry.marks, mark)
        kept, gone = marks[-CHECKPOINTS_KEPT:], marks[:-CHECKPOINTS_KEPT]
        journal_offset = entry.journal_offset
        if len(kept) == CHECKPOINTS_KEPT:
            begin = rules.trimmed_to(entry.record, entry.journal_offset, kept[0].offset)
            journal_offset = await self._journal.begin(entry, begin)
        moved = Entry(rules.moved(entry.record, checkpoint, at), journal_offset, kept)
        answer = await self._records.change(
            "checkpoint",
            [
                *(place.record, place.lease, place.journal, place.pieces, place.checkpoint(mark.attempt)),
                *(place.checkpoint(old.attempt) for old in gone),
            ],
            found.sealed,
            self._records.seal(moved),
            lease.holder,
            lease.epoch,
            entry.journal_offset,
            journal_offset,
            REPEATS_KEPT,
            *lengths,
        )
        match answer:
            case b"kept":
                return True
            case b"moved":
                return False
            case b"lease":
                raise rules.stale_lease(lease)
        raise StoreUnavailable("the memory's parts are not all there: store it again")

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        return await self._steadily(key, lambda found: self._recover(found, count))

    async def _recover(self, found: Found, count: int) -> Recovery:
        entry = found.entry
        sound: list[StoredCheckpoint] = []
        damaged: list[str] = []
        for mark in reversed(entry.marks):
            if len(sound) == count:
                break
            try:
                sound.append(await self._memories.load(entry.record, mark))
            except DamagedValue as error:
                damaged.append(str(error))
        journal_offset = await self._journal.gapless_from(entry)
        if journal_offset > entry.journal_offset:
            damaged.append(f"the journal of session {entry.record.key.id!r} has a gap before offset {journal_offset}")
        if damaged and await self._records.sealed(entry.record.key) != found.sealed:
            raise DamagedValue("; ".join(damaged))
        return Recovery(entry.record, tuple(sound), journal_offset, tuple(damaged))

    async def unread(self, bytes_min: int) -> "builtins.list[SessionRecord]":
        self._open()
        unread = []
        for key, marked_at in await self._indexes.unread():
            try:
                record = await self.get(key)
            except DamagedValue:
                continue
            except StoreError as error:
                if isinstance(error, StoreUnavailable):
                    raise
                await self._indexes.unmark(key, marked_at)
                continue
            if rules.is_unread(record, bytes_min):
                unread.append(record)
            else:
                await self._indexes.unmark(key, marked_at)
        return unread

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        await self._revise(key, lambda record: record.updated(quarantined=reason, updated_at=at))

    async def touch(self, key: SessionKey, at: float) -> None:
        await self._revise(key, lambda record: rules.used(record, at))

    async def expire(self, at: float) -> "builtins.list[SessionKey]":
        self._open()
        return await self._forgetting.expire(at)

    async def ready(self) -> None:
        self._open()
        await self._doctor.examine()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._link.close()
            await self._bulk.close()

    async def _unlist(self, key: SessionKey, created_at: float) -> None:
        """Takes a session out of the list that is not there, and puts it back if it came meanwhile."""
        await self._indexes.unlist_session(key, created_at)
        with suppress(SessionMissing, SessionExpired):
            await self._indexes.list_session(key, (await self.get(key)).created_at, sure=True)

    async def _revise(self, key: SessionKey, change: Callable[[SessionRecord], SessionRecord]) -> None:
        while True:
            found = await self._load(key)
            new = self._records.seal(replace(found.entry, record=change(found.entry.record)))
            if await self._records.change("replace", [names(key).record], found.sealed, new):
                return

    async def _load(self, key: SessionKey) -> Found:
        self._open()
        return await self._records.load(key)

    async def _steadily(self, key: SessionKey, work: Callable[[Found], Awaitable[Result]]) -> Result:
        """What `work` makes of the session; again where a value was missing because the session moved on meanwhile."""
        while True:
            found = await self._load(key)
            try:
                return await work(found)
            except DamagedValue:
                if await self._records.sealed(key) == found.sealed:
                    raise

    def _open(self) -> None:
        if self._closed:
            raise rules.closed()
