"""uvicorn with our connections, real sockets to it, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import Message, Receive, Scope, Send

from server.http.protocol import Connection, ConnectionChecks
from server.settings import Settings
from testing.replies import must_be_problem

SETTINGS = Settings(
    header_seconds=10,
    body_seconds=30,
    body_bytes_per_second_min=100,
    body_stall_seconds=5,
    unread_seconds=20,
    header_bytes=1000,
    url_bytes=200,
    connections_max=40,
)
TEXT = "/v1/sessions/a/text"
LARGE_BYTES = 64 * 2**20


class Counting(Connection):
    """Reports the bytes received from each client, by its port; infinitely many once it is gone."""

    def __init__(self, came: Callable[[int, int], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._came = came

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._port = transport.get_extra_info("peername")[1]
        self._came(self._port, 0)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._came(self._port, len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._came(self._port, 1 << 62)


class Serving:
    """uvicorn with our connections on a thread. Its application does what the header `Do` says.

    `release` resumes an application that waits; `until_gone` waits until one has noticed its client's disconnect.
    """

    def __init__(self) -> None:
        self.rejected: list[str] = []
        self._gone: set[str] = set()
        self._left = threading.Condition()
        self.port = 0
        self._sent: dict[int, int] = {}
        self._taken: dict[int, int] = {}
        self._seconds = 0.0
        self._checks = ConnectionChecks(lambda: self._seconds)
        self._up = threading.Event()
        connection: Any = self._connection
        config = uvicorn.Config(
            self._application, port=0, interface="asgi3", lifespan="off", ws="none", http=connection, log_level="error"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Serving:
        self._thread.start()
        assert self._up.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._loop.call_soon_threadsafe(setattr, self._server, "should_exit", True)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def connect(self, data: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.send(connection, data)
        return connection

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Sends bytes that the server must have received before the clock moves."""
        port = connection.getsockname()[1]
        self._sent[port] = self._sent.get(port, 0) + len(data)
        connection.sendall(data)

    def passes(self, seconds: int, every_second: Callable[[], object] = lambda: None) -> None:
        """Moves the clock; the server checks its connections every second."""
        for _ in range(seconds):
            every_second()
            self._run(self._second())

    def stands_still(self, seconds: float) -> None:
        """Moves the clock without a check."""
        self._seconds += seconds

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._going.set)

    @property
    def open(self) -> int:
        return len(self._server.server_state.connections)

    def until_gone(self, path: str) -> None:
        """Returns once the application of this path has noticed its client's disconnect."""
        with self._left:
            assert self._left.wait_for(lambda: path in self._gone, 60)

    def _leaves(self, path: str) -> None:
        with self._left:
            self._gone.add(path)
            self._left.notify_all()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _second(self) -> None:
        while any(self._taken.get(port, -1) < sent for port, sent in self._sent.items()):
            self._more.clear()
            await self._more.wait()
        self._seconds += 1
        self._checks.check(self._server.server_state.connections)

    async def _serve(self) -> None:
        self._loop, self._going, self._more = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        startup = self._server.startup

        async def announced(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            self.port = self._server.servers[0].sockets[0].getsockname()[1]
            self._up.set()

        self._server.startup = announced  # type: ignore[method-assign]
        await self._server.serve()

    def _connection(self, **options: Any) -> Connection:
        return Counting(self._came, SETTINGS, self.rejected.append, **options)

    def _came(self, port: int, length: int) -> None:
        self._taken[port] = self._taken.get(port, 0) + length
        self._more.set()

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        do = dict(scope["headers"]).get(b"do", b"read").decode()
        await getattr(self, f"_{do}")(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the whole body, and answers its length."""
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._leaves(scope["path"])
                return
            length, more = length + len(message["body"]), message["more_body"]
        await answer(send, str(length).encode())

    async def _wait(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body only after `release`."""
        await self._going.wait()
        await self._read(scope, receive, send)

    async def _early(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers without reading the body."""
        await answer(send, b"early")

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers in two pieces."""
        await send(START)
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        await self._going.wait()
        await send({"type": "http.response.body", "body": b"done"})

    async def _listen(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begins a response, and after `release` waits for the client's disconnect."""
        await send(START)
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await self._going.wait()
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leaves(scope["path"])

    async def _flood(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with more than all buffers hold, in pieces."""
        await send(START)
        for _ in range(LARGE_BYTES // 65536):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _heap(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with as much in one piece."""
        await answer(send, b"x" * LARGE_BYTES)


START: Message = {"type": "http.response.start", "status": 200, "headers": []}


async def answer(send: Callable[[Message], Awaitable[None]], body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def request(do: str = "read", path: str = TEXT, method: str = "POST", **headers: Any) -> bytes:
    """The head of a request; headers are named with underscores."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"Host": "x", "Do": do, **headers}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


def received(connection: socket.socket) -> bytes:
    """Everything until the server closes; bytes that it has not read by then reset the connection."""
    reply = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            reply += data
    return reply


def until(connection: socket.socket, wanted: bytes) -> bytes:
    """Everything up to these bytes."""
    reply = b""
    while wanted not in reply:
        data = connection.recv(65536)
        assert data, reply
        reply += data
    return reply


def is_open(connection: socket.socket) -> bool:
    """Whether the server has neither answered nor closed."""
    return not select.select([connection], [], [], 0)[0]


def must_be_refused(connection: socket.socket, status: int, code: str = "invalid_request") -> str:
    """Checks the last response of a connection; returns its detail."""
    head, _, content = received(connection).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {status} ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    body = json.loads(content)
    must_be_problem(body, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == body["request_id"]
    assert int(headers["content-length"]) == len(content)
    return str(body["detail"])
