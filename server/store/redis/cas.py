"""Session records in Redis: encrypted manifests, each replaced as a whole if it is still the one that was read."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from server.store import rules
from server.store.base import DamagedValue, SessionKey, SessionRecord, StoreUnavailable
from server.store.encryption import Sealer
from server.store.manifest import Manifest, decode
from server.store.redis.client import PAUSES_SECONDS, Link
from server.store.redis.errors import Unreachable
from server.store.redis.names import names

Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """An entry, and the sealed bytes that it was opened from."""

    sealed: bytes
    entry: Manifest


class Records:
    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link, self._sealer = link, sealer

    async def load(self, key: SessionKey) -> Found:
        sealed = await self.sealed(key)
        return Found(sealed, decode(self._sealer.open("record", key, (), sealed)))

    async def sealed(self, key: SessionKey) -> bytes:
        """The record as it lies there, damaged or not."""
        at = names(key)
        sealed, expired = await self._link.ask(at.record, ("GET", at.record), ("EXISTS", at.tombstone))
        if sealed is None:
            raise rules.expired(key) if expired else rules.missing(key)
        return bytes(sealed)

    def seal(self, entry: Manifest) -> bytes:
        return self._sealer.seal("record", entry.record.key, (), entry.encode())

    async def steadily(self, key: SessionKey, work: Callable[[Found], Awaitable[Result]]) -> Result:
        """What `work` makes of the session; again where a value was missing because the session moved on meanwhile."""
        while True:
            found = await self.load(key)
            try:
                return await work(found)
            except DamagedValue:
                if await self.sealed(key) == found.sealed:
                    raise

    async def revise(self, key: SessionKey, change: Callable[[SessionRecord], SessionRecord]) -> SessionRecord:
        """The record once `change` is made of it, whatever else happens to the session."""
        while True:
            found = await self.load(key)
            changed = change(found.entry.record)
            new = self.seal(replace(found.entry, record=changed))
            if await self.change("replace", [names(key).record], found.sealed, new):
                return changed

    async def change(
        self, script: str, keys: Sequence[str], old: bytes, new: bytes, *arguments: str | bytes | int
    ) -> Any:
        """The answer of a script that makes `new` of `old`.

        Where none comes, asks until it is known: `new` is unlike any other sealed entry, so a record that reads so
        was changed by this, and a script that is sent again finds that it is too late. `Unreachable` where it is
        not known.
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
        """The script's answer when sent again, what it would have been, or None where that can not be told."""
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
        """Whether the record still is this one, which is durable then; False where it is another by now.

        It is compared and written where it is confirmed: after a failover what was read may be another Redis' word.
        """
        return bool(await self._link.change("replace", [record], sealed, sealed))

    async def confirm_absence(self, key: SessionKey) -> bool:
        """Whether there is no such record, durably so."""
        at = names(key)
        return bool(await self._link.change("absent", [at.record, at.confirmed]))


def is_done(answer: Any) -> bool:
    """Whether a script made its change; False where the record was another by then."""
    if answer == b"parts":
        raise StoreUnavailable("the memory's parts are not all there: store it again")
    return answer in (1, b"kept")
