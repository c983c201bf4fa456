"""A real HAProxy on a free loopback port, in front of servers whose readiness it checks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from testing.redis_binaries import Missing
from testing.redis_servers import HOST, free_port, until

ROUND_ROBIN = "roundrobin"
# What stands in /v1/sessions/HERE: a session stays with one server for as long as that is ready.
BY_SESSION = "hash path,field(4,/)"

# Appends name their offset and questions change nothing, so whatever got no answer may be sent to another server.
_CONFIGURATION = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 1s
    timeout check 1s
    timeout client 60s
    timeout server 30s
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response 503
frontend door
    bind {host}:{port}
    default_backend replicas
backend replicas
    balance {balance}
    hash-type consistent
    option httpchk GET /readyz
    default-server check inter 250ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


def haproxy() -> Path:
    """The system's program, which is no place for ordinary users to look in."""
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None:
        raise Missing("there is no haproxy on this machine: make parts, or apt-get install haproxy")
    return Path(found)


class HAProxy:
    def __init__(self, folder: Path, ports: Sequence[int], balance: str) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        servers = "\n".join(f"    server replica-{n} {HOST}:{port}" for n, port in enumerate(ports))
        self._file = folder / f"haproxy-{self.port}.cfg"
        self._file.write_text(_CONFIGURATION.format(host=HOST, port=self.port, balance=balance, servers=servers))
        self._process: subprocess.Popen[bytes] | None = None

    def _listens(self) -> bool:
        with socket.socket() as way:
            return way.connect_ex((HOST, self.port)) == 0

    def __enter__(self) -> HAProxy:
        with self._file.with_suffix(".log").open("wb") as log:
            command = [str(haproxy()), "-db", "-f", str(self._file)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(self._listens, f"HAProxy listens on port {self.port}")
        except AssertionError:
            self._end()
            raise
        return self

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
