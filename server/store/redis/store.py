"""The store on Redis or Valkey, shared by several servers.

All keys of a session are in one slot. A change is computed here from the session's record, and a script writes it only
if the record is still the same. Leases follow the clock of Redis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from server.store import rules, sharing
from server.store.base import (
    CHECKPOINTS_KEPT,
    Appended,
    Lease,
    Mark,
    Recovery,
    Redaction,
    SessionKey,
    SessionRecord,
    Snapshot,
    StoredCheckpoint,
    StoredPart,
)
from server.store.encryption import Sealer
from server.store.redis.cas import Found, Records
from server.store.redis.checkpoints import Checkpoints
from server.store.redis.client import Link
from server.store.redis.health import Doctor
from server.store.redis.index import Indexes, Listing
from server.store.redis.journal import Journal, RedisTexts
from server.store.redis.leases import Leases
from server.store.redis.lifecycle import Lifecycle
from server.store.redis.loans import Loans
from server.store.redis.memories import Memories
from server.store.redis.parts import Parts
from server.store.redis.redaction import Redactions
from server.store.redis.snapshots import RedisSnapshots


class RedisStore:
    """`control` and `bulk` are clients of the same Redis: memories go over `bulk`, so that they delay no append."""

    shared = True

    def __init__(self, control: Link, bulk: Link, sealer: Sealer, doctor: Doctor) -> None:
        self._link, self._bulk, self._doctor = control, bulk, doctor
        self.durability = control.durability.name
        records, indexes = Records(control, sealer), Indexes(control)
        journal, parts = Journal(control, sealer), Parts(bulk, sealer)
        memories = Memories(bulk, sealer, parts)
        loans = Loans(control, records, memories, parts, indexes)
        self._records, self._indexes, self._memories = records, indexes, memories
        self._parts, self._loans = parts, loans
        self._leases = Leases(control, records)
        self._lifecycle = Lifecycle(control, records, memories, indexes, loans)
        self._listing = Listing(records, indexes)
        self._texts = RedisTexts(records, journal, indexes)
        self._checkpoints = Checkpoints(records, journal, memories, self._leases, loans)
        self._copies = RedisSnapshots(records, journal, memories, indexes, loans)
        self._redactions = Redactions(records, journal, memories, loans)
        self._closed = False

    async def create(
        self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None, source: SessionKey | None = None
    ) -> None:
        rules.check_new(record, checkpoint)
        self._open()
        await self._lifecycle.create(record, checkpoint, source)

    async def get(self, key: SessionKey) -> SessionRecord:
        self._open()
        return (await self._records.load(key)).entry.record

    async def list_sessions(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        rules.check_window(0, limit)
        self._open()
        return await self._listing.page(tenant, limit, after)

    async def delete(self, key: SessionKey) -> None:
        self._open()
        await self._lifecycle.delete(key)

    async def append(
        self,
        key: SessionKey,
        offset: int,
        piece: bytes,
        at: float,
        repeats: bool = True,
        document: str | None = None,
    ) -> Appended:
        rules.check_piece(offset, piece)
        self._open()
        return await self._texts.append(key, offset, piece, at, repeats, document)

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        rules.check_window(offset, limit)
        self._open()
        return await self._records.steadily(key, partial(self._texts.read, offset=offset, limit=limit))

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        self._open()
        return await self._leases.take(key, holder, seconds, ask)

    async def renew(self, lease: Lease, seconds: float) -> None:
        self._open()
        await self._leases.renew(lease, seconds)

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        self._open()
        return await self._leases.wanted(leases)

    async def release(self, lease: Lease) -> None:
        self._open()
        await self._leases.release(lease)

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        self._open()
        await self._checkpoints.keep(lease, checkpoint, at)

    async def load(self, key: SessionKey, parts: Sequence[StoredPart]) -> list[bytes]:
        self._open()
        return await self._records.steadily(key, partial(self._load, parts=parts))

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        self._open()
        return await self._records.steadily(key, partial(self._checkpoints.recover, count=count))

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        self._open()
        return await self._copies.keep_snapshot(key, name, lineage, checkpoint, at)

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        self._open()
        entry = (await self._records.load(key)).entry
        return [kept.snapshot for kept in reversed(entry.snapshots)]

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        self._open()
        return await self._records.steadily(key, partial(self._copies.load_snapshot, name=name))

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        self._open()
        await self._copies.drop_snapshot(key, name)

    async def rewind(
        self,
        record: SessionRecord,
        checkpoint: StoredCheckpoint,
        lineage: str,
        at: float,
        marks: tuple[Mark, ...] = (),
    ) -> SessionRecord:
        self._open()
        return await self._copies.rewind(record, checkpoint, lineage, at, marks)

    async def redact(self, record: SessionRecord, redaction: Redaction, lineage: str, at: float) -> SessionRecord:
        self._open()
        return await self._redactions.redact(record, redaction, lineage, at)

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        self._open()
        return await self._copies.rebuild(record, model, fingerprint, lineage, at)

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        self._open()
        return await self._listing.unread(bytes_min)

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        self._open()
        await self._records.revise(key, lambda record: replace(record, quarantined=reason, updated_at=at))

    async def touch(self, key: SessionKey, at: float) -> None:
        self._open()
        await self._records.revise(key, lambda record: rules.used(record, at))

    async def revise(self, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
        self._open()
        revised = rules.revised((await self._records.load(key)).entry.record, change, at)
        # Before the change, so that an expiring session is always listed; and after it, because a sweep that read the
        # record before the change may have removed the entry.
        if revised.expires_at is not None:
            await self._indexes.may_expire(key, revised.expires_at)
        revised = await self._records.revise(key, lambda record: rules.revised(record, change, at))
        if revised.expires_at is not None:
            await self._indexes.may_expire(key, revised.expires_at)
        return revised

    async def count(self, tenant: str) -> int:
        self._open()
        return await self._listing.count(tenant)

    async def stored_bytes(self, tenant: str) -> int:
        self._open()
        return await self._listing.stored_bytes(tenant) + await self._loans.stored_bytes(tenant)

    async def expire(self, at: float) -> list[SessionKey]:
        self._open()
        return await self._lifecycle.expire(at)

    async def ready(self) -> None:
        self._open()
        await self._doctor.examine()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._link.close()
            await self._bulk.close()

    async def _load(self, found: Found, parts: Sequence[StoredPart]) -> list[bytes]:
        for part in parts:
            if not sharing.may_load(found.entry, part.pool):
                part.content()
        return await self._parts.load(found.entry.record.key.tenant, parts)

    def _open(self) -> None:
        if self._closed:
            raise rules.closed()
