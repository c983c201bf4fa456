"""The embedded store: one SQLite file in one data folder. Every operation is durable when it returns.

Operations run on the writer thread, which owns the file.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from server.store import rules
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
from server.store.local_leases import Leases
from server.store.sqlite import operations, sessions, snapshot_operations
from server.store.sqlite import parts as stored_parts
from server.store.sqlite import redaction as redaction_operation
from server.store.sqlite.writer_thread import WriterThread


class SqliteStore:
    durability = "fsync"
    shared = False

    def __init__(self, writer: WriterThread) -> None:
        self.writer = writer
        # Only one process has the folder, so the holders of leases from before it started are gone.
        self._leases = Leases()

    @classmethod
    async def open(cls, folder: Path) -> "SqliteStore":
        """The store in `folder`, created if missing; `StoreUnavailable` when another server holds the folder."""
        writer = WriterThread(folder)
        await writer.open()
        return cls(writer)

    async def create(
        self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None, source: SessionKey | None = None
    ) -> None:
        rules.check_new(record, checkpoint)
        await self.writer.run(partial(operations.create, record=record, first=checkpoint, source=source))

    async def get(self, key: SessionKey) -> SessionRecord:
        manifest = await self.writer.run(partial(sessions.load, key=key))
        return manifest.record

    async def list_sessions(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        rules.check_window(0, limit)
        return await self.writer.run(partial(sessions.page, tenant=tenant, limit=limit, after=after))

    async def delete(self, key: SessionKey) -> None:
        await self.writer.run(partial(operations.delete, key=key))
        self._leases.forget(key)

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
        append = partial(operations.append, key=key, offset=offset, piece=piece, at=at)
        return await self.writer.run(partial(append, repeats=repeats, document=document))

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        rules.check_window(offset, limit)
        return await self.writer.run(partial(operations.read_journal, key=key, offset=offset, limit=limit))

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        await self.get(key)
        return self._leases.take(key, holder, seconds, ask, time.time())

    async def renew(self, lease: Lease, seconds: float) -> None:
        await self.get(lease.key)
        self._leases.renew(lease, seconds, time.time())

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        return {lease.key for lease in leases if self._leases.is_wanted(lease)}

    async def release(self, lease: Lease) -> None:
        self._leases.release(lease)

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        check = partial(self._leases.check, lease)
        await self.writer.run(partial(operations.checkpoint, key=lease.key, newest=checkpoint, at=at, check=check))

    async def load(self, key: SessionKey, parts: Sequence[StoredPart]) -> list[bytes]:
        found: list[bytes] = []
        for group in stored_parts.grouped(parts):
            values = await self.writer.run(partial(operations.fetch_parts, key=key, some=group))
            # Hashing takes longer than reading, and other threads run meanwhile.
            found += await asyncio.to_thread(stored_parts.checked, group, values)
        if not parts:
            await self.get(key)
        return found

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        return await self.writer.run(partial(operations.recover, key=key, count=count))

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        keep = partial(
            snapshot_operations.keep_snapshot, key=key, name=name, lineage=lineage, checkpoint=checkpoint, at=at
        )
        chain = await self._chain_at(key, checkpoint.offset)
        return await self.writer.run(partial(keep, known_chain=chain))

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        return await self.writer.run(partial(snapshot_operations.list_snapshots, key=key))

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        return await self.writer.run(partial(snapshot_operations.load_snapshot, key=key, name=name))

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        await self.writer.run(partial(snapshot_operations.drop_snapshot, key=key, name=name))

    async def rewind(
        self,
        record: SessionRecord,
        checkpoint: StoredCheckpoint,
        lineage: str,
        at: float,
        marks: tuple[Mark, ...] = (),
    ) -> SessionRecord:
        rewind = partial(
            snapshot_operations.rewind, record=record, checkpoint=checkpoint, lineage=lineage, at=at, marks=marks
        )
        chain = await self._chain_at(record.key, checkpoint.offset) if record.keep_text else None
        end_lease = partial(self._leases.end, record.key)
        return await self.writer.run(partial(rewind, known_chain=chain, end_lease=end_lease))

    async def redact(self, record: SessionRecord, redaction: Redaction, lineage: str, at: float) -> SessionRecord:
        redact = partial(redaction_operation.redact, record=record, redaction=redaction, lineage=lineage, at=at)
        return await self.writer.run(partial(redact, end_lease=partial(self._leases.end, record.key)), erases=True)

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        rebuild = partial(
            snapshot_operations.rebuild, record=record, model=model, fingerprint=fingerprint, lineage=lineage, at=at
        )
        return await self.writer.run(partial(rebuild, end_lease=partial(self._leases.end, record.key)))

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        return await self.writer.run(partial(operations.unread, bytes_min=bytes_min))

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        await self.writer.run(partial(operations.quarantine, key=key, reason=reason, at=at))

    async def touch(self, key: SessionKey, at: float) -> None:
        await self.writer.run(partial(operations.touch, key=key, at=at))

    async def revise(self, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
        return await self.writer.run(partial(operations.revise, key=key, change=change, at=at))

    async def count(self, tenant: str) -> int:
        return await self.writer.run(partial(sessions.count, tenant=tenant))

    async def stored_bytes(self, tenant: str) -> int:
        return await self.writer.run(partial(operations.stored_bytes, tenant=tenant))

    async def expire(self, at: float) -> list[SessionKey]:
        expired = await self.writer.run(partial(operations.expire, at=at))
        for key in expired:
            self._leases.forget(key)
        return expired

    async def ready(self) -> None:
        # Any operation reopens a lost connection; this one does nothing else.
        await self.writer.run(lambda connection: None)

    async def close(self) -> None:
        await self.writer.close()

    async def _chain_at(self, key: SessionKey, offset: int) -> str | None:
        """The chain of the session's first `offset` bytes; None where the journal does not show it."""
        look_back = partial(snapshot_operations.look_back, key=key, offset=offset)
        known = await self.writer.run(partial(look_back, known=None))
        while known is not None and known.offset > offset:
            known = await self.writer.run(partial(look_back, known=known))
        return None if known is None else known.chain
