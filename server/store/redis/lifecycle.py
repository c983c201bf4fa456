"""How a session begins and ends in Redis: created, deleted, or expired.

A session is listed before its record exists, and all of its keys are removed in one script. A change that was computed
before the removal is refused, since the record is gone.
"""

import asyncio
import re
import secrets
from contextlib import suppress

from server.store import rules
from server.store.base import (
    TOMBSTONE_SECONDS,
    DamagedValue,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    StoredCheckpoint,
)
from server.store.manifest import KeptCheckpoint, Manifest
from server.store.redis.cas import Records, is_done
from server.store.redis.checkpoints import Memories
from server.store.redis.client import PAUSES_SECONDS, Link
from server.store.redis.errors import Unreachable
from server.store.redis.index import Indexes
from server.store.redis.names import Names, names


class Lifecycle:
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
        trimmed = rules.trimmed_marks(record, record.accepted_bytes)
        sealed = self._records.seal(Manifest(trimmed, record.accepted_bytes, checkpoints))
        keys = [at.record, at.checkpoint(attempt), at.tombstone, at.journal, at.pieces, at.lease]
        try:
            made = is_done(await self._link.change("create", keys, sealed, *lengths))
        except Unreachable:
            await asyncio.sleep(PAUSES_SECONDS[0])
            made = is_done(await self._link.change("create", keys, sealed, *lengths))
            while not made and (found := await self._records.load(key)).entry.record.lineage == record.lineage:
                # The first script created it, and the session may have changed since.
                made = await self._records.confirm(at.record, found.sealed)
        if not made:
            raise rules.taken(key)
        await self._indexes.list_session(key, record.created_at, sure=True)
        if record.expires_at is not None:
            # Again: a sweep that expired an earlier session of this name may have removed the entry meanwhile.
            await self._indexes.may_expire(key, record.expires_at)

    async def delete(self, key: SessionKey) -> None:
        at = names(key)
        while True:
            try:
                sealed = await self._records.sealed(key)
            except SessionExpired:
                await self._link.write(at.record, ("UNLINK", at.tombstone), durable=True)
                return
            try:
                found = await self._records.load(key)
            except DamagedValue:
                if await self._forget(key, sealed, await self._all_memories(at)):
                    return
                continue
            if await self._forget(key, found.sealed, at.checkpoints(found.entry.memories)):
                await self._indexes.unlist_session(key, found.entry.record.created_at)
                return

    async def expire(self, at: float) -> list[SessionKey]:
        over = []
        while candidates := await self._indexes.expired(at):
            for key, score in candidates:
                if await self._expire(key, score, at):
                    over.append(key)
        return over

    async def _expire(self, key: SessionKey, score: float, at: float) -> bool:
        """Whether the session had expired and was removed; if not, the index says when to check it again."""
        while True:
            try:
                found = await self._records.load(key)
            except (SessionMissing, SessionExpired, DamagedValue):
                await self._unlist_expiry(key, score)
                return False
            record = found.entry.record
            if record.expires_at is None:
                await self._unlist_expiry(key, score)
                return False
            if not rules.is_expired(record, at):
                await self._indexes.expires(key, record.expires_at)
                return False
            memories = names(key).checkpoints(found.entry.memories)
            if await self._forget(key, found.sealed, memories, int(TOMBSTONE_SECONDS)):
                await self._indexes.unlist_session(key, record.created_at)
                await self._indexes.remove_expiry(key, score)
                return True

    async def _unlist_expiry(self, key: SessionKey, score: float) -> None:
        """Removes a session from the index, and adds it again if it got a time to expire meanwhile."""
        await self._indexes.remove_expiry(key, score)
        with suppress(SessionMissing, SessionExpired, DamagedValue):
            expires_at = (await self._records.load(key)).entry.record.expires_at
            if expires_at is not None:
                await self._indexes.may_expire(key, expires_at)

    async def _forget(self, key: SessionKey, sealed: bytes, memories: list[str], remembered_seconds: int = 0) -> bool:
        """Whether the session was removed; False if its record has changed."""
        at = names(key)
        keys = [at.record, at.tombstone, at.journal, at.pieces, at.lease, *memories]
        try:
            return bool(await self._link.change("forget", keys, sealed, remembered_seconds))
        except Unreachable:
            await asyncio.sleep(PAUSES_SECONDS[0])
        if await self._link.change("forget", keys, sealed, remembered_seconds):
            return True
        # The first script may have removed it.
        return await self._records.confirm_absence(key)

    async def _all_memories(self, at: Names) -> list[str]:
        """The memories of a session whose record is damaged, found by a scan of all keys."""
        found, cursor = list[str](), b"0"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", at.checkpoint("")) + "*"
        while True:
            [[cursor, some]] = await self._link.ask(at.record, ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
            found += [name.decode() for name in some]
            if cursor == b"0":
                return found
