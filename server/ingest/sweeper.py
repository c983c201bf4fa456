"""Sweeper: finds the sessions that no replica reads, and those that have expired."""

from __future__ import annotations

import asyncio
import logging
import time

from server.ingest.readers import SessionReaders
from server.store.base import Store, StoreError

log = logging.getLogger(__name__)


class Sweeper:
    """One periodic task in every replica; leases keep the replicas apart."""

    def __init__(
        self, store: Store, readers: SessionReaders, fingerprint: str, unread_bytes: int, seconds: float
    ) -> None:
        self._store = store
        self._readers = readers
        self._fingerprint = fingerprint
        self._unread_bytes = unread_bytes
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Has read what an earlier process left unread, then sweeps in the background."""
        await self._wake_unread()
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
                    await self._wake_unread()
                for key in await self._store.expire(time.time()):
                    if (reader := self._readers.find(key)) is not None:
                        await self._readers.forget(reader)
            except StoreError as error:
                log.warning("the sweep failed and will run again: %s", error)

    async def _wake_unread(self) -> None:
        """Has unread text read; a session that another replica holds is left to it.

        What the model has failed at here is not tried again: it would fail at every sweep.
        """
        for record in await self._store.unread(self._unread_bytes):
            if record.fingerprint == self._fingerprint and not self._readers.has_failed(record):
                self._readers.wake(record, ask=False)
