"""The protocol of replicas on one store in simulated time: each case is a different order of events and faults.

A violation names its schedule's number and, in brackets, a token: `story` shows what happened there. No store is
rolled back here, and no session is forked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import detangle

from reliability.check import Check, Counts, Tick
from reliability.simulated.clients import KEY, LEASE_SECONDS, Client, Name, Replica, Scene
from reliability.simulated.world import SEGMENT_TOKENS, WatchedStore, Weather, decode, encode
from server.ingest import memories, session_reader, text_reader
from server.ingest.session_progress import Progress
from server.store import in_memory, rules
from server.store.local_leases import Leases

# Small enough to read a text of a few bytes in several steps and time slices.
READ_STEP_BYTES, JOURNAL_BYTES = 8, 16
# With 0 a memory leaves the cache when its reader stops.
RESIDENT_BYTES = (1 << 30, 0)
CLIENTS = ("a", "b", "c")
DEEDS = 3
# Longer than any operation takes.
END_SECONDS = 120.0
LOOK_SECONDS = 0.5
STEPS_MAX = 20_000
# Half of the cases keep the real event loop's order, and vary only times and faults.
CONFIGS = tuple(detangle.SimConfig(patch_time=True, max_steps=STEPS_MAX, reorder=reorder) for reorder in (False, True))
CONTROL_CASES = 1_000


async def schedule() -> Scene:
    """One order of events, and its outcome."""
    weather = Weather(detangle.choice((0.0, 0.02, 0.1)))
    scene, resident_bytes = Scene(WatchedStore()), detangle.choice(RESIDENT_BYTES)
    start = partial(Replica, scene.store, weather, resident_bytes)
    scene.replicas += [start() for _ in range(detangle.choice((2, 2, 3)))]
    clients = [Client(name, scene) for name in CLIENTS[: detangle.randint(1, len(CLIENTS))]]
    await clients[0].create("first")
    at_work = [asyncio.create_task(client.live(DEEDS)) for client in clients]
    for _ in range(detangle.choice((0, 1, 1, 2))):
        await asyncio.sleep(detangle.choice((0.05, 0.2, 0.6, 1.2)))
        await fault(scene, start)
    ended, _ = await asyncio.wait(at_work, timeout=END_SECONDS)
    scene.store.wrong += [
        f"{client.doing} never ended" for client, task in zip(clients, at_work, strict=True) if task not in ended
    ]
    for task in ended:
        task.result()
    weather.loss = 0.0
    await quiet(scene)
    if not (names := scene.names.check(Name())).ok:
        scene.store.wrong.append(names.explain())
    scene.amounts["checkpoints"] = sum(life.version for life in scene.store.lives.values())
    scene.amounts["leases given"] = sum(len(life.holders) for life in scene.store.lives.values())
    return scene


async def fault(scene: Scene, start: Callable[[], Replica]) -> None:
    """A replica is stopped for about its lease; or it crashes or shuts down, and another one starts."""
    number, what = detangle.randint(0, len(scene.replicas) - 1), detangle.choice(("stop", "crash", "end"))
    replica = scene.replicas[number]
    scene.amounts[{"stop": "stops", "crash": "crashes", "end": "ends in order"}[what]] += 1
    if what == "stop":
        replica.stop(LEASE_SECONDS * detangle.choice((1.1, 0.8, 2.0)))
        return
    if what == "crash":
        replica.crash()
    elif not await ends(replica.end()):
        scene.store.wrong.append("a replica did not end at shutdown")
    scene.replicas[number] = start()


async def quiet(scene: Scene) -> None:
    """Without further faults all accepted text must be read, stored and used in an answer."""
    since, store = detangle.now(), scene.store
    while (record := store.present(KEY)) and record.read_bytes <= record.accepted_bytes - SEGMENT_TOKENS:
        if detangle.now() > since + END_SECONDS:
            store.wrong.append(f"{record.read_bytes} of {record.accepted_bytes} bytes are read when all is long quiet")
            return
        await asyncio.sleep(LOOK_SECONDS)
    if not await ends(Client("last", scene).ask()):
        store.wrong.append("the last question was never answered")


async def ends(work: Coroutine[Any, Any, None]) -> bool:
    task = asyncio.create_task(work)
    ended, _ = await asyncio.wait([task], timeout=END_SECONDS)
    for one in ended:
        one.result()
    return bool(ended)


class Complaints(logging.Handler):
    """What replicas log as errors: each is a violation."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(f"logged: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}")


@contextmanager
def small() -> Iterator[Complaints]:
    """Read steps of a few bytes, memories that are stored as they are, and captured errors."""
    log, complaints = logging.getLogger("server"), Complaints()
    before = log.level, log.propagate
    with (
        mock.patch.object(text_reader, "READ_STEP_BYTES", READ_STEP_BYTES),
        mock.patch.object(session_reader, "JOURNAL_BYTES", JOURNAL_BYTES),
        mock.patch.multiple(memories, encode=encode, decode=decode),
        # Records are not changed, so there is no need to copy them.
        mock.patch.object(in_memory, "deepcopy", lambda value: value),
    ):
        log.addHandler(complaints)
        log.setLevel(logging.ERROR)
        log.propagate = False
        try:
            yield complaints
        finally:
            log.removeHandler(complaints)
            log.setLevel(before[0])
            log.propagate = before[1]


def run(cases: int, seed: int, tick: Tick) -> Counts:
    counts, strategy = Counts(), detangle.RandomWalk(seed)
    with small() as complaints:
        for number in range(cases):
            strategy.start(number)
            result = detangle.execute(schedule, config=CONFIGS[number % 2], strategy=strategy)
            found = [result.failure.message] if result.failure else result.value.store.wrong
            for what in (*found, *complaints.found):
                counts.wrong(f"schedule {number}: {what} [{detangle.encode_token(result.values)}]")
            complaints.found.clear()
            counts.cases += 1
            counts.add("steps", result.steps)
            for name, amount in () if result.failure else result.value.amounts.items():
                counts.add(name, amount)
            tick(1)
    return counts


def story(number: int, token: str) -> str:
    """What happened in the schedule of this number and token, step by step."""
    with small():
        result = detangle.replay(schedule, token, config=CONFIGS[number % 2], raise_on_failure=False)
    return result.trace.render(limit=0) if result.trace else ""


def control(seed: int) -> Counts:
    """Both must be detected: a store that keeps any checkpoint, and a replica that continues from its old memory.

    With a store that checks versions such a replica only loses time, so that guard is off there, too.
    """
    anything_follows = mock.patch.object(rules, "check_follows", return_value=None)
    with anything_follows, mock.patch.object(Leases, "check", return_value=None):
        unfenced = run(CONTROL_CASES, seed, lambda cases: None)
    with (
        anything_follows,
        mock.patch.object(Progress, "is_newest", lambda self, record: self.stored is not None),
    ):
        hasty = run(CONTROL_CASES, seed, lambda cases: None)
    both = unfenced.violations and hasty.violations
    return Counts(unfenced.cases + hasty.cases, unfenced.violations + hasty.violations if both else [])


CHECK = Check(
    name="simulated",
    what="simulated event orders among replicas on one store",
    gate_cases=20_000,
    long_cases=1_000_000,
    run=run,
    control=control,
)
