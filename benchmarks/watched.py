"""`python -m benchmarks.watched`: the server as it is, its event loop timed; what was seen is its last line.

Every callback is timed by the wall clock and by the processor time of the loop's own thread: the difference was spent
waiting for the interpreter's lock or for a core. A timer every few milliseconds shows how late anything else would have
been, however many callbacks came before it. Collections of garbage hold up the loop in whichever thread they happen.
It knows the loop, and nothing of what is served.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple

from server.observability import logs
from server.settings import Settings

REPORT = "event loop: "
TIMER_SECONDS = 0.005
# Shorter callbacks are not kept.
KEPT_SECONDS = 0.001


class Callback(NamedTuple):
    """What ended at a moment of the monotonic clock: how long it took, and what it was."""

    at: float
    seconds: float
    processor_seconds: float
    what: str


class Watch:
    """Times all callbacks of the process's event loops while some work is done, a timer of its own, and collections."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        self.late: list[tuple[float, float]] = []
        self.collections: list[Callback] = []
        self._collecting = (0.0, 0.0)

    async def during(self, work: Coroutine[Any, Any, int]) -> int:
        handle: Any = asyncio.Handle
        run = handle._run

        def timed(self_: Any) -> None:
            began, processor = time.monotonic(), time.thread_time()
            run(self_)
            ended = time.monotonic()
            if ended - began >= KEPT_SECONDS:
                spent = time.thread_time() - processor
                self.callbacks.append(Callback(ended, ended - began, spent, described(self_)))

        handle._run = timed
        gc.callbacks.append(self._collected)
        timer = asyncio.create_task(self._keep_time())
        try:
            return await work
        finally:
            timer.cancel()
            gc.callbacks.remove(self._collected)
            handle._run = run

    def _collected(self, phase: str, information: dict[str, int]) -> None:
        now, processor = time.monotonic(), time.thread_time()
        if phase == "start":
            self._collecting = now, processor
            return
        began, spent = self._collecting
        if now - began >= KEPT_SECONDS:
            what = f"collection of generation {information['generation']} in {threading.current_thread().name}"
            self.collections.append(Callback(now, now - began, processor - spent, what))

    async def _keep_time(self) -> None:
        while True:
            due = time.monotonic() + TIMER_SECONDS
            await asyncio.sleep(TIMER_SECONDS)
            now = time.monotonic()
            self.late.append((now, now - due))

    def report(self) -> str:
        return REPORT + json.dumps({"callbacks": self.callbacks, "collections": self.collections, "late": self.late})


def described(handle: Any) -> str:
    """The coroutine that a task stepped through, or the function that was called."""
    callback = handle._callback
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", owner))
    return str(getattr(callback, "__qualname__", callback))


def main() -> int:
    from server.cli.serve import serve

    settings, watch = Settings.from_environment(os.environ), Watch()
    logs.begin(settings.log_format, settings.log_level)
    status = asyncio.run(watch.during(serve(settings)))
    print(watch.report(), file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
