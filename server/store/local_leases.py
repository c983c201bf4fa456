"""The leases of a store that lives in one process: which holder may read which session, and until when.

The caller passes the time, so nothing here reads a clock.
"""

from dataclasses import dataclass

from server.store import rules
from server.store.base import Lease, LeaseHeld, SessionKey


@dataclass
class LocalLease:
    """A session's latest lease. It is kept when it has ended, because the next epoch must be higher."""

    lease: Lease
    until_seconds: float
    wanted: bool = False


class Leases:
    """One lease at a time for each session, with epochs that only grow."""

    def __init__(self) -> None:
        self._held: dict[SessionKey, LocalLease] = {}

    def take(self, key: SessionKey, holder: str, seconds: float, ask: bool, now_seconds: float) -> Lease:
        held = self._held.get(key)
        if held is not None and held.lease.holder != holder and held.until_seconds > now_seconds:
            held.wanted = held.wanted or ask
            raise LeaseHeld(held.lease.holder)
        epoch = rules.next_epoch(held.lease.epoch if held else 0, now_seconds)
        self._held[key] = LocalLease(Lease(key, holder, epoch), now_seconds + seconds)
        return self._held[key].lease

    def renew(self, lease: Lease, seconds: float, now_seconds: float) -> None:
        held = self._held.get(lease.key)
        if held is None or held.lease != lease:
            raise rules.lease_lost(lease)
        held.until_seconds = now_seconds + seconds

    def is_wanted(self, lease: Lease) -> bool:
        held = self._held.get(lease.key)
        return held is None or held.lease != lease or held.wanted

    def release(self, lease: Lease) -> None:
        if (held := self._held.get(lease.key)) is not None and held.lease == lease:
            held.until_seconds, held.wanted = 0.0, False

    def end(self, key: SessionKey) -> None:
        """Ends the session's lease, whichever holder has it; the next lease still gets a higher epoch."""
        if (held := self._held.get(key)) is not None:
            self._held[key] = LocalLease(Lease(key, "", held.lease.epoch + 1), 0.0)

    def check(self, lease: Lease) -> None:
        """`StaleCheckpoint` unless this lease is the latest one."""
        held = self._held.get(lease.key)
        if held is None or held.lease != lease:
            raise rules.stale_lease(lease)

    def forget(self, key: SessionKey) -> None:
        self._held.pop(key, None)
