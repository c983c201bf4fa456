"""The client: a server's sessions, and the server's own state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from onceread._async.session import AsyncSession
from onceread._async.transport import AsyncTransport
from onceread.concurrency import async_call
from onceread.connection_config import ConnectionConfig
from onceread.options import new_id, without_none
from onceread.results import ServerInfo
from onceread.wire import sessions as flows
from onceread.wire.retries import Retries
from onceread.wire.sessions import SessionHandle


class AsyncOnceread:
    """A client of the server at `url`, by default `ONCEREAD_URL`, with `api_key`, by default `ONCEREAD_API_KEY`.

    A request is given up and tried again when nothing has come from the server for `silence_seconds`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        silence_seconds: float | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._transport = AsyncTransport(ConnectionConfig.of(url, api_key, silence_seconds, retries or Retries()))
        self.sessions = AsyncSessions(self._transport)

    async def server(self) -> ServerInfo:
        """The server's version, its model and the model's fingerprint."""
        return await self._transport.run(flows.server_info(self._transport.retries))

    async def ready(self) -> None:
        """Returns when the server is ready for work; raises its error where it is not."""
        await self._transport.run(flows.ready(self._transport.retries))

    async def metrics(self) -> str:
        """The server's metrics, in the text format of Prometheus."""
        return await self._transport.run(flows.metrics(self._transport.retries))

    async def close(self) -> None:
        """Closes the connections; sessions of this client cannot be used any more."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncOnceread:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncSessions:
    """The sessions of the key's tenant."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport, self._retries = transport, transport.retries

    async def create(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        keep_text: bool = False,
    ) -> AsyncSession:
        """A new session, which expires when it is not used for `ttl_seconds`; with `keep_text` it can be rebuilt."""
        settings = without_none(metadata=metadata, ttl_seconds=ttl_seconds, keep_text=keep_text or None)
        flow = flows.create(id or new_id(), id is None, settings, self._retries)
        return AsyncSession(self._transport, await self._transport.run(flow))

    async def get(self, id: str, *, receipt: str | None = None) -> AsyncSession:
        """An existing session; `TextRolledBack` where the store has lost text that `receipt` covers."""
        handle = SessionHandle(id, receipt)
        info = await self._transport.run(flows.get_with_receipt(handle, self._retries))
        return AsyncSession(self._transport, info, handle)

    async def list(self) -> AsyncIterator[AsyncSession]:
        """All sessions, newest first; pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = await self._transport.run(flows.list_page(after, self._retries))
            for info in page.sessions:
                yield AsyncSession(self._transport, info)
            if (after := page.last_id) is None:
                return

    async def load(self, path: Path | str, *, id: str | None = None) -> AsyncSession:
        """A new session with a memory from a file that `Session.save` wrote."""
        memory = await async_call(Path(path).read_bytes)
        flow = flows.load(id or new_id(), id is None, memory, self._retries)
        return AsyncSession(self._transport, await self._transport.run(flow))
