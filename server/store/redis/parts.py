"""Parts of memories in Redis: a sealed string each, under a keyed hash of its content in the pool that it lives in.

A part expires after its upload, unless a script keeps it with the memory that names it.
"""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from server.store.base import Part, Pool, SessionKey, StoredPart
from server.store.encryption import SEALED_BYTES_MORE, Sealer
from server.store.redis.client import Link
from server.store.redis.names import names

UNKEPT_SECONDS = 600
# Values in one exchange: 4 MB, a few milliseconds of a connection.
VALUES_AT_ONCE = 16
Value = TypeVar("Value")

# Answers that are on their way at the same time for one memory.
_EXCHANGES = 4


def _groups(values: Sequence[Value]) -> list[Sequence[Value]]:
    return [values[start : start + VALUES_AT_ONCE] for start in range(0, len(values), VALUES_AT_ONCE)]


def stored_size(part: Part) -> int:
    """The length of the part's value in Redis."""
    return part.size + SEALED_BYTES_MORE


class Parts:
    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link, self._sealer = link, sealer

    def key(self, tenant: str, pool: Pool, digest: bytes) -> str:
        """The part's key in Redis."""
        return names(SessionKey(tenant, pool.id)).part(pool.lineage, self._name(tenant, pool, digest))

    async def upload(self, tenant: str, pool: Pool, parts: Sequence[Part]) -> None:
        """Uploads parts into this pool; they expire, unless they are kept there already."""
        for some in _groups(parts):
            contents = [(part.digest, part.content()) for part in some]
            sealed = await asyncio.to_thread(self._sealed, tenant, pool, contents)
            commands = [("SET", key, value, "NX", "EX", UNKEPT_SECONDS) for key, value in sealed]
            answers = await self._link.ask(sealed[0][0], *commands)
            for (key, value), answer in zip(sealed, answers, strict=True):
                if answer is None:
                    await self._link.change("upload", [key], value, UNKEPT_SECONDS, durable=False)

    async def load(self, tenant: str, parts: Sequence[StoredPart]) -> list[bytes]:
        """The contents of parts; `DamagedValue`."""
        turns = asyncio.Semaphore(_EXCHANGES)
        by_pool: dict[Pool, list[StoredPart]] = {}
        for part in dict.fromkeys(parts):
            by_pool.setdefault(part.pool, []).append(part)
        groups = [some for those in by_pool.values() for some in _groups(those)]

        async def fetch(some: Sequence[StoredPart]) -> list[bytes]:
            async with turns:
                keys = [self.key(tenant, part.pool, part.digest) for part in some]
                [sealed] = await self._link.ask(keys[0], ("MGET", *keys))
                return await asyncio.to_thread(self._opened, tenant, some, sealed)

        try:
            async with asyncio.TaskGroup() as group:
                fetching = [group.create_task(fetch(some)) for some in groups]
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        found = {
            part: content
            for some, task in zip(groups, fetching, strict=True)
            for part, content in zip(some, task.result(), strict=True)
        }
        return [found[part] for part in parts]

    async def all_keys(self, tenant: str, pool: Pool) -> list[str]:
        """The keys of all parts in this pool, found by a scan of all keys."""
        return await self._link.scan(names(SessionKey(tenant, pool.id)).pool(pool.lineage))

    def _name(self, tenant: str, pool: Pool, digest: bytes) -> str:
        return self._sealer.digest("part", SessionKey(tenant, pool.id), (pool.lineage,), digest)

    def _sealed(self, tenant: str, pool: Pool, contents: list[tuple[bytes, bytes]]) -> list[tuple[str, bytes]]:
        """The keys and values of parts, given by digest and content."""
        key, sealed = SessionKey(tenant, pool.id), []
        for digest, content in contents:
            name = self._name(tenant, pool, digest)
            value = self._sealer.seal("part", key, (pool.lineage, name), content)
            sealed.append((names(key).part(pool.lineage, name), value))
        return sealed

    def _opened(self, tenant: str, parts: Sequence[StoredPart], sealed: Sequence[bytes | None]) -> list[bytes]:
        opened = []
        for part, value in zip(parts, sealed, strict=True):
            if value is None:
                opened.append(part.content())
                continue
            key, name = SessionKey(tenant, part.pool.id), self._name(tenant, part.pool, part.digest)
            opened.append(self._sealer.open("part", key, (part.pool.lineage, name), value))
        return opened
