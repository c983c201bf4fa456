"""A real server in its own process, on a free port of the loopback, which can be killed and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from testing.forked import Forked

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
START_SECONDS = 120
LISTENING = re.compile(r"Uvicorn running on http://\S+:(\d+)")


class Server:
    """`python -m server` with a folder of weights and a store; `log` has the lines that it has logged.

    The system picks the port at the first start; later starts have the same one.
    """

    # The module and its arguments.
    module: tuple[str, ...] = ("server",)
    # The prefix of its command, which starts it in a namespace.
    through: tuple[str, ...] = ()
    # Whether it is forked from a process that has imported what it imports; the tests set it.
    forks = False

    def __init__(self, weights: Path, store: str, **settings: str) -> None:
        self.port = 0
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ONCEREAD_")},
            "ONCEREAD_HOST": HOST,
            "ONCEREAD_WEIGHTS": str(weights),
            "ONCEREAD_STORE": store,
            "ONCEREAD_THREADS": "1",
            **{f"ONCEREAD_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[str] | Forked | None = None
        self._follower: threading.Thread | None = None
        self.log: list[str] = []

    @property
    def url(self) -> str:
        assert self.port, "the server has a port once it has started"
        return f"http://{HOST}:{self.port}"

    def start(self) -> Self:
        """Returns when the server listens; AssertionError with its log where it does not start."""
        before = len(self.log)
        environment = self._environment | {"ONCEREAD_PORT": str(self.port)}
        if self.forks and not self.through:
            self._process = Forked(self.module, ROOT, environment)
        else:
            self._process = subprocess.Popen(
                [*self.through, sys.executable, "-m", *self.module],
                cwd=ROOT,
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        listening = threading.Event()
        self._follower = threading.Thread(target=self._follow, args=(self._process, listening), daemon=True)
        self._follower.start()
        listening.wait(START_SECONDS)
        ports = [int(found[1]) for line in self.log[before:] if (found := LISTENING.search(line))]
        if not ports:
            self.kill()
            raise AssertionError("the server did not start:\n" + "".join(self.log[before:]))
        self.port = ports[0]
        return self

    def _follow(self, process: subprocess.Popen[str] | Forked, listening: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.log.append(line)
                if LISTENING.search(line):
                    listening.set()
        listening.set()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: the server cannot clean up."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        return self._end(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once the process has ended and `log` is complete."""
        assert self._process is not None
        assert self._follower is not None
        status = self._process.wait(60)
        self._follower.join(60)
        return status

    def _end(self, number: signal.Signals) -> int:
        self.send(number)
        return self.wait()

    def __enter__(self) -> Self:
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
