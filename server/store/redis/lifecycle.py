"""How a session begins: empty, or with a memory; it is listed before it is there, and never half there.

It knows which keys a new session has, and nothing of how it goes on.
"""

import asyncio
import secrets

from server.store import rules
from server.store.base import SessionRecord, StoredCheckpoint
from server.store.manifest import KeptCheckpoint, Manifest
from server.store.redis.cas import Records, is_done
from server.store.redis.client import PAUSES_SECONDS, Link
from server.store.redis.errors import Unreachable
from server.store.redis.index import Indexes
from server.store.redis.memories import Memories
from server.store.redis.names import names


class Beginning:
    def __init__(self, link: Link, records: Records, memories: Memories, indexes: Indexes) -> None:
        self._link, self._records, self._memories, self._indexes = link, records, memories, indexes

    async def create(self, record: SessionRecord, checkpoint: StoredCheckpoint | None) -> None:
        key, at, attempt = record.key, names(record.key), secrets.token_hex(8)
        checkpoints, lengths = tuple[KeptCheckpoint, ...](), list[int]()
        if checkpoint is not None:
            checkpoints = (KeptCheckpoint.of(checkpoint, attempt),)
            lengths = await self._memories.upload(record, checkpoints[0], checkpoint.value)
        await self._indexes.list_session(key, record.created_at, sure=False)
        if record.expires_at is not None:
            await self._indexes.may_expire(key, record.expires_at)
        sealed = self._records.seal(Manifest(record, record.accepted_bytes, checkpoints))
        keys = [at.record, at.checkpoint(attempt), at.tombstone, at.journal, at.pieces, at.lease]
        try:
            made = is_done(await self._link.change("create", keys, sealed, *lengths))
        except Unreachable:
            await asyncio.sleep(PAUSES_SECONDS[0])
            made = is_done(await self._link.change("create", keys, sealed, *lengths))
            while not made and (found := await self._records.load(key)).entry.record.lineage == record.lineage:
                # It was made the first time, and may have moved on since.
                made = await self._records.confirm(at.record, found.sealed)
        if not made:
            raise rules.taken(key)
        await self._indexes.list_session(key, record.created_at, sure=True)
        if record.expires_at is not None:
            # Once more, for whoever found an earlier session of this name over may have taken it out meanwhile.
            await self._indexes.may_expire(key, record.expires_at)
