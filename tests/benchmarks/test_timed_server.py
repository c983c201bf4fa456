"""The event loop's callbacks, its lateness and garbage collections are timed, here by clocks that a test sets."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from benchmarks.timed_server import REPORT, Callback, LoopTimer


class Clocks:
    """A wall clock and a CPU clock that stand still until they are advanced."""

    def __init__(self) -> None:
        self.seconds, self.cpu_seconds = 100.0, 10.0

    def advance(self, seconds: float, cpu_seconds: float) -> None:
        self.seconds += seconds
        self.cpu_seconds += cpu_seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def timer(clocks: Clocks) -> LoopTimer:
    return LoopTimer(lambda: clocks.seconds, lambda: clocks.cpu_seconds)


def reported(timer: LoopTimer, work: Coroutine[Any, Any, int]) -> dict[str, Any]:
    assert asyncio.run(timer.during(work)) == 7
    report: dict[str, Any] = json.loads(timer.report().removeprefix(REPORT))
    return report


def test_a_callback_that_blocks_the_loop_is_reported_by_name(clocks: Clocks, timer: LoopTimer) -> None:
    async def block() -> None:
        clocks.advance(0.25, 0.125)

    async def work() -> int:
        await asyncio.create_task(block())
        return 7

    run = asyncio.Handle._run
    (callback,) = map(Callback._make, reported(timer, work())["callbacks"])
    assert callback.name.endswith("block")
    assert callback[:3] == (100.25, 0.25, 0.125)
    assert asyncio.Handle._run is run


def test_a_short_callback_is_not_recorded(clocks: Clocks, timer: LoopTimer) -> None:
    async def work() -> int:
        clocks.advance(0.0005, 0.0005)
        return 7

    assert reported(timer, work())["callbacks"] == []


def test_the_timer_measures_how_late_it_runs(clocks: Clocks, timer: LoopTimer) -> None:
    async def work() -> int:
        # The timer is due 5 ms after its first turn, and the loop blocks for longer.
        await asyncio.sleep(0)
        clocks.advance(0.25, 0.25)
        async with asyncio.timeout(60):
            while not timer.late:  # noqa: ASYNC110 - the timer has no event to wait for
                await asyncio.sleep(0)
        return 7

    at, late = reported(timer, work())["late"][0]
    assert (at, late) == (100.25, pytest.approx(0.245))


def test_a_garbage_collection_is_reported(clocks: Clocks, timer: LoopTimer) -> None:
    def advance(phase: str, information: dict[str, int]) -> None:
        if phase == "start":
            clocks.advance(0.25, 0.125)

    async def work() -> int:
        gc.callbacks.append(advance)
        try:
            gc.collect()
        finally:
            gc.callbacks.remove(advance)
        return 7

    before = list(gc.callbacks)
    collections = [Callback._make(each) for each in reported(timer, work())["collections"]]
    assert [each[1:3] for each in collections if "generation 2" in each.name] == [(0.25, 0.125)]
    assert gc.callbacks == before
