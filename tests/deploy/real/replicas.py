"""Three real replicas on one real Valkey, and what each of them has answered."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import httpx

from reliability.replicas.fleet import Replica, make_weights
from testing.redis_binaries import require
from testing.redis_servers import RedisServer

# The servers' own timeouts are so long that only the gateway's can cut off a slow client.
PATIENT = {"header_seconds": "3600", "body_stall_seconds": "3600", "unread_seconds": "3600"}


class Replicas:
    def __init__(self, folder: Path) -> None:
        self.valkey = RedisServer(require("valkey9"), folder / "valkey")
        settings = {"lease_seconds": "2", "sweep_seconds": "1", "seal_keys_file": str(folder / "seal.keys"), **PATIENT}
        weights = make_weights(folder / "weights")
        self.all = [Replica(("server",), weights, self.valkey.url, **settings) for _ in range(3)]
        self._stack = ExitStack()

    def __enter__(self) -> Replicas:
        with ExitStack() as stack:
            stack.enter_context(self.valkey)
            for replica in self.all:
                stack.enter_context(replica)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def ports(self) -> list[int]:
        return [replica.port for replica in self.all]

    def written(self) -> list[float]:
        """Tokens that each replica has generated so far."""
        return [_sample(replica.url, "onceread_generation_tokens_total") for replica in self.all]

    def answering(self) -> list[float]:
        """Answers that each replica is decoding now."""
        return [_sample(replica.url, 'onceread_num_requests_running{phase="answer"}') for replica in self.all]


def _sample(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics", timeout=60).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).rsplit(" ", 1)[1])
