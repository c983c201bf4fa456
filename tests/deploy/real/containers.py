"""One container of the server, run with the strictest isolation."""

from __future__ import annotations

import json
import secrets
from types import TracebackType
from typing import Any

import httpx

from testing.redis_servers import HOST, free_port, until
from tests.deploy.real.engine import IMAGE, podman

STRICT = (
    *(
        "--network",
        "host",
        "--read-only",
        "--read-only-tmpfs=false",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
    ),
    *("--user", "10001:10001"),
    # The shells are masked: anything that needs one fails.
    *("--volume", "/dev/null:/usr/bin/dash:ro", "--volume", "/dev/null:/usr/bin/bash:ro"),
)


class Container:
    def __init__(self, volume: str | None, *options: str, image: str = IMAGE, **settings: str) -> None:
        self.name, self.port = f"onceread-{secrets.token_hex(4)}", free_port()
        self.url = f"http://{HOST}:{self.port}"
        settings = {"port": str(self.port), "threads": "1", **settings}
        environment = [
            word for name, value in settings.items() for word in ("--env", f"ONCEREAD_{name.upper()}={value}")
        ]
        mounted = ("--volume", f"{volume}:/data") if volume else ()
        self._command = ["--detach", "--name", self.name, *mounted, *STRICT, *options, *environment]
        self._image = image

    def __enter__(self) -> Container:
        podman("run", *self._command, self._image)
        try:
            until(self._ready, f"{self.name} is ready", 120)
        except AssertionError as error:
            log = self.log
            self.__exit__(None, None, None)
            raise AssertionError(log) from error
        return self

    def _ready(self) -> bool:
        assert self.inspected["State"]["Running"], "it has ended"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    @property
    def inspected(self) -> dict[str, Any]:
        [found] = json.loads(podman("container", "inspect", self.name))
        return dict(found)

    @property
    def log(self) -> str:
        return podman("logs", self.name)

    @property
    def pid(self) -> int:
        return int(self.inspected["State"]["Pid"])

    def status(self) -> dict[str, str]:
        """The status of the container's first process, from /proc."""
        with open(f"/proc/{self.pid}/status") as lines:
            return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def python(self, code: str) -> str:
        return podman("exec", self.name, "/opt/venv/bin/python", "-c", code)

    def stop(self, seconds: int) -> int:
        """Sends SIGTERM, and SIGKILL after these seconds; returns the exit status."""
        podman("stop", "--time", str(seconds), self.name)
        return int(self.inspected["State"]["ExitCode"])

    def kill(self) -> None:
        podman("kill", "--signal", "KILL", self.name)
        podman("wait", self.name)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        podman("rm", "--force", "--volumes", "--time", "0", self.name)
