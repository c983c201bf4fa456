"""A semaphore whose places are shared out between tenants."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.engine.fair_queue import has_room


class FairSemaphore:
    """At most `count` places are held at a time; beyond that only a tenant with less than its share gets one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """Holds a place while the block runs; the waiters of one tenant are served in order."""
        await self._take(tenant)
        try:
            yield
        finally:
            self._give_back(tenant)

    async def _take(self, tenant: str) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(place)
        self._hand_out()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():
                self._give_back(tenant)
            raise

    def _give_back(self, tenant: str) -> None:
        self._taken -= Counter([tenant])
        self._hand_out()

    def _hand_out(self) -> None:
        """Gives each free place to the waiting tenant that holds the fewest."""
        while able := [tenant for tenant in self._waiting if has_room(self._count, self._taken, tenant)]:
            tenant = min(able, key=self._taken.__getitem__)
            place = self._waiting[tenant].popleft()
            if not self._waiting[tenant]:
                del self._waiting[tenant]
            if not place.done():
                self._taken[tenant] += 1
                place.set_result(None)
