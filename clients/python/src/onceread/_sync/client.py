# Generated from _async/client.py by clients/python/tools/generate_sync.py: do not edit.
"""The client: a server's sessions, and the server's own state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from onceread._sync.session import Session
from onceread._sync.transport import Transport
from onceread.concurrency import call
from onceread.connection_config import ConnectionConfig
from onceread.options import new_id, without_none
from onceread.results import ServerInfo
from onceread.wire import sessions as flows
from onceread.wire.retries import Retries
from onceread.wire.sessions import SessionHandle


class Onceread:
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
        self._transport = Transport(ConnectionConfig.of(url, api_key, silence_seconds, retries or Retries()))
        self.sessions = Sessions(self._transport)

    def server(self) -> ServerInfo:
        """The server's version, its model and the model's fingerprint."""
        return self._transport.run(flows.server_info(self._transport.retries))

    def ready(self) -> None:
        """Returns when the server is ready for work; raises its error where it is not."""
        self._transport.run(flows.ready(self._transport.retries))

    def metrics(self) -> str:
        """The server's metrics, in the text format of Prometheus."""
        return self._transport.run(flows.metrics(self._transport.retries))

    def close(self) -> None:
        """Closes the connections; sessions of this client cannot be used any more."""
        self._transport.close()

    def __enter__(self) -> Onceread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sessions:
    """The sessions of the key's tenant."""

    def __init__(self, transport: Transport) -> None:
        self._transport, self._retries = transport, transport.retries

    def create(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        keep_text: bool = False,
    ) -> Session:
        """A new session, which expires when it is not used for `ttl_seconds`; with `keep_text` it can be rebuilt."""
        settings = without_none(metadata=metadata, ttl_seconds=ttl_seconds, keep_text=keep_text or None)
        flow = flows.create(id or new_id(), id is None, settings, self._retries)
        return Session(self._transport, self._transport.run(flow))

    def get(self, id: str, *, receipt: str | None = None) -> Session:
        """An existing session; `TextRolledBack` where the store has lost text that `receipt` covers."""
        handle = SessionHandle(id, receipt)
        info = self._transport.run(flows.get_with_receipt(handle, self._retries))
        return Session(self._transport, info, handle)

    def list(self) -> Iterator[Session]:
        """All sessions, newest first; pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = self._transport.run(flows.list_page(after, self._retries))
            for info in page.sessions:
                yield Session(self._transport, info)
            if (after := page.last_id) is None:
                return

    def load(self, path: Path | str, *, id: str | None = None) -> Session:
        """A new session with a memory from a file that `Session.save` wrote."""
        memory = call(Path(path).read_bytes)
        flow = flows.load(id or new_id(), id is None, memory, self._retries)
        return Session(self._transport, self._transport.run(flow))
