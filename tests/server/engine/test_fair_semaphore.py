"""No more places are held than there are, except by tenants that have less than their share."""

from __future__ import annotations

import asyncio

import pytest

from server.engine.fair_semaphore import FairSemaphore

pytestmark = pytest.mark.anyio


class Works:
    """Tasks that each hold a place until `end`; `now` has the names of those that hold one."""

    def __init__(self, count: int) -> None:
        self._slots = FairSemaphore(count)
        self.now: list[str] = []
        self._ends: list[tuple[str, asyncio.Event, asyncio.Task[None]]] = []

    async def begin(self, *names: str) -> None:
        """A name's first letter is its tenant."""
        for name in names:
            end = asyncio.Event()
            self._ends.append((name, end, asyncio.create_task(self._work(name, end))))
            await frozen()

    async def _work(self, name: str, end: asyncio.Event) -> None:
        async with self._slots.of(name[0]):
            self.now.append(name)
            try:
                await end.wait()
            finally:
                self.now.remove(name)

    async def end(self, name: str) -> None:
        for ending, end, task in self._ends:
            if ending == name:
                end.set()
                await task
        await frozen()

    def cancel(self, name: str) -> None:
        for cancelled, _, task in self._ends:
            if cancelled == name:
                task.cancel()


async def frozen() -> None:
    """Every task has gone as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_as_there_are_places_and_in_order() -> None:
    works = Works(2)
    await works.begin("a1", "a2", "a3", "a4")
    assert works.now == ["a1", "a2"]
    await works.end("a2")
    assert works.now == ["a1", "a3"]


async def test_a_tenant_below_its_share_goes_in_at_once_and_the_others_give_way() -> None:
    works = Works(4)
    await works.begin(*(f"a{number}" for number in range(9)), "b1", "b2", "b3")
    assert works.now == ["a0", "a1", "a2", "a3", "b1", "b2"]
    await works.end("a0")
    await works.end("a1")
    # Now each has its share: a tenant that gives a place back gets the next one.
    await works.end("b1")
    assert works.now == ["a2", "a3", "b2", "b3"]


async def test_a_cancelled_waiter_takes_no_place() -> None:
    works = Works(1)
    await works.begin("a1", "a2", "a3")
    works.cancel("a2")
    await works.end("a1")
    assert works.now == ["a3"]


async def test_a_place_that_came_too_late_is_given_on() -> None:
    works = Works(1)
    await works.begin("a1", "a2", "a3")
    works.cancel("a1")
    # One turn of the loop: the first gives its place back, and the second has been handed it but has not gone on yet.
    await asyncio.sleep(0)
    works.cancel("a2")
    await frozen()
    assert works.now == ["a3"]
