"""Session records in Redis: encrypted manifests, each replaced as a whole if it is still the one that was read."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from server.store import rules
from server.store.base import DamagedValue, Pool, SessionKey, SessionRecord, StoreUnavailable
from server.store.encryption import Sealer
from server.store.manifest import Manifest, decode
from server.store.redis.client import PAUSES_SECONDS, Link
from server.store.redis.errors import Unreachable
from server.store.redis.names import names

Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """A manifest, and the encrypted bytes that it was read from."""

    sealed: bytes
    entry: Manifest


@dataclass(frozen=True)
class Holder(Found):
    """The manifest of a pool: a session's record, or the lender that stays of it; `name` is its key."""

    name: str
    is_lender: bool


class Records:
    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link, self._sealer = link, sealer

    async def load(self, key: SessionKey) -> Found:
        sealed = await self.sealed(key)
        return Found(sealed, decode(self._sealer.open("record", key, (), sealed)))

    async def sealed(self, key: SessionKey) -> bytes:
        """The record's encrypted bytes, which may be damaged; `SessionMissing` or `SessionExpired` if there is none."""
        at = names(key)
        sealed, expired = await self._link.ask(at.record, ("GET", at.record), ("EXISTS", at.tombstone))
        if sealed is None:
            raise rules.expired(key) if expired else rules.missing(key)
        return bytes(sealed)

    def seal(self, entry: Manifest) -> bytes:
        return self._sealer.seal("record", entry.record.key, (), entry.encode())

    def seal_lender(self, entry: Manifest) -> bytes:
        return self._sealer.seal("lender", entry.record.key, (entry.pool.lineage,), entry.encode())

    async def holder(self, tenant: str, pool: Pool) -> Holder | None:
        """The manifest of this pool, None if there is none any more; `DamagedValue`."""
        key = SessionKey(tenant, pool.id)
        at = names(key)
        lender = at.lender(pool.lineage)
        record, sealed = await self._link.ask(at.record, ("GET", at.record), ("GET", lender))
        if sealed is not None:
            return Holder(sealed, decode(self._sealer.open("lender", key, (pool.lineage,), sealed)), lender, True)
        if record is not None:
            entry = decode(self._sealer.open("record", key, (), record))
            if entry.pool == pool:
                return Holder(record, entry, at.record, False)
        return None

    async def steadily(self, key: SessionKey, work: Callable[[Found], Awaitable[Result]]) -> Result:
        """The result of `work`, which is run again if a value was damaged or missing because the session changed."""
        while True:
            found = await self.load(key)
            try:
                return await work(found)
            except DamagedValue:
                if await self.sealed(key) == found.sealed:
                    raise

    async def decide(self, key: SessionKey, work: Callable[[Found], Awaitable[Result | None]]) -> Result:
        """The same; the work is also run again if it answers None, because another change came first."""
        while True:
            result = await self.steadily(key, work)
            if result is not None:
                return result

    async def revise(self, key: SessionKey, change: Callable[[SessionRecord], SessionRecord]) -> SessionRecord:
        """The record with `change` applied, which is computed anew if another change came first."""
        while True:
            found = await self.load(key)
            changed = change(found.entry.record)
            new = self.seal(replace(found.entry, record=changed))
            if await self.change("replace", [names(key).record], found.sealed, new):
                return changed

    async def change(
        self, script: str, keys: Sequence[str], old: bytes, new: bytes, *arguments: str | bytes | int
    ) -> Any:
        """The answer of a script that replaces `old` by `new`.

        If the answer is lost, the record is read. Each encryption has its own nonce, so a record that equals `new` was
        written by this call; if it still equals `old`, the script is sent again. `Unreachable`: the result is unknown.
        """
        try:
            return await self._link.change(script, keys, old, new, *arguments)
        except Unreachable as lost:
            for pause_seconds in PAUSES_SECONDS:
                await asyncio.sleep(pause_seconds)
                try:
                    answer = await self._again(script, keys, old, new, *arguments)
                except Unreachable:
                    continue
                if answer is None:
                    break
                return answer
            raise lost

    async def _again(
        self, script: str, keys: Sequence[str], old: bytes, new: bytes, *arguments: str | bytes | int
    ) -> Any:
        """The answer after a lost one: of the script sent again, 1 if it had run, or None if that is unknown."""
        [found] = await self._link.ask(keys[0], ("GET", keys[0]))
        if found == old:
            answer = await self._link.change(script, keys, old, new, *arguments)
            if is_done(answer):
                return answer
            [found] = await self._link.ask(keys[0], ("GET", keys[0]))
        if found == new and await self.confirm(keys[0], new):
            return 1
        return None

    async def confirm(self, record: str, sealed: bytes) -> bool:
        """Whether the record still equals `sealed`, and is durable.

        A script compares and writes it on the master that confirms: after a failover, the bytes may have been read from
        a Redis that is no longer master.
        """
        return bool(await self._link.change("replace", [record], sealed, sealed))

    async def confirm_absence(self, key: SessionKey) -> bool:
        """Whether there is no such record, and its absence is durable."""
        at = names(key)
        return bool(await self._link.change("absent", [at.record, at.confirmed]))


def is_done(answer: Any) -> bool:
    """Whether a script made its change; False if the record had changed before."""
    if answer == b"parts":
        raise StoreUnavailable("the memory's parts are not all there: store it again")
    return answer in (1, b"kept")
