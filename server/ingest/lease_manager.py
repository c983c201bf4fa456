"""The leases of the sessions that are read here: taken, renewed before they run out, released when another asks.

This is the holder's side. Who gets a lease is decided by the store: `store/local_leases.py`, `store/redis/leases.py`.
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
# How often a holder checks whether another replica asks for a lease.
POLL_SECONDS = 0.2


@dataclass(eq=False)
class HeldLease:
    """A lease that is held here; `until` and `renewed_at` are those of this host's monotonic clock, never too late.

    Only its manager changes it; `on_over` is called when it is wanted elsewhere or lost.
    """

    lease: Lease
    until: float
    renewed_at: float
    on_over: Callable[[], None]
    wanted: bool = False
    lost: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing may be written under it any more, or nothing should."""
        return self.lost or self.wanted or time.monotonic() >= self.until


class LeaseManager:
    """One holder's leases; a task renews them while there are any."""

    def __init__(self, store: Store, lease_seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self._lease_seconds = lease_seconds
        # New at every start: an earlier process's leases must expire, since its last checkpoint may be in flight.
        self.holder = secrets.token_hex(8)
        self._held: dict[SessionKey, HeldLease] = {}
        self._task: asyncio.Task[None] | None = None

    async def take(self, key: SessionKey, ask: bool, on_over: Callable[[], None]) -> HeldLease:
        """The session's lease; `LeaseHeld` while another replica has it, which is asked for it with `ask`."""
        asked_at = time.monotonic()
        lease = await self._store.lease(key, self.holder, self._lease_seconds, ask)
        held = self._held[key] = HeldLease(lease, asked_at + self._lease_seconds, asked_at, on_over)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._maintain(), name="leases")
        return held

    async def release(self, held: HeldLease) -> None:
        # A reference to a released lease must not keep its reader, and the memory, alive.
        held.on_over = _ignore
        if self._held.get(held.lease.key) is held:
            del self._held[held.lease.key]
        # A lease that cannot be released expires.
        with suppress(StoreError):
            await self._store.release(held.lease)

    async def _maintain(self) -> None:
        while self._held:
            try:
                wanted = await self._store.wanted([held.lease for held in self._held.values()])
                for key in wanted & set(self._held):
                    self._held[key].wanted = True
                    self._held[key].on_over()
                for held in list(self._held.values()):
                    if time.monotonic() - held.renewed_at >= RENEW_SECONDS * self._lease_seconds / LEASE_SECONDS:
                        await self._renew(held)
            except StoreError as error:
                log.warning("leases could not be maintained: %s", error)
            await asyncio.sleep(POLL_SECONDS)

    async def _renew(self, held: HeldLease) -> None:
        asked_at = time.monotonic()
        try:
            await self._store.renew(held.lease, self._lease_seconds)
        except (LeaseLost, SessionMissing):
            held.lost = True
            held.on_over()
        else:
            held.renewed_at, held.until = asked_at, asked_at + self._lease_seconds


def _ignore() -> None:
    """What a lease calls that is no longer held."""
