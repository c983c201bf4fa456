"""The chart's Valkey as a process, with its rendered settings and users; only paths and port differ."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

from redis import Redis
from redis.exceptions import RedisError

from testing.redis_binaries import BINARIES, require
from testing.redis_servers import HOST, free_port, until
from tests.deploy.charts import Rendered

# Valid Base64, which podman's handling of secrets needs (`tests/deploy/real/test_pod.py`).
PASSWORD = "lettersAndDigits4242"


class BundledValkey:
    def __init__(self, folder: Path) -> None:
        self.port, self._folder = free_port(), folder
        # The ACL user of the chart's servers.
        self.url = f"redis://onceread@{HOST}:{self.port}"
        self.password_file = folder / "store.password"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> BundledValkey:
        require("valkey9")
        chart = Rendered().the("ConfigMap", "valkey")["data"]
        (self._folder / "data").mkdir(parents=True)
        self.password_file.write_text(PASSWORD + "\n")
        (self._folder / "users.sh").write_text(self._here(chart["users.sh"]))
        subprocess.run(["sh", str(self._folder / "users.sh")], check=True, timeout=60)
        conf = self._folder / "valkey.conf"
        conf.write_text(self._here(chart["valkey.conf"]))
        command = [str(BINARIES["valkey9"]()), str(conf), "--port", str(self.port), "--bind", HOST]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self.answers, "the bundled Valkey answers")
        return self

    def _here(self, text: str) -> str:
        places = {
            "/etc/onceread/secrets": str(self._folder),
            "/run/valkey": str(self._folder),
            "dir /data": f"dir {self._folder}/data",
        }
        for place, mine in places.items():
            text = text.replace(place, mine)
        return text

    def answers(self) -> bool:
        """Whether the server answers its probe."""
        with Redis(host=HOST, port=self.port) as unauthenticated:
            try:
                return bool(unauthenticated.ping())
            except RedisError:
                return False

    def of(self, user: str | None = None, password: str | None = None) -> Redis:
        return Redis(host=HOST, port=self.port, username=user, password=password)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
