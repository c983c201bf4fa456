"""The embedded store: one SQLite file in one data folder, durable at every answer.

It hands each operation to the thread that owns the file; it knows neither rows nor transactions.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from server.store import rules
from server.store.base import (
    CHECKPOINTS_KEPT,
    Appended,
    Lease,
    Recovery,
    SessionKey,
    SessionRecord,
    Snapshot,
    StoredCheckpoint,
)
from server.store.local_leases import Leases
from server.store.sqlite import operations, sessions, snapshot_operations
from server.store.sqlite.writer_thread import Owner


class SqliteStore:
    durability = "fsync"
    shared = False

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        # Only one process has the folder, so whoever held a lease before it started is gone.
        self._leases = Leases()

    @classmethod
    async def open(cls, folder: Path) -> "SqliteStore":
        """The store in `folder`, made when there is none; `StoreUnavailable` when another server holds it."""
        owner = Owner(folder)
        await owner.open()
        return cls(owner)

    async def create(self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None) -> None:
        rules.check_new(record, checkpoint)
        await self.owner.run(partial(operations.create, record=record, first=checkpoint))

    async def get(self, key: SessionKey) -> SessionRecord:
        entry = await self.owner.run(partial(sessions.load, key=key))
        return entry.record

    async def list_sessions(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        rules.check_window(0, limit)
        return await self.owner.run(partial(sessions.page, tenant=tenant, limit=limit, after=after))

    async def delete(self, key: SessionKey) -> None:
        await self.owner.run(partial(operations.delete, key=key))
        self._leases.forget(key)

    async def append(self, key: SessionKey, offset: int, piece: bytes, at: float, repeats: bool = True) -> Appended:
        rules.check_piece(offset, piece)
        return await self.owner.run(
            partial(operations.append, key=key, offset=offset, piece=piece, at=at, repeats=repeats)
        )

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        rules.check_window(offset, limit)
        return await self.owner.run(partial(operations.read_journal, key=key, offset=offset, limit=limit))

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
        await self.owner.run(partial(operations.checkpoint, key=lease.key, newest=checkpoint, at=at, check=check))

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        return await self.owner.run(partial(operations.recover, key=key, count=count))

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        keep = partial(
            snapshot_operations.keep_snapshot, key=key, name=name, lineage=lineage, checkpoint=checkpoint, at=at
        )
        chain = await self._chain_at(key, checkpoint.offset)
        return await self.owner.run(partial(keep, known_chain=chain))

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        return await self.owner.run(partial(snapshot_operations.list_snapshots, key=key))

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        return await self.owner.run(partial(snapshot_operations.load_snapshot, key=key, name=name))

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        await self.owner.run(partial(snapshot_operations.drop_snapshot, key=key, name=name))

    async def rewind(
        self, record: SessionRecord, checkpoint: StoredCheckpoint, lineage: str, at: float
    ) -> SessionRecord:
        rewind = partial(snapshot_operations.rewind, record=record, checkpoint=checkpoint, lineage=lineage, at=at)
        chain = await self._chain_at(record.key, checkpoint.offset) if record.keep_text else None
        end_lease = partial(self._leases.end, record.key)
        return await self.owner.run(partial(rewind, known_chain=chain, end_lease=end_lease))

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        rebuild = partial(
            snapshot_operations.rebuild, record=record, model=model, fingerprint=fingerprint, lineage=lineage, at=at
        )
        return await self.owner.run(partial(rebuild, end_lease=partial(self._leases.end, record.key)))

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        return await self.owner.run(partial(operations.unread, bytes_min=bytes_min))

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        await self.owner.run(partial(operations.quarantine, key=key, reason=reason, at=at))

    async def touch(self, key: SessionKey, at: float) -> None:
        await self.owner.run(partial(operations.touch, key=key, at=at))

    async def revise(self, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
        return await self.owner.run(partial(operations.revise, key=key, change=change, at=at))

    async def count(self, tenant: str) -> int:
        return await self.owner.run(partial(sessions.count, tenant=tenant))

    async def stored_bytes(self, tenant: str) -> int:
        return await self.owner.run(partial(operations.stored_bytes, tenant=tenant))

    async def expire(self, at: float) -> list[SessionKey]:
        over = await self.owner.run(partial(operations.expire, at=at))
        for key in over:
            self._leases.forget(key)
        return over

    async def ready(self) -> None:
        # Any operation opens a lost connection anew; this one asks for nothing else.
        await self.owner.run(lambda connection: None)

    async def close(self) -> None:
        await self.owner.close()

    async def _chain_at(self, key: SessionKey, offset: int) -> str | None:
        """The chain of the session's first `offset` bytes, where the journal can tell."""
        look_back = partial(snapshot_operations.look_back, key=key, offset=offset)
        known = await self.owner.run(partial(look_back, known=None))
        while known is not None and known.offset > offset:
            known = await self.owner.run(partial(look_back, known=known))
        return None if known is None else known.chain
