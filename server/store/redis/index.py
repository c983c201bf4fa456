"""What is found without knowing a session's name: a tenant's sessions by age, unread ones, ones that may expire.

An index may lie in another slot than the session, so it is only a hint: it is written before the session is, the
session's own record decides, and what it names in vain is taken out. It knows members and scores, no records.
"""

import time
from collections.abc import AsyncIterator

from server.store.base import SessionKey
from server.store.redis.client import Link
from server.store.redis.names import EXPIRY, UNREAD, key_of, member, sessions_of

# A session is put among the unread again after so long; nothing is taken out that is younger than thrice that.
REMARK_SECONDS = 20.0
_REMEMBERED_MAX = 100_000
PAGE = 256


class Indexes:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._marked: dict[SessionKey, float] = {}

    async def list_session(self, key: SessionKey, created_at: float, sure: bool) -> None:
        """Puts a session in its tenant's list; until it is `sure`, an earlier one of its name keeps its place."""
        index, place = sessions_of(key.tenant), (repr(created_at), key.id)
        await self._link.write(index, ("ZADD", index, *place) if sure else ("ZADD", index, "NX", *place), durable=True)

    async def unlist_session(self, key: SessionKey, created_at: float) -> None:
        await self._unlist(sessions_of(key.tenant), key.id, created_at)

    async def sessions(self, tenant: str, newest: float | None) -> AsyncIterator[tuple[SessionKey, float]]:
        """A tenant's sessions with their ages, newest first, from those created at `newest` on."""
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
        """Sees to it that the session is found should nobody read it; written anew only now and then."""
        now = time.monotonic()
        if now - self._marked.get(key, -REMARK_SECONDS) < REMARK_SECONDS:
            return
        await self._link.write(UNREAD, ("ZADD", UNREAD, repr(time.time()), member(key)), durable=True)
        # In the order of their marks, so that the first is the oldest.
        self._marked.pop(key, None)
        self._marked[key] = now
        if len(self._marked) > _REMEMBERED_MAX:
            del self._marked[next(iter(self._marked))]

    async def unread(self) -> list[tuple[SessionKey, float]]:
        [found] = await self._link.ask(UNREAD, ("ZRANGE", UNREAD, 0, -1, "WITHSCORES"))
        return await self._scored(UNREAD, found)

    async def unmark(self, key: SessionKey, marked_at: float) -> None:
        """Takes a session out that has nothing unread, unless somebody may be about to append to it."""
        if time.time() - marked_at > 3 * REMARK_SECONDS:
            await self._unlist(UNREAD, member(key), marked_at)

    async def may_expire(self, key: SessionKey, at: float) -> None:
        """Sees to it that the session is looked at then, or before."""
        await self._link.write(EXPIRY, ("ZADD", EXPIRY, "LT", repr(at), member(key)), durable=True)

    async def expires(self, key: SessionKey, at: float) -> None:
        await self._link.write(EXPIRY, ("ZADD", EXPIRY, repr(at), member(key)))

    async def expired(self, at: float) -> list[tuple[SessionKey, float]]:
        """Some of the sessions that may be over."""
        [found] = await self._link.ask(
            EXPIRY, ("ZRANGEBYSCORE", EXPIRY, "-inf", repr(at), "WITHSCORES", "LIMIT", 0, PAGE)
        )
        return await self._scored(EXPIRY, found)

    async def _scored(self, index: str, found: list[bytes]) -> list[tuple[SessionKey, float]]:
        """The answer's members, each with the score behind it; what nobody wrote there is taken out."""
        scored = []
        for name, score in zip(found[::2], found[1::2], strict=True):
            key = key_of(name)
            if member(key).encode() == name:
                scored.append((key, float(score)))
            else:
                await self._link.write(index, ("ZREM", index, name))
        return scored

    async def does_not_expire(self, key: SessionKey, score: float) -> None:
        await self._unlist(EXPIRY, member(key), score)

    async def _unlist(self, index: str, name: str, score: float) -> None:
        await self._link.change("unlist", [index], name, f"{score:.17g}", durable=False)
