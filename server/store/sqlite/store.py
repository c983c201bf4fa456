"""The embedded store: one SQLite file in one data folder, durable at every answer.

It hands each operation to the thread that owns the file; it knows neither rows nor transactions.
"""

import builtins
from functools import partial
from pathlib import Path

from server.store import rules
from server.store.contract import Appended, Recovery, SessionKey, SessionRecord, StoredCheckpoint
from server.store.sqlite import sessions, transactions
from server.store.sqlite.owner import Owner


class SqliteStore:
    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    @classmethod
    async def open(cls, folder: Path) -> "SqliteStore":
        """The store in `folder`, made when there is none; `StoreUnavailable` when another server holds it."""
        owner = Owner(folder)
        await owner.open()
        return cls(owner)

    async def create(self, record: SessionRecord) -> None:
        rules.check_new(record)
        await self.owner.run(partial(transactions.create, record=record))

    async def get(self, key: SessionKey) -> SessionRecord:
        entry = await self.owner.run(partial(sessions.load, key=key))
        return entry.record

    async def list(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        rules.check_window(0, limit)
        return await self.owner.run(partial(sessions.page, tenant=tenant, limit=limit, after=after))

    async def delete(self, key: SessionKey) -> None:
        await self.owner.run(partial(transactions.delete, key=key))

    async def append(self, key: SessionKey, offset: int | None, piece: bytes, at: float) -> Appended:
        rules.check_piece(offset, piece)
        return await self.owner.run(partial(transactions.append, key=key, offset=offset, piece=piece, at=at))

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        rules.check_window(offset, limit)
        return await self.owner.run(partial(transactions.read_journal, key=key, offset=offset, limit=limit))

    async def checkpoint(self, key: SessionKey, checkpoint: StoredCheckpoint, at: float) -> None:
        await self.owner.run(partial(transactions.checkpoint, key=key, newest=checkpoint, at=at))

    async def recover(self, key: SessionKey) -> Recovery:
        return await self.owner.run(partial(transactions.recover, key=key))

    async def unread(self, bytes_min: int) -> "builtins.list[SessionRecord]":
        return await self.owner.run(partial(sessions.unread, bytes_min=bytes_min))

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        await self.owner.run(partial(transactions.quarantine, key=key, reason=reason, at=at))

    async def ready(self) -> None:
        # Any operation opens a lost connection anew; this one asks for nothing else.
        await self.owner.run(lambda connection: None)

    async def close(self) -> None:
        await self.owner.close()
