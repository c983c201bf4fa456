"""Failing disks under the embedded store: every call that it makes fails once, or until it is healed.

It does not know how the store recovers, only that what it acknowledged stays and that it works on.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from unittest import mock

import apsw

from reliability.check import Check, Counts, Tick
from reliability.sqlite.disk import Disk, crash_disk
from reliability.sqlite.power import KEYS, Allowed, Client, Step, press, seen_in, text, two_folders, wrong_in
from server.store.base import Appended, StoreError, StoreFull, StoreUnavailable
from server.store.sqlite import SqliteStore

STEPS = 10
# How often a client meets a disk that fails for long before somebody heals it.
PATIENCE = 2
HANG_SECONDS = 60
CONTROL_CASES = 40
MOVING = "xWrite of the file"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Site:
    """Which call fails, and how."""

    number: int
    call: str
    is_full: bool = False
    lasts: bool = False

    def __str__(self) -> str:
        how = "finds the disk full" if self.is_full else "fails"
        return f"{self.call}, call {self.number}, {how}{' until healed' if self.lasts else ''}"

    def error(self, call: str) -> Exception | None:
        if self.is_full:
            return apsw.FullError("the disk is full") if call.startswith("xWrite") else None
        if call == "sync of the folder":
            return OSError(errno.EIO, "the sync failed")
        return apsw.CantOpenError("no way in") if call == "xOpen" else apsw.IOError("the disk failed")


class Plan:
    """Counts the calls until it is healed, and fails those of the site."""

    def __init__(self, site: Site | None) -> None:
        self.site = site
        self.calls: list[str] = []
        self.failed = 0
        self.failed_call = ""
        self.healed = False

    @property
    def is_over(self) -> bool:
        return self.healed or (self.site is not None and not self.site.lasts and self.failed > 0)

    def before(self, call: str) -> None:
        if self.is_over:
            return
        number = len(self.calls)
        self.calls.append(call)
        if self.site is None or number < self.site.number or not (self.site.lasts or number == self.site.number):
            return
        if error := self.site.error(call):
            self.failed += 1
            self.failed_call = call
            raise error


class Wrong(Exception):
    """Something that the store may not do."""


class Done(Exception):
    """What was asked again had been done the first time, when no answer came."""


class Life:
    """A store under a plan, and a client that sends again what it got no answer for."""

    def __init__(self, dice: random.Random, site: Site | None) -> None:
        self.dice = dice
        self.client = Client(dice)
        self.plan = Plan(site)
        # What a power cut leaves that takes all that was not synced, and what must be seen in it.
        self.left: list[tuple[dict[str, bytes], Allowed]] = []

    async def live(self, folder: Path) -> None:
        with crash_disk(self.plan.before) as disk:
            store = await self.insist(lambda: SqliteStore.open(folder))
            try:
                await self.insist(lambda: press(store, self.dice))
                for number in range(STEPS):
                    failed = self.plan.failed
                    await self.take(await self.client.begin(KEYS[number % 2]), store)
                    if self.plan.failed > failed:
                        await self.look(store, disk)
                await self.look(store, disk)
            finally:
                # What fails at the end is told, and nothing acknowledged hangs on it.
                with suppress(StoreUnavailable, StoreFull):
                    await store.close()
                self.plan.healed = True
            store = await self.insist(lambda: SqliteStore.open(folder))
            await self.look(store, disk)
            await store.close()

    async def take(self, step: Step, store: SqliteStore) -> None:
        after = self.client.allowed[step.key][-1]
        with suppress(Done):
            answer = await self.insist(lambda: step.ask(store), step.refusals)
            if isinstance(answer, Appended) and (after is None or answer.accepted_bytes != after.record.accepted_bytes):
                raise Wrong(f"an append was answered with {answer}")
        self.client.acknowledge(step)

    async def look(self, store: SqliteStore, disk: Disk) -> None:
        self.left.append((disk.cut().synced(), dict(self.client.allowed)))
        if wrong := await self.insist(lambda: seen_in(store, self.client.allowed)):
            raise Wrong("; ".join(wrong))

    async def insist(self, ask: Callable[[], Awaitable[Result]], refusals: tuple[type[StoreError], ...] = ()) -> Result:
        """The answer, asked for until there is one; `Done` where a refusal says that it was done the first time."""
        in_doubt = False
        for failures in range(1, PATIENCE + 2):
            is_over = self.plan.is_over
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    return await ask()
            except (StoreFull, StoreUnavailable) as error:
                if is_over:
                    raise Wrong(f"it does not work on: {error}") from error
                # A full store has kept nothing. But SQLite moves its log into the file behind the commit, and
                # hides what fails there; from a disk in Python it is raised all the same.
                in_doubt = in_doubt or not isinstance(error, StoreFull) or self.plan.failed_call == MOVING
                self.plan.healed = failures >= PATIENCE
            except Exception as error:
                if in_doubt and isinstance(error, refusals):
                    raise Done from error
                raise Wrong(f"{type(error).__name__}: {error}") from error
        raise Wrong("it never answers")


async def sites_of(seed: str, folder: Path) -> list[Site]:
    """Every call of a life in which nothing fails, each with all the ways in which it can."""
    life = Life(random.Random(seed), None)
    await life.live(folder)
    return [
        Site(number, call, is_full, lasts)
        for number, call in enumerate(life.plan.calls)
        for is_full in ((False, True) if call.startswith("xWrite") else (False,))
        for lasts in (False, True)
    ]


async def faults(cases: int, seed: int, tick: Tick, only: Callable[[Site], bool] = bool) -> Counts:
    counts, lives = Counts(), 0
    with two_folders() as (lived, left):
        while counts.cases < cases:
            drawn = f"{seed} {lives}"
            sites = [site for site in await sites_of(drawn, lived) if only(site)]
            count = min(cases - counts.cases, len(sites))
            for site in (sites[number * len(sites) // count] for number in range(count)):
                life = Life(random.Random(drawn), site)
                try:
                    await life.live(lived)
                except (Wrong, StoreError) as wrong:
                    counts.wrong(f"life {lives}, {site}: {wrong}")
                for files, allowed in life.left:
                    for what in await wrong_in(files, allowed, left):
                        counts.wrong(f"life {lives}, {site}, then a power cut: {what}")
                counts.cases += 1
                counts.add("faults met", life.plan.failed > 0)
                counts.add(site.call)
                counts.add("power cuts", len(life.left))
                tick(1)
            lives += 1
            text.cache_clear()
    return counts


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(faults(cases, seed, tick))


class Hasty(apsw.Connection):
    """Builds on whatever is in the log, be it on the disk or only seemingly."""

    def wal_checkpoint(self, dbname: str | None = None, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> tuple[int, int]:
        return 0, 0


def control(seed: int) -> Counts:
    """Where the log is not made durable before a store goes on from it, something acknowledged must be found lost."""
    with mock.patch.object(apsw, "Connection", Hasty):
        return asyncio.run(
            faults(CONTROL_CASES, seed, lambda cases: None, lambda site: site.call == "xSync of the log")
        )


CHECK = Check(
    name="faults-sqlite",
    what="failing calls to the disk of the embedded store",
    gate_cases=400,
    long_cases=5_000,
    run=run,
    control=control,
)
