"""Failing disk calls of the embedded store: each call fails once or until healed; acknowledged text must survive."""

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
# How many calls fail before a lasting fault is healed.
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
    """Counts calls until healed, and fails those of the site."""

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
    """A violation."""


class Done(Exception):
    """A repeated call is refused because the first attempt, of unknown outcome, had taken effect."""


class Life:
    """A store under a plan, and a client that repeats calls of unknown outcome."""

    def __init__(self, dice: random.Random, site: Site | None) -> None:
        self.dice = dice
        self.client = Client(dice)
        self.plan = Plan(site)
        # The synced files at several moments, and what a store opened from them may show.
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
                # A failure at close raises, but loses nothing acknowledged.
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
        """Repeats the call until it is answered; `Done` if a refusal shows that an earlier attempt had taken effect."""
        in_doubt = False
        for failures in range(1, PATIENCE + 2):
            is_over = self.plan.is_over
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    return await ask()
            except (StoreFull, StoreUnavailable) as error:
                if is_over:
                    raise Wrong(f"it still fails: {error}") from error
                # A full store has kept nothing. But SQLite checkpoints its log after the commit and hides errors
                # there, while a VFS in Python raises them all the same.
                in_doubt = in_doubt or not isinstance(error, StoreFull) or self.plan.failed_call == MOVING
                self.plan.healed = failures >= PATIENCE
            except Exception as error:
                if in_doubt and isinstance(error, refusals):
                    raise Done from error
                raise Wrong(f"{type(error).__name__}: {error}") from error
        raise Wrong("it never answers")


async def sites_of(seed: str, folder: Path) -> list[Site]:
    """Every call of a run without faults, with each way in which it can fail."""
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
    """Trusts the log at start without making it durable."""

    def wal_checkpoint(self, dbname: str | None = None, mode: int = apsw.SQLITE_CHECKPOINT_PASSIVE) -> tuple[int, int]:
        return 0, 0


def control(seed: int) -> Counts:
    """A store that does not make the log durable before going on from it must be found to lose acknowledged text."""
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
