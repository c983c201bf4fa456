"""Leases in Redis: which server may read a session, and until when by the clock of Redis."""

from collections.abc import Sequence

from server.store import rules
from server.store.base import Lease, LeaseHeld, SessionKey
from server.store.redis.cas import Records
from server.store.redis.client import Command, Link
from server.store.redis.names import names


class Leases:
    """One lease a session at a time, with epochs that only grow; no answer waits until a lease is durable."""

    def __init__(self, link: Link, records: Records) -> None:
        self._link, self._records = link, records

    async def take(self, key: SessionKey, holder: str, seconds: float, ask: bool) -> Lease:
        at = names(key)
        answer = await self._link.change(
            "lease", [at.record, at.lease], holder, _microseconds(seconds), int(ask), durable=False
        )
        match [part.decode(errors="replace") for part in answer]:
            case ["taken", epoch]:
                return Lease(key, holder, int(epoch))
            case ["held", other]:
                raise LeaseHeld(other)
        await self._records.sealed(key)
        raise rules.missing(key)

    async def renew(self, lease: Lease, seconds: float) -> None:
        at = names(lease.key)
        answer = await self._link.change(
            "renew", [at.record, at.lease], lease.holder, lease.epoch, _microseconds(seconds), durable=False
        )
        if answer == b"missing":
            await self._records.sealed(lease.key)
            raise rules.missing(lease.key)
        if answer != b"renewed":
            raise rules.lease_lost(lease)

    async def release(self, lease: Lease) -> None:
        await self._link.change("release", [names(lease.key).lease], lease.holder, lease.epoch, durable=False)

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        """The sessions whose lease another holder asks for, or has taken."""
        answers = await self._link.ask_each([(names(lease.key).lease, _look(lease)) for lease in leases])
        return {
            lease.key
            for lease, (*latest, wanted) in zip(leases, answers, strict=True)
            if wanted is not None or latest != _written(lease)
        }

    async def is_held(self, lease: Lease) -> bool:
        """Whether the lease is the latest one."""
        [[holder, epoch, _]] = await self._link.ask(names(lease.key).lease, _look(lease))
        return [holder, epoch] == _written(lease)


def _look(lease: Lease) -> Command:
    return ("HMGET", names(lease.key).lease, "holder", "epoch", "wanted")


def _written(lease: Lease) -> list[bytes]:
    """The holder and the epoch as Redis returns them."""
    return [lease.holder.encode(), str(lease.epoch).encode()]


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
