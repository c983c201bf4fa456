"""A callback that holds up the event loop is seen, by name and with the processor time that it took."""

from __future__ import annotations

import asyncio
import gc
import json
import time

from benchmarks.watched import REPORT, Callback, Watch

HELD_SECONDS = 0.005


async def hold_up() -> None:
    began = time.thread_time()
    while time.thread_time() - began < HELD_SECONDS:
        pass


async def work() -> int:
    await asyncio.create_task(hold_up())
    # The timer's turn, which was due while the loop was held up.
    await asyncio.sleep(HELD_SECONDS)
    return 7


def test_what_holds_up_the_loop_is_told() -> None:
    run, watch, began = asyncio.Handle._run, Watch(), time.monotonic()
    assert asyncio.run(watch.during(work())) == 7
    told = json.loads(watch.report().removeprefix(REPORT))
    (held,) = (callback for callback in map(Callback._make, told["callbacks"]) if callback.what == "hold_up")
    assert held.seconds >= HELD_SECONDS
    assert held.processor_seconds >= HELD_SECONDS
    assert began < held.at < time.monotonic()
    assert told["late"]
    assert asyncio.Handle._run is run


async def collect_much() -> int:
    much: list[object] = [[number] for number in range(200_000)]
    gc.collect()
    return len(much)


def test_collections_of_garbage_are_told() -> None:
    watch, before = Watch(), list(gc.callbacks)
    asyncio.run(watch.during(collect_much()))
    told = json.loads(watch.report().removeprefix(REPORT))
    assert any("generation 2" in Callback._make(each).what for each in told["collections"])
    assert gc.callbacks == before
