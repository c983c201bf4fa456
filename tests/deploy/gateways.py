"""The shipped gateways as processes, with their own settings; only the addresses differ."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from testing.redis_servers import HOST, free_port, until
from tests.deploy.charts import DEPLOY
from tests.deploy.programs import require

FILES = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf", "envoy": "envoy.yaml"}
_CHECK = {
    "haproxy": ("-c", "-f"),
    "nginx": ("-t", "-e", "stderr", "-c"),
    "envoy": ("--mode", "validate", "--log-level", "error", "-c"),
}
_RUN = {
    "haproxy": ("-db", "-f"),
    "nginx": ("-e", "stderr", "-g", "daemon off;", "-c"),
    # Envoy's hot restart uses shared memory, in which several instances on one machine would collide.
    "envoy": ("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"),
}


def settings(name: str, replicas: Sequence[int], door: int) -> str:
    """The shipped file with host names replaced by loopback ports."""
    text = (DEPLOY / "gateway" / FILES[name]).read_text()
    for number, port in enumerate(replicas, 1):
        text = text.replace(f"onceread-{number}:8000", f"{HOST}:{port}")
        text = text.replace(f"address: onceread-{number}, port_value: 8000", f"address: {HOST}, port_value: {port}")
    assert not re.search(r"onceread-\d:|address: onceread", text)
    opened = {
        "haproxy": ("bind :8000", f"bind {HOST}:{door}"),
        "nginx": ("listen 8000", f"listen {HOST}:{door}"),
        "envoy": ("address: 0.0.0.0, port_value: 8000", f"address: {HOST}, port_value: {door}"),
    }
    before, after = opened[name]
    assert text.count(before) == 1
    return text.replace(before, after).replace("/tmp/", "./")


def check(name: str, file: Path) -> subprocess.CompletedProcess[str]:
    """The gateway's own configuration check."""
    command = [require(name), *_prefix(name, file), *_CHECK[name], str(file)]
    return subprocess.run(command, cwd=file.parent, capture_output=True, text=True, timeout=60)


def _prefix(name: str, file: Path) -> tuple[str, ...]:
    return ("-p", str(file.parent)) if name == "nginx" else ()


class Gateway:
    """A running gateway; `change` is applied to its configuration before the start."""

    def __init__(self, name: str, folder: Path, replicas: Sequence[int], change: Callable[[str], str] = str) -> None:
        self.name, self.port = name, free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._file = folder / name / FILES[name]
        shutil.rmtree(self._file.parent, ignore_errors=True)
        self._file.parent.mkdir(parents=True)
        self._file.write_text(change(settings(name, replicas, self.port)))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Gateway:
        with self._file.with_suffix(".log").open("wb") as log:
            command = [require(self.name), *_prefix(self.name, self._file), *_RUN[self.name], str(self._file)]
            self._process = subprocess.Popen(
                command, cwd=self._file.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(self._listens, f"{self.name} listens on port {self.port}")
        except AssertionError as error:
            self._end()
            raise AssertionError(self._file.with_suffix(".log").read_text()) from error
        return self

    def _listens(self) -> bool:
        with socket.socket() as way:
            return way.connect_ex((HOST, self.port)) == 0

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
