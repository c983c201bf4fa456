"""Power cuts of the embedded store: random images of its disk, each opened and compared with what was acknowledged."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from reliability.check import Check, Counts, Tick
from reliability.sqlite.disk import Cut, Disk, crash_disk
from server.store.base import (
    CheckpointInfo,
    Recovery,
    SessionKey,
    SessionMissing,
    SessionRecord,
    SessionTaken,
    StaleCheckpoint,
    Store,
    StoredCheckpoint,
    StoreError,
)
from server.store.in_memory import MemoryStore
from server.store.sqlite import SqliteStore, schema
from tests.server.store.samples import keep

KEYS = (SessionKey("acme", "a"), SessionKey("acme", "b"), SessionKey("other", "a"))
TEXT_BYTES = 1 << 17
STARTS = 3
ROUNDS = 8
# Few enough that the log is checkpointed and restarted many times in a run, and that a commit is written to the log
# in parts and read back from the disk.
LOG_PAGES = (5, 20, 60)
CACHE_PAGES = (2, 200)
CHANGES = ("xOpen", "xWrite", "xTruncate", "xSync", "xDelete", "sync of the folder")
CUTS_IN = 4
CONTROL_IMAGES = 400
MEMORY = Path("/dev/shm")

Ask = Callable[[Store], Coroutine[Any, Any, object]]
Shown = Recovery | None
Allowed = dict[SessionKey, tuple[Shown, ...]]


@cache
def text(key: SessionKey, born: float) -> bytes:
    """The endless text of one session; a later session of the same name has another."""
    return random.Random(f"{key} {born}").randbytes(TEXT_BYTES)


@dataclass(frozen=True)
class Step:
    """A call to a store, and the refusals that show that it had taken effect before; an append has none."""

    key: SessionKey
    name: str
    ask: Ask
    refusals: tuple[type[StoreError], ...] = ()


async def shown_of(store: Store, key: SessionKey) -> Shown:
    try:
        return await store.recover(key)
    except SessionMissing:
        return None


def drawn(dice: random.Random, key: SessionKey, shown: Shown, at: float) -> Step:
    if shown is None:
        record = SessionRecord(key, at, at, "delta", "f00d", {"title": "Ærø, 第一章"})
        return Step(key, "create", lambda store: store.create(record), (SessionTaken,))
    record = shown.record
    end, name = record.accepted_bytes, dice.choices(("append", "checkpoint", "delete"), (75, 20, 5))[0]
    if name == "delete":
        return Step(key, name, lambda store: store.delete(key), (SessionMissing,))
    if name == "checkpoint":
        value = dice.randbytes(dice.choice((40, 700, 20_000)))
        offset = dice.randint(record.read_bytes, end)
        info = CheckpointInfo(record.version + 1, offset, offset // 2, record.version, len(value))
        checkpoint = StoredCheckpoint(info, value)
        return Step(key, name, lambda store: keep(store, key, checkpoint, at), (StaleCheckpoint,))
    # Sometimes from further back, as a client does whose acknowledgement was lost.
    start = dice.choice((end, end, end, dice.randint(shown.journal_offset, end)))
    sent = text(key, record.created_at)[start : end + dice.choice((1, 60, 900, 5000))]
    return Step(key, name, lambda store: store.append(key, start, sent, at))


class Client:
    """Makes the same calls to a store and to an in-memory reference, and tracks what the store may show.

    A call in flight may have taken effect or not: `allowed` holds the session before and after it.
    """

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.twin = MemoryStore()
        self.allowed: Allowed = {key: (None,) for key in KEYS}
        self.appends = dict.fromkeys(KEYS, 0)
        self.clock = 0.0

    async def begin(self, key: SessionKey) -> Step:
        self.clock += 1
        before = await shown_of(self.twin, key)
        step = drawn(self.dice, key, before, self.clock)
        await step.ask(self.twin)
        self.allowed[key] = (before, await shown_of(self.twin, key))
        return step

    def acknowledge(self, step: Step) -> None:
        self.allowed[step.key] = self.allowed[step.key][-1:]
        if step.name == "append":
            self.appends[step.key] += 1
        elif step.name == "delete":
            self.appends[step.key] = 0


@dataclass(frozen=True)
class Moment:
    """A power cut, what the store may show after it, and the number of acknowledged appends in it."""

    cut: Cut
    allowed: Allowed
    appends: int


async def seen_in(store: Store, allowed: Allowed) -> list[str]:
    """What the store shows but must not, in words."""
    found = await asyncio.gather(*(seen_of(store, key, allowed[key]) for key in KEYS))
    pages = await asyncio.gather(*(store.list_sessions(tenant, 99) for tenant in {key.tenant for key in KEYS}))
    never = {record.key for page in pages for record in page} - {key for key in KEYS if allowed[key] != (None,)}
    return [*chain.from_iterable(found), *(f"{key}: should not exist" for key in sorted(never))]


async def seen_of(store: Store, key: SessionKey, allowed: tuple[Shown, ...]) -> list[str]:
    shown = await shown_of(store, key)
    if shown not in allowed:
        return [f"{key}: {said(shown)}; allowed: {', or '.join(map(said, allowed))}"]
    if shown is None:
        return []
    start, end = shown.journal_offset, shown.record.accepted_bytes
    same = await store.journal(key, start, TEXT_BYTES) == text(key, shown.record.created_at)[start:end]
    return [] if same else [f"{key}: other bytes than were sent"]


def said(shown: Shown) -> str:
    if shown is None:
        return "nothing"
    record, versions = shown.record, [checkpoint.version for checkpoint in shown.checkpoints]
    return (
        f"session of {record.created_at} with {record.accepted_bytes} bytes at {record.updated_at}, "
        f"checkpoints {versions}, journal from {shown.journal_offset}, damaged {shown.damaged}"
    )


async def wrong_in(image: dict[str, bytes], allowed: Allowed, folder: Path) -> list[str]:
    """What is wrong with a store that starts from these files."""
    for path in folder.iterdir():
        path.unlink()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    try:
        store = await SqliteStore.open(folder)
        try:
            return await seen_in(store, allowed)
        finally:
            await store.close()
    except StoreError as error:
        return [f"the store cannot be opened, read and closed: {error}"]


class Life:
    """A store that is started, used and restarted after a power cut; cuts are taken at random calls and answers."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        # A generator of its own, since another thread makes the disk calls.
        self.dice_of_cuts = random.Random(dice.random())
        self.client = Client(dice)
        self.disk: Disk | None = None
        self.moments: list[Moment] = []

    async def live(self, folder: Path) -> None:
        files: dict[str, bytes] = {}
        for _ in range(STARTS):
            with crash_disk(self.before, files) as self.disk:
                store = await SqliteStore.open(folder)
                try:
                    await press(store, self.dice)
                    for _ in range(ROUNDS):
                        await self.ask(store)
                        self.cut(self.disk)
                    # The next start has a log to recover, and is cut during the recovery.
                    files = self.disk.cut().image(self.dice)
                finally:
                    await store.close()
                self.cut(self.disk)

    async def ask(self, store: SqliteStore) -> None:
        keys = self.dice.sample(KEYS, self.dice.choice((1, 1, 2, 3)))
        steps = [await self.client.begin(key) for key in keys]
        with asked_together(store) as tasks:
            tasks += [asyncio.create_task(step.ask(store)) for step in steps]
        await asyncio.gather(*tasks)
        for step in steps:
            self.client.acknowledge(step)

    def before(self, call: str) -> None:
        if self.disk is not None and call.startswith(CHANGES) and not self.dice_of_cuts.randrange(CUTS_IN):
            self.cut(self.disk)

    def cut(self, disk: Disk) -> None:
        self.moments.append(Moment(disk.cut(), dict(self.client.allowed), sum(self.client.appends.values())))


