"""Three replicas of the server on one Valkey, each a process that can be killed, stopped and restarted."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import torch

from model import weights
from model.tokenizer import TextTokenizer
from server.store.open import StoreOptions
from testing.models import prose, random_model, tiny_config
from testing.redis_servers import RedisServer, free_port, until
from testing.serving import Server

REPLICAS = 3
SEGMENT_TOKENS = 128
START_TRIES = 5
SETTINGS = {
    # One segment a step: in a batch sums round otherwise, and with random weights that grows without bound.
    "step_tokens": str(SEGMENT_TOKENS),
    "checkpoint_segments": "2",
    "idle_seconds": "0.05",
    "sweep_seconds": "1",
}


class Replica(Server):
    """A server, or another module in its place, on a port that stays reserved for it while it is down."""

    def __init__(self, module: tuple[str, ...], weights: Path, store: str, **settings: str) -> None:
        super().__init__(weights, store, **settings)
        self.module, self.port = module, free_port()

    def start_again(self) -> None:
        """Starts until it runs, as a supervisor does: without Valkey the process ends."""
        for _ in range(START_TRIES - 1):
            try:
                self.start()
                return
            except AssertionError:
                self.wait()
        self.start()

    def pause(self) -> None:
        """Returns when it is stopped: connections stay open, without answers."""
        self.send(signal.SIGSTOP)
        until(lambda: " T " in Path(f"/proc/{self.pid}/stat").read_text(), "stopped by its signal")

    def resume(self) -> None:
        self.send(signal.SIGCONT)


def make_weights(folder: Path) -> Path:
    """A folder of weights that are random, small, and read segments of 128 tokens."""
    model = random_model(tiny_config(segment_tokens=SEGMENT_TOKENS, window_tokens=8192))
    weights.save(folder, model, TextTokenizer.train([prose(1, 20_000)], 340), torch.float32)
    return folder


class Fleet:
    """Valkey, and its replicas; a killed replica starts again in the background."""

    def __init__(
        self,
        folder: Path,
        lease_seconds: float,
        module: tuple[str, ...] = ("server",),
        settings: Mapping[str, str] = SETTINGS,
    ) -> None:
        self.folder, keys = folder, folder / "seal.keys"
        self.weights = make_weights(folder / "weights")
        self.valkey = RedisServer("valkey9", folder / "valkey")
        self.options = StoreOptions(keys_file=keys)
        every = {**settings, "lease_seconds": str(lease_seconds), "seal_keys_file": str(keys)}
        self.replicas = [Replica(module, self.weights, self.valkey.url, **every) for _ in range(REPLICAS)]
        self._starting: dict[Replica, Future[None]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Fleet:
        with ExitStack() as stack:
            stack.enter_context(self.valkey)
            for replica in self.replicas:
                stack.callback(replica.__exit__, None, None, None)
            # Ends before they do: nobody starts one that was ended.
            self._threads = stack.enter_context(ThreadPoolExecutor(REPLICAS))
            # The first one makes the keys that all share.
            self.replicas[0].start()
            self._begin_start(*self.replicas[1:])
            self.all_running()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def running(self, at_least: int) -> list[Replica]:
        """The replicas that run; waits until there are so many."""
        while True:
            for replica, start in list(self._starting.items()):
                if start.done():
                    start.result()
                    del self._starting[replica]
            running = [replica for replica in self.replicas if replica not in self._starting]
            if len(running) >= at_least:
                return running
            wait(self._starting.values(), return_when=FIRST_COMPLETED)

    def processes(self) -> dict[str, int]:
        """The process ids of those that serve; may be called from another thread."""
        servers = {f"replica {n}": each.pid for n, each in enumerate(self.replicas) if each not in self._starting}
        return servers | {"valkey": self.valkey.pid}

    def all_running(self) -> float:
        """Returns the time when all run."""
        self.running(REPLICAS)
        return time.monotonic()

    def kill(self, replica: Replica) -> None:
        replica.kill()
        self._begin_start(replica)

    def kill_valkey(self) -> None:
        self.valkey.kill()
        self.valkey.start()

    def _begin_start(self, *replicas: Replica) -> None:
        for replica in replicas:
            self._starting[replica] = self._threads.submit(replica.start_again)
