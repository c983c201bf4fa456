"""The client: a server's sessions, and what the server says of itself.

It knows the calls, and nothing of how they are made good over a connection that breaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from onceread.connection import Connection
from onceread.options import given, made_up_id
from onceread.results import ServerInfo
from onceread.session import Session
from onceread.settings import Settings
from onceread.wire import sessions as flows
from onceread.wire.handle import Handle
from onceread.wire.retrying import Retries


class Onceread:
    """A server at `url`, else at `ONCEREAD_URL`, asked with `api_key`, else with `ONCEREAD_API_KEY`.

    `silence_seconds` is how long the server may say nothing before a request is given up and tried again.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        silence_seconds: float | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._connection = Connection(Settings.of(url, api_key, silence_seconds, retries or Retries()))
        self.sessions = Sessions(self._connection)

    def server(self) -> ServerInfo:
        """The server's version, its model and that model's fingerprint."""
        return self._connection.run(flows.server(self._connection.retries))

    def ready(self) -> None:
        """Returns when the server takes work; raises what it says where it does not."""
        self._connection.run(flows.ready(self._connection.retries))

    def metrics(self) -> str:
        """The server's metrics, as Prometheus reads them."""
        return self._connection.run(flows.metrics(self._connection.retries))

    def close(self) -> None:
        """Closes the connections; sessions of this client can not be used any more."""
        self._connection.close()

    def __enter__(self) -> Onceread:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sessions:
    """The sessions of the key's tenant."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._retries = connection, connection.retries

    def create(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        keep_text: bool = False,
    ) -> Session:
        """A new session, which ends when it is not used for `ttl_seconds`; with `keep_text` it can be rebuilt."""
        settings = given(metadata=metadata, ttl_seconds=ttl_seconds, keep_text=keep_text or None)
        flow = flows.created(id or made_up_id(), id is None, settings, self._retries)
        return Session(self._connection, self._connection.run(flow))

    def get(self, id: str, *, receipt: str | None = None) -> Session:
        """A session that there is; shown a `receipt` of it, a store that lost text is found out: `TextRolledBack`."""
        handle = Handle(id, receipt)
        info = self._connection.run(flows.vouched_for(handle, self._retries))
        return Session(self._connection, info, handle)

    def list(self) -> Iterator[Session]:
        """All sessions, newest first; pages are fetched as they are come to."""
        after: str | None = None
        while True:
            page = self._connection.run(flows.page(after, self._retries))
            for info in page.sessions:
                yield Session(self._connection, info)
            if (after := page.last_id) is None:
                return

    def load(self, path: Path | str, *, id: str | None = None) -> Session:
        """A new session with a memory that `save` wrote."""
        memory = Path(path).read_bytes()
        flow = flows.loaded(id or made_up_id(), id is None, memory, self._retries)
        return Session(self._connection, self._connection.run(flow))
