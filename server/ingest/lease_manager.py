"""The leases of the sessions that are read here: taken, renewed before they run out, let go of when another asks.

It knows the store's leases and a monotonic clock, and nothing of texts or memories.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from server.store.base import LEASE_SECONDS, Lease, LeaseLost, SessionKey, SessionMissing, Store, StoreError

log = logging.getLogger(__name__)

RENEW_SECONDS = 3.0
# How often a holder looks whether it is wanted elsewhere.
LOOK_SECONDS = 0.2


@dataclass(eq=False)
class HeldLease:
    """A lease that is held here; `until` and `renewed_at` are those of this host's monotonic clock, never too late."""

    lease: Lease
    until: float
    renewed_at: float
    tell: Callable[[], None]
    wanted: bool = False
    lost: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing may be written under it any more, or nothing should."""
        return self.lost or self.wanted or time.monotonic() >= self.until


class LeaseManager:
    """One holder's leases; a task sees to them while there are any."""

    def __init__(self, store: Store, lease_seconds: float = LEASE_SECONDS) -> None:
        self._store, self._lease_seconds = store, lease_seconds
        # New at every start: what an earlier process held must run out, for its last checkpoint may be on its way.
        self.holder = secrets.token_hex(8)
        self._held: dict[SessionKey, HeldLease] = {}
        self._task: asyncio.Task[None] | None = None

    async def take(self, key: SessionKey, ask: bool, tell: Callable[[], None]) -> HeldLease:
        """The session's lease; `LeaseHeld` while another replica has it. `tell` is called when it is wanted or lost."""
        asked_at = time.monotonic()
        lease = await self._store.lease(key, self.holder, self._lease_seconds, ask)
        held = self._held[key] = HeldLease(lease, asked_at + self._lease_seconds, asked_at, tell)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._see_to_them(), name="leases")
        return held

    async def release(self, held: HeldLease) -> None:
        # A session remembers under which lease it was restored: that must not keep the session itself at hand.
        held.tell = _nobody
        if self._held.get(held.lease.key) is held:
            del self._held[held.lease.key]
        # One that can not be let go of runs out.
        with suppress(StoreError):
            await self._store.release(held.lease)

    async def _see_to_them(self) -> None:
        while self._held:
            try:
                wanted = await self._store.wanted([held.lease for held in self._held.values()])
                for key in wanted & set(self._held):
                    self._held[key].wanted = True
                    self._held[key].tell()
                for held in list(self._held.values()):
                    if time.monotonic() - held.renewed_at >= RENEW_SECONDS * self._lease_seconds / LEASE_SECONDS:
                        await self._renew(held)
            except StoreError as error:
                log.warning("leases could not be seen to: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _renew(self, held: HeldLease) -> None:
        asked_at = time.monotonic()
        try:
            await self._store.renew(held.lease, self._lease_seconds)
        except (LeaseLost, SessionMissing):
            held.lost = True
            held.tell()
        else:
            held.renewed_at, held.until = asked_at, asked_at + self._lease_seconds


def _nobody() -> None:
    """Whom a lease tells that is held no more."""