async def press(store: SqliteStore, dice: random.Random) -> None:
    """Makes the store's connection use its disk more often."""
    log_pages, cache_pages = dice.choice(LOG_PAGES), dice.choice(CACHE_PAGES)
    await store.writer.run(lambda connection: connection.wal_autocheckpoint(log_pages))
    await store.writer.run(lambda connection: connection.pragma("cache_size", cache_pages))


@contextmanager
def asked_together(store: SqliteStore) -> Iterator[list[asyncio.Task[Any]]]:
    """Blocks the store's thread during the block, so that its calls become one group commit."""
    free = threading.Event()
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(store.writer.run(lambda connection: free.wait()))]
    yield tasks
    asyncio.get_running_loop().call_soon(free.set)


@contextmanager
def two_folders() -> Iterator[tuple[Path, Path]]:
    """A folder for the running store and one for images; in memory if the system has /dev/shm, for speed."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root:
        lived, left = Path(root) / "lived", Path(root) / "left"
        lived.mkdir()
        left.mkdir()
        yield lived, left


async def images(cases: int, seed: int, tick: Tick) -> Counts:
    counts, lives = Counts(), 0
    with two_folders() as (lived, left):
        while counts.cases < cases:
            dice = random.Random(f"{seed} {lives}")
            life = Life(dice)
            try:
                await life.live(lived)
            except StoreError as error:
                counts.wrong(f"life {lives}: it failed after a power cut: {error}")
            for number, moment in enumerate(life.moments[: cases - counts.cases]):
                for wrong in await wrong_in(moment.cut.image(dice), moment.allowed, left):
                    counts.wrong(f"life {lives}, cut {number}: {wrong}")
                counts.cases += 1
                counts.add("images")
                counts.add("images with a torn commit", moment.cut.is_torn)
                counts.add("acknowledged appends checked", moment.appends)
                tick(1)
            lives += 1
            text.cache_clear()
    return counts


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(images(cases, seed, tick))


def control(seed: int) -> Counts:
    """With fewer syncs at each commit, and with none, acknowledged text must be found lost."""
    fewer, none = (without_syncs(setting, answer, seed) for setting, answer in (("NORMAL", 1), ("OFF", 0)))
    both = fewer.violations and none.violations
    return Counts(fewer.cases + none.cases, fewer.violations + none.violations if both else [])


def without_syncs(setting: str, answer: int, seed: int) -> Counts:
    others = [row for row in schema.SETTINGS if row[0] != "synchronous"]
    with mock.patch.object(schema, "SETTINGS", (*others, ("synchronous", setting, answer))):
        return run(CONTROL_IMAGES, seed, lambda cases: None)


CHECK = Check(
    name="power-sqlite",
    what="power cuts of the embedded store",
    gate_cases=10_000,
    long_cases=1_000_000,
    run=run,
    control=control,
)
