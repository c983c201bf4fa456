"""Sweeper: finds the sessions whose reader is gone, and those whose time is over.

It knows the store and who reads; it neither reads nor answers itself.
"""

from __future__ import annotations

import asyncio
import logging
import time

from server.ingest.reader import Reading
from server.store.base import Store, StoreError

log = logging.getLogger(__name__)


class Sweeper:
    """One task that looks now and then; every replica does, and leases keep them apart."""

    def __init__(self, store: Store, reading: Reading, fingerprint: str, unread_bytes: int, seconds: float) -> None:
        self._store, self._reading, self._fingerprint = store, reading, fingerprint
        self._unread_bytes, self._seconds = unread_bytes, seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes up what an earlier process left unread, then looks on in the background."""
        await self._take_up()
        self._task = asyncio.create_task(self._run(), name="sweep")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                if self._store.shared:
                    await self._take_up()
                for key in await self._store.expire(time.time()):
                    if (live := self._reading.residents.use(key)) is not None:
                        await self._reading.forget(live)
            except StoreError as error:
                log.warning("the sweep failed, and comes again: %s", error)

    async def _take_up(self) -> None:
        """Reads what nobody reads; a session that another replica holds is left to it."""
        for record in await self._store.unread(self._unread_bytes):
            if record.fingerprint == self._fingerprint:
                self._reading.wake(record, ask=False)
