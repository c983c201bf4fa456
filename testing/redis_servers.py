"""Real Redis and Valkey servers on free ports of the loopback, which can be killed, paused and started again.

Groups of servers are in `redis_groups`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random
from socket import socket
from types import TracebackType
from typing import Any, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from testing.redis_binaries import BINARIES
from testing.redis_tls import Certificates

T = TypeVar("T")

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where a server runs: its address, and the prefix of its command that starts it there.

    Outside the loopback the tests use a Unix socket in its folder, which works without the network.
    """

    address: str = HOST
    through: tuple[str, ...] = ()


LOOPBACK = Place()
DEADLINE_SECONDS = 30

# Durable at every answer; a replica's first copy is not held back for others that might want one too.
DEFAULTS: dict[str, str | tuple[str, ...]] = {
    "bind": HOST,
    "protected-mode": "yes",
    "daemonize": "no",
    "save": '""',
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",
}

# The kernel ends a child with the thread that started it, so one thread, that ends with the process, starts them all.
_STARTER = ThreadPoolExecutor(1, "redis")
_ENDS_WITH_US = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"

# Below the ephemeral ports of Linux: a client that connects to a dead server cannot come to occupy its port.
_PORTS = cycle(Random().sample(range(12_000, 32_000), 20_000))


def free_port() -> int:
    for port in _PORTS:
        with socket() as free:
            try:
                free.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError  # a cycle has no end


def until(condition: Callable[[], T | None], what: str, deadline_seconds: float = DEADLINE_SECONDS) -> T:
    """The first true result of `condition`; an error of Redis means not yet."""
    end = time.monotonic() + deadline_seconds
    while True:
        last: object = None
        try:
            if last := condition():
                return last
        except RedisError as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline_seconds} seconds; last seen: {last!r}")
        time.sleep(0.01)


class RedisServer:
    """One server in a folder; settings are redis.conf's, with an underscore for a hyphen and a tuple for several lines.

    `login` is the only user, with all permissions. With certificates it serves TLS only, and requires a client
    certificate. The port and the configuration, with the server's own changes to it, survive a kill.
    """

    def __init__(
        self,
        binary: str,
        folder: Path,
        *,
        login: tuple[str, str] | None = None,
        tls: Certificates | None = None,
        place: Place = LOOPBACK,
        **settings: str | tuple[str, ...],
    ) -> None:
        self.binary, self.folder, self.login, self.tls, self.place = binary, folder, login, tls, place
        self.port = free_port()
        self.url = f"redis{'s' if tls else ''}://{':'.join(login) + '@' if login else ''}{place.address}:{self.port}"
        every = DEFAULTS | {"port": str(self.port), "dir": f'"{folder}"'} | self._access()
        every |= {name.replace("_", "-"): value for name, value in settings.items()}
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "redis.conf").open("w") as file:
            for name, value in every.items():
                file.writelines(f"{name} {line}\n" for line in ((value,) if isinstance(value, str) else value))
        path = str(BINARIES[binary]())
        self._command = [path, str(folder / "redis.conf"), *(["--sentinel"] if "sentinel" in every else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    def _access(self) -> dict[str, str | tuple[str, ...]]:
        access: dict[str, str | tuple[str, ...]] = {}
        if self._is_elsewhere:
            access |= {"bind": self.place.address, "protected-mode": "no", "unixsocket": f'"{self._socket}"'}
        if self.login:
            user, password = self.login
            access |= {"user": ("default off", f"{user} on >{password} ~* &* +@all")}
            access |= {"masteruser": user, "masterauth": password}
        if self.tls:
            access |= {"port": "0", "tls-port": str(self.port), "tls-auth-clients": "yes", "tls-replication": "yes"}
            access |= {"tls-ca-cert-file": f'"{self.tls.authority}"'}
            access |= {"tls-cert-file": f'"{self.tls.server}"', "tls-key-file": f'"{self.tls.server_key}"'}
        return access

    @property
    def _is_elsewhere(self) -> bool:
        return self.place.address != HOST

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    @property
    def log(self) -> str:
        """The log since the first start in this folder."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id of the running server, or of the last one."""
        assert self._process is not None, f"{self} was never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def awake(self) -> bool:
        return self.running and not self._paused

    def start(self) -> RedisServer:
        """Returns when the server answers and has loaded its data."""
        assert not self.running, f"{self} runs already"
        with (self.folder / "log").open("ab") as log:
            self._process = _STARTER.submit(
                subprocess.Popen,
                [*self.place.through, sys.executable, "-IS", "-c", _ENDS_WITH_US, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ).result()
        try:
            until(lambda: not self.running or self.command("PING"), f"{self} answers PING")
            assert self.running, f"{self} ended"
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}; its log ends:\n{self.log[-2000:]}") from None
        return self

    def client(self, **options: Any) -> Redis:
        """A client without retries on its own connections; the options are redis-py's."""
        user, password = self.login or (None, None)
        mine: dict[str, Any] = {"port": self.port, "username": user, "password": password, "socket_timeout": 5}
        if self._is_elsewhere:
            mine["unix_socket_path"] = str(self._socket)
        if self.tls:
            mine |= {"ssl": True, "ssl_ca_certs": str(self.tls.authority)}
            mine |= {"ssl_certfile": str(self.tls.client), "ssl_keyfile": str(self.tls.client_key)}
        return Redis(HOST, **{"retry": Retry(NoBackoff(), 0), **mine, **options})

    def command(self, *words: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*words)

    def replica_of(self, other: RedisServer) -> RedisServer:
        """Makes this a replica of `other`, also after restarts; returns when it has the data."""
        self.command("REPLICAOF", other.place.address, other.port)
        self.command("CONFIG", "REWRITE")
        until(self.follows, f"{self} follows {other}")
        return self

    def follows(self) -> bool:
        """Whether it is a replica with its master's data and a connection to it."""
        return bool(self.command("INFO", "replication").get("master_link_status") == "up")

    def kill(self) -> None:
        """SIGKILL: the server cannot clean up."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.resume()
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP; returns when the process has stopped: connections stay open without replies."""
        assert self.awake, f"{self} does not run"
        os.waitid(os.P_PID, self._send(signal.SIGSTOP), os.WSTOPPED)
        self._paused = True

    def resume(self) -> None:
        self._send(signal.SIGCONT)
        self._paused = False

    def _send(self, number: signal.Signals) -> int:
        assert self._process is not None, f"{self} was never started"
        self._process.send_signal(number)
        return self._process.pid

    def _end(self, number: signal.Signals) -> int:
        self._send(number)
        self._paused = False
        assert self._process is not None
        return self._process.wait(DEADLINE_SECONDS)

    def __enter__(self) -> RedisServer:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self.kill()

    def __repr__(self) -> str:
        return f"{self.binary} on port {self.port}"
