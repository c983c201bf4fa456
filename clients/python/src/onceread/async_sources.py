"""Sources for the asynchronous client: streams that are awaited, and all others in a thread of their own.

It knows how a source is waited for, and nothing of sessions.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Protocol, TypeAlias

from anyio import to_thread

from onceread.sources import Held, Readable, Source, source_of

AsyncReadable: TypeAlias = Readable | AsyncIterable[bytes | str]


class AsyncSource(Protocol):
    total_bytes: int | None

    async def take(self, offset: int, limit: int) -> bytes: ...

    async def close(self) -> None: ...


async def async_source_of(readable: AsyncReadable) -> AsyncSource:
    if isinstance(readable, AsyncIterable):
        return AsyncStreamSource(aiter(readable))
    return ThreadSource(await to_thread.run_sync(source_of, readable))


class AsyncStreamSource:
    """Pieces that come once, and are awaited."""

    def __init__(self, pieces: AsyncIterator[bytes | str]) -> None:
        self._pieces, self._held = pieces, Held()
        self.total_bytes: int | None = None

    async def take(self, offset: int, limit: int) -> bytes:
        while self._held.lacks(offset, limit) and (piece := await anext(self._pieces, None)) is not None:
            self._held.add(piece)
        return b"" if self._held.lacks(offset, 0) else self._held.give(limit)

    async def close(self) -> None:
        if (close := getattr(self._pieces, "aclose", None)) is not None:
            await close()


class ThreadSource:
    """A source that blocks, for instance a file: asked in a thread."""

    def __init__(self, source: Source) -> None:
        self._source, self.total_bytes = source, source.total_bytes

    async def take(self, offset: int, limit: int) -> bytes:
        return await to_thread.run_sync(self._source.take, offset, limit)

    async def close(self) -> None:
        await to_thread.run_sync(self._source.close)
