"""A real server in a process of its own, on a free port of the loopback, to be asked, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import httpx

ROOT = Path(__file__).resolve().parents[1]


class Server:
    """`python -m server` on a folder of weights and a store; `log` is what it wrote so far."""

    program = "server"

    def __init__(self, weights: Path, store: str, **settings: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ONCEREAD_")},
            "ONCEREAD_PORT": str(self.port),
            "ONCEREAD_WEIGHTS": str(weights),
            "ONCEREAD_STORE": store,
            "ONCEREAD_THREADS": "1",
            **{f"ONCEREAD_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[str] | None = None
        self._follower: threading.Thread | None = None
        self.log: list[str] = []

    def start(self) -> Server:
        """Returns when the server says that it listens."""
        before = len(self.log)
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.program],
            cwd=ROOT,
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        listening = threading.Event()
        self._follower = threading.Thread(target=self._follow, args=(self._process, listening), daemon=True)
        self._follower.start()
        if not listening.wait(60) or not any("Uvicorn running on" in line for line in self.log[before:]):
            self._process.kill()
            raise AssertionError("the server did not start:\n" + "".join(self.log[before:]))
        return self

    def _follow(self, process: subprocess.Popen[str], listening: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line)
                if "Uvicorn running on" in line:
                    listening.set()
        listening.set()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: no warning, no last word."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once the process has ended and its whole log is here."""
        assert self._process is not None
        assert self._follower is not None
        status = self._process.wait(60)
        self._follower.join(60)
        return status

    def _end(self, number: signal.Signals) -> int:
        self.send(number)
        return self.wait()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextmanager
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
