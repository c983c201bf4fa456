"""A limited number of places to work in at the same time, shared out between tenants.

It knows asyncio and who waits, and nothing of what is done in a place.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.engine.fair_queue import has_room


class FairSemaphore:
    """Places for `count` at a time, and beyond them for a tenant that has less than its share: nobody is shut out."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def of(self, tenant: str) -> AsyncIterator[None]:
        """A place while the block runs; a tenant's own are given in the order in which they were asked for."""
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
        """Gives places to those who wait and may have one, each to whom has the fewest."""
        while able := [tenant for tenant in self._waiting if has_room(self._count, self._taken, tenant)]:
            tenant = min(able, key=self._taken.__getitem__)
            place = self._waiting[tenant].popleft()
            if not self._waiting[tenant]:
                del self._waiting[tenant]
            if not place.done():
                self._taken[tenant] += 1
                place.set_result(None)
