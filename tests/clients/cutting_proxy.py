"""A TCP proxy that resets each connection after a number of bytes."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from types import TracebackType

HOST = "127.0.0.1"


class CuttingProxy:
    """In front of `port`; cuts each connection after the next number of bytes in `cuts_after`, later ones never."""

    def __init__(self, port: int, cuts_after: Iterator[int]) -> None:
        self._target, self._cuts_after = port, cuts_after
        self._listener = socket.create_server((HOST, 0))
        self.url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        self.cuts = 0
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()

    def __enter__(self) -> CuttingProxy:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(60)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._pass_on, near, next(self._cuts_after, None))

    def _pass_on(self, near: socket.socket, bytes_left: int | None) -> None:
        with near, socket.create_connection((HOST, self._target)) as far:
            others = {near: far, far: near}
            while not self._ended.is_set():
                for ready in select.select([near, far], [], [], 0.1)[0]:
                    try:
                        chunk = ready.recv(64 * 1024 if bytes_left is None else min(bytes_left, 64 * 1024))
                        others[ready].sendall(chunk)
                    except OSError:
                        return
                    if not chunk:
                        return
                    if bytes_left is not None and not (bytes_left := bytes_left - len(chunk)):
                        self.cuts += 1
                        _reset(near)
                        return


def _reset(connection: socket.socket) -> None:
    """Closes the connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
