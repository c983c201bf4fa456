"""`python -m benchmarks.timed_server`: the server with its event loop timed; the last line that it logs is the report.

Each callback is timed by the wall clock and by the CPU time of the loop's thread: the difference is time spent waiting
for the interpreter's lock or for a core. A timer every few milliseconds measures how late any other callback would have
run. Garbage collections are timed too, since one in any thread blocks the loop.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from server.observability import logs
from server.settings import Settings

REPORT = "event loop: "
TIMER_SECONDS = 0.005
# Shorter callbacks are not recorded.
RECORDED_SECONDS = 0.001


class Callback(NamedTuple):
    """A callback or a collection that ended `at` a time of the monotonic clock."""

    at: float
    seconds: float
    cpu_seconds: float
    name: str


class LoopTimer:
    """Times all callbacks of the event loop during some work, garbage collections, and the lateness of a timer.

    `clock` and `cpu_clock` return seconds: of the wall clock, and of the CPU time of the calling thread.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu_clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self.callbacks: list[Callback] = []
        self.late: list[tuple[float, float]] = []
        self.collections: list[Callback] = []
        self._collecting = (0.0, 0.0)

    async def during(self, work: Coroutine[Any, Any, int]) -> int:
        handle: Any = asyncio.Handle
        run = handle._run

        def timed(self_: Any) -> None:
            began, cpu_began = self._clock(), self._cpu_clock()
            run(self_)
            ended = self._clock()
            if ended - began >= RECORDED_SECONDS:
                cpu_seconds = self._cpu_clock() - cpu_began
                self.callbacks.append(Callback(ended, ended - began, cpu_seconds, callback_name(self_)))

        handle._run = timed
        gc.callbacks.append(self._collected)
        timer = asyncio.create_task(self._measure_lateness())
        try:
            return await work
        finally:
            timer.cancel()
            gc.callbacks.remove(self._collected)
            handle._run = run

    def _collected(self, phase: str, information: dict[str, int]) -> None:
        now, cpu_now = self._clock(), self._cpu_clock()
        if phase == "start":
            self._collecting = now, cpu_now
            return
        began, cpu_began = self._collecting
        if now - began >= RECORDED_SECONDS:
            name = f"collection of generation {information['generation']} in {threading.current_thread().name}"
            self.collections.append(Callback(now, now - began, cpu_now - cpu_began, name))

    async def _measure_lateness(self) -> None:
        while True:
            due = self._clock() + TIMER_SECONDS
            await asyncio.sleep(TIMER_SECONDS)
            now = self._clock()
            self.late.append((now, now - due))

    def report(self) -> str:
        return REPORT + json.dumps({"callbacks": self.callbacks, "collections": self.collections, "late": self.late})


def callback_name(handle: Any) -> str:
    """The name of the task's coroutine, or of the function."""
    callback = handle._callback
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return str(getattr(owner.get_coro(), "__qualname__", owner))
    return str(getattr(callback, "__qualname__", callback))


def main() -> int:
    from server.cli.serve import serve

    settings, timer = Settings.from_environment(os.environ), LoopTimer()
    logs.begin(settings.log_format, settings.log_level)
    status = asyncio.run(timer.during(serve(settings)))
    print(timer.report(), file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
