"""Looking over many sessions at once: a tenant's by age, how many they are and what they take, those not read.

It knows that an index is only a hint and that each session's own record decides.
"""

import asyncio
import time
from contextlib import suppress

from server.store import rules
from server.store.base import (
    DamagedValue,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    StoreError,
    StoreUnavailable,
)
from server.store.redis.cas import Records
from server.store.redis.index import PAGE, Indexes

# A session that is listed but not there is taken out of the list when it was created so long ago.
UNLISTED_SECONDS = 600.0


class Listing:
    def __init__(self, records: Records, indexes: Indexes) -> None:
        self._records, self._indexes = records, indexes

    async def page(self, tenant: str, limit: int, after: str | None) -> list[SessionRecord]:
        last = None if after is None else await self._get(SessionKey(tenant, after))
        page: list[SessionRecord] = []
        if limit == 0:
            return page
        async for key, created_at in self._indexes.sessions(tenant, None if last is None else last.created_at):
            if last is not None and (created_at, key.id) >= (last.created_at, last.key.id):
                continue
            try:
                record = await self._get(key)
            except (SessionMissing, SessionExpired):
                # One that is young may only be on its way into the store.
                if created_at < time.time() - UNLISTED_SECONDS:
                    await self._unlist(key, created_at)
                continue
            if record.created_at != created_at:
                # The record decides: the index is put right, and the page begun anew.
                await self._indexes.list_session(key, record.created_at, sure=True)
                return await self.page(tenant, limit, after)
            page.append(record)
            if len(page) == limit:
                break
        return page

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        unread = []
        for key, marked_at in await self._indexes.unread():
            try:
                record = await self._get(key)
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

    async def count(self, tenant: str) -> int:
        """As many as are listed: what is just being made or forgotten may be among them."""
        return await self._indexes.count(tenant)

    async def stored_bytes(self, tenant: str) -> int:
        keys = [key async for key, _ in self._indexes.sessions(tenant, None)]
        total = 0
        for start in range(0, len(keys), PAGE):
            total += sum(await asyncio.gather(*map(self._stored_bytes, keys[start : start + PAGE])))
        return total

    async def _stored_bytes(self, key: SessionKey) -> int:
        try:
            return (await self._records.load(key)).entry.stored_bytes
        except (SessionMissing, SessionExpired, DamagedValue):
            return 0

    async def _get(self, key: SessionKey) -> SessionRecord:
        return (await self._records.load(key)).entry.record

    async def _unlist(self, key: SessionKey, created_at: float) -> None:
        """Takes a session out of the list that is not there, and puts it back if it came meanwhile."""
        await self._indexes.unlist_session(key, created_at)
        with suppress(SessionMissing, SessionExpired):
            await self._indexes.list_session(key, (await self._get(key)).created_at, sure=True)
