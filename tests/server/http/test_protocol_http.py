"""A thousand slow clients are cut while other clients are served."""

from __future__ import annotations

import resource
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx
import pytest

from testing.models import prose
from testing.replies import appended, asked, created, metric, offsets
from testing.serving import Server, client

CROWD = 1000
PASSES_MAX = 2000
PASS_SECONDS = 0.05
TEXT = "/v1/sessions/book/text"
HERE = "Host: localhost\r\n"
# What a slow client begins with, and what it goes on with byte by byte; None: it waits.
BEGINNINGS: dict[str, tuple[bytes, bytes | None]] = {
    "silent": (b"", None),
    "headers": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ", b"x"),
    "text": (f"POST {TEXT} HTTP/1.1\r\n{HERE}Content-Length: 1000000\r\n\r\n".encode(), b"x"),
    "chunks": (f"POST {TEXT} HTTP/1.1\r\n{HERE}Transfer-Encoding: chunked\r\n\r\n".encode(), b"1\r\nx\r\n"),
    "json": (
        f"POST /v1/sessions HTTP/1.1\r\n{HERE}Content-Type: application/json\r\nContent-Length: 9999\r\n\r\n".encode(),
        b" ",
    ),
    "idle": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", None),
}


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    settings = {
        "header_seconds": "1",
        "body_seconds": "1000",
        "body_bytes_per_second_min": "1000",
        "body_stall_seconds": "1",
        "idle_connection_seconds": "1",
    }
    # The server starts with fewer files than connections, as on many systems, and raises the limit itself.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (CROWD // 2, hard))
    with Server(tiny_weights, "memory://", **settings) as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(2 * CROWD, hard)), hard))
        with client(server) as http:
            created(http, id="book")
            appended(http, "book", prose(91, 600).encode())
        yield server


class Asking:
    """A client that asks one question after another until the block ends; `failures` are the error responses."""

    def __init__(self, server: Server) -> None:
        self._server, self._ended = server, threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with client(self._server) as http:
            while not self._ended.is_set():
                for reply in (
                    http.get("/v1/sessions/book"),
                    http.post("/v1/sessions/book/queries", json={"question": "Who came?", "max_tokens": 1}),
                ):
                    self.answers += 1
                    if reply.status_code != 200:
                        self.failures.append(reply.text)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(60)


def ends_of(server: Server, kinds: list[str]) -> Counter[tuple[str, bytes]]:
    """How each slow client ended: its kind, and the status line of its response."""
    ends: Counter[tuple[str, bytes]] = Counter()
    with selectors.DefaultSelector() as selector:
        open_ones: dict[socket.socket, tuple[str, bytearray]] = {}
        for kind in kinds:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            connection.sendall(BEGINNINGS[kind][0])
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, connection)
            open_ones[connection] = kind, bytearray()
        for _ in range(PASSES_MAX):
            for connection, (kind, _) in open_ones.items():
                if (more := BEGINNINGS[kind][1]) is not None:
                    # Reading finds out that it has ended.
                    with suppress(OSError):
                        connection.send(more)
            for key, _ in selector.select(PASS_SECONDS):
                connection = key.data
                kind, reply = open_ones[connection]
                try:
                    data = connection.recv(65536)
                except ConnectionResetError:
                    data = b""
                reply += data
                if not data:
                    selector.unregister(connection)
                    connection.close()
                    del open_ones[connection]
                    ends[kind, bytes(reply.partition(b"\r\n")[0])] += 1
            if not open_ones:
                return ends
        raise AssertionError(f"{len(open_ones)} connections are still open")


def test_a_thousand_slow_clients_are_cut_without_delaying_others(server: Server, http: httpx.Client) -> None:
    kinds = [list(BEGINNINGS)[number % len(BEGINNINGS)] for number in range(CROWD)]
    before = offsets(http, "book")
    with Asking(server) as others:
        ends = ends_of(server, kinds)
    assert others.answers > 0
    assert others.failures == []
    expected = {kind: b"HTTP/1.1 408 Request Timeout" for kind in BEGINNINGS} | {"idle": b"HTTP/1.1 200 OK"}
    assert ends == Counter((kind, expected[kind]) for kind in kinds)
    assert metric(http, 'onceread_requests_rejected_total{reason="invalid_request"}') == CROWD - kinds.count("idle")
    # Of a body that was cut off nothing was kept that was not acknowledged, and all is as before.
    assert offsets(http, "book") == before
    assert asked(http, "book")["object"] == "answer"
    assert not any(" ERROR " in line for line in server.log)


def test_an_upload_and_a_streamed_answer_are_not_slow(server: Server, http: httpx.Client) -> None:
    session = created(http)
    text = prose(92, 30_000).encode()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(text), 5_000):
            yield text[start : start + 5_000]
            # Others are asked between the pieces, for longer than headers may take.
            for _ in range(3):
                asked(http, "book", max_tokens=1)

    with client(server) as other:
        reply = other.post(f"/v1/sessions/{session}/text", content=pieces())
        assert reply.json()["accepted_bytes"] == len(text)
        stream = {"question": "Who came?", "max_tokens": 50, "stream": True}
        with other.stream("POST", f"/v1/sessions/{session}/queries", json=stream) as reply:
            assert list(reply.iter_lines())[-3].startswith("event: done")
