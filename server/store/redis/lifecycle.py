"""How a session begins and ends in Redis: created, deleted, or expired.

A session is listed before its record exists, and all of its keys are removed in one script. A change that was computed
before the removal is refused, since the record is gone.
"""

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

from server.store import rules, sharing
from server.store.base import (
    TOMBSTONE_SECONDS,
    DamagedValue,
    Pool,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    SessionTaken,
    StoredCheckpoint,
    StoreUnavailable,
)
from server.store.manifest import Manifest, pool_of
from server.store.parts import parts_bytes
from server.store.redis.cas import Found, Records, is_done
from server.store.redis.client import PAUSES_SECONDS, Link
from server.store.redis.errors import Unreachable
from server.store.redis.index import Indexes
from server.store.redis.loans import Loans
from server.store.redis.memories import Memories, Uploaded
from server.store.redis.names import Names, names
from server.store.redis.parts import UNKEPT_SECONDS


class Lifecycle:
    def __init__(self, link: Link, records: Records, memories: Memories, indexes: Indexes, loans: Loans) -> None:
        self._link, self._records, self._memories, self._indexes = link, records, memories, indexes
        self._loans = loans

    async def create(
        self, record: SessionRecord, checkpoint: StoredCheckpoint | None, source: SessionKey | None
    ) -> None:
        if checkpoint is None:
            await self._create(record, None)
            return
        if checkpoint.parts:
            await self._check_free(record.key)
        begun = time.monotonic()
        if source is None:
            uploaded = await self._memories.prepare(record, checkpoint)
        else:
            uploaded = await self._records.steadily(source, partial(self._fork, record=record, checkpoint=checkpoint))
        tenant, pool = record.key.tenant, pool_of(record)
        borrowed = sharing.borrowed(uploaded.stored.root, pool)
        try:
            await self._create(record, uploaded)
        except SessionTaken:
            await self._loans.give_back(tenant, pool, borrowed)
            raise
        # The sweep returns loans for a fork that was not created in time.
        if time.monotonic() - begun > UNKEPT_SECONDS / 2 or not await self._loans.are_held(tenant, pool, borrowed):
            await self.delete(record.key)
            raise StoreUnavailable("the fork took too long, and its parts may be gone: send it again")

    async def _fork(self, found: Found, record: SessionRecord, checkpoint: StoredCheckpoint) -> Uploaded:
        """The fork's first memory, with the parts that the source has lent to it."""
        roots = await self._memories.roots(found.entry)
        known = [roots[kept.attempt] for kept in found.entry.memories if kept.attempt in roots]
        more = await self._loans.borrowed(found.entry, checkpoint.parts, known)
        uploaded = await self._memories.prepare(record, checkpoint, {}, [*known, *more])
        await self._loans.lend(record.key.tenant, pool_of(record), uploaded.stored.root)
        return uploaded

    async def _check_free(self, key: SessionKey) -> None:
        with suppress(SessionMissing, SessionExpired):
            await self._records.sealed(key)
            raise rules.taken(key)

    async def _create(self, record: SessionRecord, uploaded: Uploaded | None) -> None:
        key, at = record.key, names(record.key)
        await self._indexes.list_session(key, record.created_at, sure=False)
        if record.expires_at is not None:
            await self._indexes.may_expire(key, record.expires_at)
        entry = Manifest(rules.trimmed_marks(record, record.accepted_bytes), record.accepted_bytes)
        memory: tuple[str, ...] = (at.checkpoint(secrets.token_hex(8)),)
        lengths: tuple[int, ...] = (0,)
        if uploaded is not None:
            root, memory, lengths = uploaded.stored.root, uploaded.keys, uploaded.lengths
            entry = replace(
                entry,
                checkpoints=(uploaded.stored.kept,),
                borrowed=sharing.borrowed(root, entry.pool),
                parts_bytes=parts_bytes([root], entry.pool),
            )
        sealed = self._records.seal(entry)
        keys = [at.record, *memory, at.tombstone, at.journal, at.pieces, at.lease]
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
            if await self._end(found):
                return

    async def expire(self, at: float) -> list[SessionKey]:
        over = []
        while candidates := await self._indexes.expired(at):
            for key, score in candidates:
                if await self._expire(key, score, at):
                    over.append(key)
        await self._loans.sweep(at)
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
            if await self._end(found, int(TOMBSTONE_SECONDS)):
                await self._indexes.remove_expiry(key, score)
                return True

    async def _unlist_expiry(self, key: SessionKey, score: float) -> None:
        """Removes a session from the index, and adds it again if it got a time to expire meanwhile."""
        await self._indexes.remove_expiry(key, score)
        with suppress(SessionMissing, SessionExpired, DamagedValue):
            expires_at = (await self._records.load(key)).entry.record.expires_at
            if expires_at is not None:
                await self._indexes.may_expire(key, expires_at)

    async def _end(self, found: Found, remembered_seconds: int = 0) -> bool:
        """Whether the session was removed, but for what it lends; False if its record has changed."""
        entry, key = found.entry, found.entry.record.key
        change = await self._memories.settle(entry, sharing.lender(key.tenant, entry.pool, entry.lent))
        lender = b""
        if entry.lent:
            lender = self._records.seal_lender(change.entry)
            await self._indexes.list_lender(key.tenant, entry.pool)
        if not await self._forget(key, found.sealed, change.removed, remembered_seconds, entry.pool, lender):
            return False
        await self._loans.give_back(key.tenant, entry.pool, entry.borrowed)
        await self._indexes.unlist_session(key, entry.record.created_at)
        return True

    async def _forget(
        self,
        key: SessionKey,
        sealed: bytes,
        removed: list[str],
        remembered_seconds: int = 0,
        pool: Pool | None = None,
        lender: bytes = b"",
    ) -> bool:
        """Whether the session was removed; False if its record has changed."""
        at = names(key)
        stays = at.lender(pool.lineage if pool else "")
        keys = [at.record, at.tombstone, stays, at.journal, at.pieces, at.lease, *removed]
        try:
            return bool(await self._link.change("forget", keys, sealed, remembered_seconds, lender))
        except Unreachable:
            await asyncio.sleep(PAUSES_SECONDS[0])
        if await self._link.change("forget", keys, sealed, remembered_seconds, lender):
            return True
        # The first script may have removed it.
        return await self._records.confirm_absence(key)

    async def _all_memories(self, at: Names) -> list[str]:
        """The memories and parts of a session whose record is damaged, except the parts that it may have lent."""
        found = await self._link.scan(at.checkpoint(""))
        lent = {name.split(":")[-2] for name in await self._link.scan(at.loans)}
        return [*found, *(name for name in await self._link.scan(at.parts) if name.split(":")[-2] not in lent)]
