"""Indexes over many sessions: a tenant's sessions by age, sessions with unread text, sessions that may expire.

An index may be in another slot than the session, so it is only a hint. It is written before the session's record; the
record decides, and an entry without a session is removed.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from server.store import rules
from server.store.base import (
    DamagedValue,
    Pool,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    StoreError,
    StoreUnavailable,
)
from server.store.redis.cas import Records
from server.store.redis.client import Link
from server.store.redis.names import (
    EXPIRY,
    LENDING,
    UNREAD,
    key_of,
    lenders_of,
    lending_member,
    member,
    pool_of_member,
    sessions_of,
)

# A session's mark as unread is renewed after this time, and removed only when it is three times as old.
REMARK_SECONDS = 20.0
_MARKS_CACHED_MAX = 100_000
PAGE = 256
# A listed session that is missing is removed from the list when it was created so long ago.
UNLISTED_SECONDS = 600.0


class Indexes:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._marked: dict[SessionKey, float] = {}

    async def list_session(self, key: SessionKey, created_at: float, sure: bool) -> None:
        """Adds a session to its tenant's list; unless `sure`, an earlier session of the same name keeps its entry."""
        index, place = sessions_of(key.tenant), (repr(created_at), key.id)
        await self._link.write(index, ("ZADD", index, *place) if sure else ("ZADD", index, "NX", *place), durable=True)

    async def unlist_session(self, key: SessionKey, created_at: float) -> None:
        await self._unlist(sessions_of(key.tenant), key.id, created_at)

    async def sessions(self, tenant: str, newest: float | None) -> AsyncIterator[tuple[SessionKey, float]]:
        """A tenant's sessions and when they were created, newest first, starting at `newest`."""
        index, start = sessions_of(tenant), 0
        high = "+inf" if newest is None else repr(newest)
        while True:
            [found] = await self._link.ask(
                index, ("ZREVRANGEBYSCORE", index, high, "-inf", "WITHSCORES", "LIMIT", start, PAGE)
            )
            for name, score in zip(found[::2], found[1::2], strict=True):
                id = bytes(name).decode(errors="replace")
                if id.encode() == name:
                    yield SessionKey(tenant, id), float(score)
            if len(found) < 2 * PAGE:
                return
            start += PAGE

    async def count(self, tenant: str) -> int:
        [found] = await self._link.ask(sessions_of(tenant), ("ZCARD", sessions_of(tenant)))
        return int(found)

    async def mark_unread(self, key: SessionKey) -> None:
        """Lists the session as possibly unread; written again only after REMARK_SECONDS."""
        now = time.monotonic()
        if now - self._marked.get(key, -REMARK_SECONDS) < REMARK_SECONDS:
            return
        await self._link.write(UNREAD, ("ZADD", UNREAD, repr(time.time()), member(key)), durable=True)
        # Inserted in the order of time, so that the first is the oldest.
        self._marked.pop(key, None)
        self._marked[key] = now
        if len(self._marked) > _MARKS_CACHED_MAX:
            del self._marked[next(iter(self._marked))]

    async def unread(self) -> list[tuple[SessionKey, float]]:
        [found] = await self._link.ask(UNREAD, ("ZRANGE", UNREAD, 0, -1, "WITHSCORES"))
        return await self._scored(UNREAD, found)

    async def unmark(self, key: SessionKey, marked_at: float) -> None:
        """Removes a session without unread text, unless an append may be on its way."""
        if time.time() - marked_at > 3 * REMARK_SECONDS:
            await self._unlist(UNREAD, member(key), marked_at)

    async def may_expire(self, key: SessionKey, at: float) -> None:
        """Lists the session as expiring at that time, unless it is listed as expiring before."""
        await self._link.write(EXPIRY, ("ZADD", EXPIRY, "LT", repr(at), member(key)), durable=True)

    async def expires(self, key: SessionKey, at: float) -> None:
        await self._link.change("relist", [EXPIRY], member(key), repr(at), durable=False)

    async def expired(self, at: float) -> list[tuple[SessionKey, float]]:
        """Up to PAGE sessions that may have expired, with their scores."""
        [found] = await self._link.ask(
            EXPIRY, ("ZRANGEBYSCORE", EXPIRY, "-inf", repr(at), "WITHSCORES", "LIMIT", 0, PAGE)
        )
        return await self._scored(EXPIRY, found)

    async def _scored(self, index: str, found: list[bytes]) -> list[tuple[SessionKey, float]]:
        """The answer's sessions and scores; a member that is no session's name is removed."""
        scored = []
        for name, score in zip(found[::2], found[1::2], strict=True):
            key = key_of(name)
            if member(key).encode() == name:
                scored.append((key, float(score)))
            else:
                await self._link.write(index, ("ZREM", index, name))
        return scored

    async def remove_expiry(self, key: SessionKey, score: float) -> None:
        await self._unlist(EXPIRY, member(key), score)

    async def may_lend(self, tenant: str, pool: Pool) -> None:
        """Lists a pool whose parts may be lent from now on; `lending` finds it once that is UNLISTED_SECONDS ago."""
        await self._link.write(
            LENDING, ("ZADD", LENDING, repr(time.time()), lending_member(tenant, pool)), durable=True
        )

    async def lends(self, tenant: str, pool: Pool, at: float) -> None:
        await self._link.write(LENDING, ("ZADD", LENDING, repr(at), lending_member(tenant, pool)))

    async def lending(self, at: float) -> list[tuple[str, Pool, float]]:
        """Up to PAGE pools that were listed UNLISTED_SECONDS before `at`: their tenants and scores, too."""
        high = repr(at - UNLISTED_SECONDS)
        [found] = await self._link.ask(
            LENDING, ("ZRANGEBYSCORE", LENDING, "-inf", high, "WITHSCORES", "LIMIT", 0, PAGE)
        )
        listed = []
        for name, score in zip(found[::2], found[1::2], strict=True):
            tenant, pool = pool_of_member(name)
            if lending_member(tenant, pool).encode() == name:
                listed.append((tenant, pool, float(score)))
            else:
                await self._link.write(LENDING, ("ZREM", LENDING, name))
        return listed

    async def remove_lending(self, tenant: str, pool: Pool, score: float) -> None:
        await self._unlist(LENDING, lending_member(tenant, pool), score)

    async def list_lender(self, tenant: str, pool: Pool) -> None:
        """Lists a pool before its session is removed, so that its parts are counted."""
        index, name = lenders_of(tenant), lending_member(tenant, pool)
        await self._link.write(index, ("ZADD", index, repr(time.time()), name), durable=True)

    async def lenders(self, tenant: str) -> list[tuple[Pool, float]]:
        [found] = await self._link.ask(lenders_of(tenant), ("ZRANGE", lenders_of(tenant), 0, -1, "WITHSCORES"))
        pools = ((pool_of_member(name), score) for name, score in zip(found[::2], found[1::2], strict=True))
        return [(pool, float(score)) for (owner, pool), score in pools if owner == tenant]

    async def remove_lender(self, tenant: str, pool: Pool, score: float | None = None) -> None:
        """Removes a pool whose lender is gone; with a score, only while it has that."""
        index, name = lenders_of(tenant), lending_member(tenant, pool)
        if score is None:
            await self._link.write(index, ("ZREM", index, name))
        else:
            await self._unlist(index, name, score)

    async def _unlist(self, index: str, name: str, score: float) -> None:
        await self._link.change("unlist", [index], name, f"{score:.17g}", durable=False)


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
                # A young one may still be in creation.
                if created_at < time.time() - UNLISTED_SECONDS:
                    await self._unlist(key, created_at)
                continue
            if record.created_at != created_at:
                # The record decides: correct the index, and start the page again.
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
        """The number of listed sessions, some of which may be in creation or deletion."""
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
        """Removes a missing session from the list, and adds it again if it was created meanwhile."""
        await self._indexes.unlist_session(key, created_at)
        with suppress(SessionMissing, SessionExpired):
            await self._indexes.list_session(key, (await self._get(key)).created_at, sure=True)
