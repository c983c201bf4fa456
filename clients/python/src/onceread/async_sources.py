"""Sources of the asynchronous client: asynchronous streams, and every synchronous source in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TypeAlias

from anyio import to_thread

from onceread._async.sources import AsyncStreamSource, AsyncTextSource
from onceread._sync.sources import TextSource
from onceread.sources import Readable, open_source

AsyncReadable: TypeAlias = Readable | AsyncIterable[bytes | str]


async def async_open_source(readable: AsyncReadable) -> AsyncTextSource:
    if isinstance(readable, AsyncIterable):
        return AsyncStreamSource(aiter(readable))
    return ThreadSource(await to_thread.run_sync(open_source, readable))


class ThreadSource:
    """A source that blocks, for instance a file: each call runs in a thread."""

    def __init__(self, source: TextSource) -> None:
        self._source, self.total_bytes = source, source.total_bytes

    async def take(self, offset: int, limit: int) -> bytes:
        return await to_thread.run_sync(self._source.take, offset, limit)

    async def close(self) -> None:
        await to_thread.run_sync(self._source.close)
