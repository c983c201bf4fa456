"""How long the server's event loop is blocked, idle and while reads and questions saturate the server.

Measured inside the server, whose callbacks are timed (`benchmarks/timed_server.py`), so without kernel and sockets. The
wall-clock figures include the time that other processes take of the cores; the CPU figures do not.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from benchmarks.client import Client
from benchmarks.many_sessions import open_sessions
from benchmarks.open_loop import offered, poisson
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.sending import Sender
from benchmarks.text import prose_of_bytes
from benchmarks.timed_server import REPORT, Callback
from benchmarks.timing import percentile
from testing.serving import Server

NAME = "event_loop"
CLAIM = "the event loop is never blocked for more than 10 ms, while 16 sessions are read and questions arrive"
BLOCKED_SECONDS = 0.010
NEVER_LONGER = Goal("at most", BLOCKED_SECONDS * 1e3)
READ_SESSIONS, ASKED_SESSIONS = 16, 16
QUESTIONS_PER_SECOND = 20
APPEND_SHARE = 0.2
READ_BYTES, APPENDED_BYTES = 64 * 1024, 1024
NAMED_CALLBACKS = 5


class TimedServer(Server):
    module = ("benchmarks.timed_server",)


def measure(plan: Plan) -> Section:
    read = [f"read-{number}" for number in range(READ_SESSIONS)]
    asked = [f"asked-{number}" for number in range(ASKED_SESSIONS)]
    with tempfile.TemporaryDirectory(prefix="onceread-bench-") as folder:
        settings = {"threads": "", "seal_keys_file": f"{folder}/seal.keys"}
        with TimedServer(plan.weights.resolve(), f"sqlite:///{folder}", **settings) as server:
            with Client(server.url) as client:
                client.await_ready()
                open_sessions(client, [*read, *asked])
            phases = {"idle": _idle(plan), "saturated": asyncio.run(_saturated(plan, server.url, read, asked))}
            server.terminate()
            (report,) = (line for line in server.log if line.startswith(REPORT))
    seen = json.loads(report.removeprefix(REPORT))
    return Section(NAME, CLAIM, tuple(f for name, phase in phases.items() for f in _figures(name, phase, seen)))


def _idle(plan: Plan) -> tuple[float, float]:
    """Start and end of a time without requests."""
    # Until the checkpoints of the sessions have been stored.
    time.sleep(2 * plan.settings.idle_seconds)
    began = time.monotonic()
    for _ in tqdm(range(10), desc="an idle server"):
        time.sleep(plan.sizes.load_seconds / 10)
    return began, time.monotonic()


async def _saturated(plan: Plan, url: str, read: Sequence[str], asked: Sequence[str]) -> tuple[float, float]:
    """Start and end of a time in which some sessions always have text to read, and others get questions and appends."""
    texts = [prose_of_bytes(length_bytes, seed=14) for length_bytes in (READ_BYTES, APPENDED_BYTES)]
    async with (
        Sender(url, read, texts[0]) as reader,
        Sender(url, asked, texts[1]) as send,
        asyncio.TaskGroup() as group,
    ):

        async def keep_reading(session: str) -> None:
            while True:
                await reader.append(session, wait=True)

        reading = [group.create_task(keep_reading(session)) for session in read]
        began = time.monotonic()
        everyone = range(len(asked))
        schedule = poisson(14, QUESTIONS_PER_SECOND, 2 * plan.sizes.load_seconds, everyone, APPEND_SHARE)
        outcomes = await offered(schedule, send, "a saturated server")
        ended = time.monotonic()
        for task in reading:
            task.cancel()
    if faults := [outcome.fault for outcome in outcomes if outcome.fault is not None]:
        print(f"{len(faults)} of {len(outcomes)} requests failed; the first: {faults[0]}")
    return began, ended


def _figures(name: str, phase: tuple[float, float], seen: dict[str, Any]) -> list[Figure]:
    began, ended = phase
    callbacks, collections = (
        sorted((c for c in map(Callback._make, seen[kind]) if began <= c.at <= ended), key=lambda c: c.seconds)
        for kind in ("callbacks", "collections")
    )
    late = [seconds for at, seconds in seen["late"] if began <= at <= ended]
    for _, seconds, cpu_seconds, what in [*callbacks[-NAMED_CALLBACKS:], *collections[-NAMED_CALLBACKS:]]:
        print(f"{name}: {what} took {seconds * 1e3:.1f} ms, {cpu_seconds * 1e3:.1f} ms of CPU time")
    longest, collection = (some[-1].seconds if some else 0.0 for some in (callbacks, collections))
    blocked = sum(callback.seconds > BLOCKED_SECONDS for callback in callbacks)
    processor = max((callback.cpu_seconds for callback in callbacks), default=0.0)
    goal = NEVER_LONGER if name == "saturated" else None
    return [
        Figure(f"{name}_longest_callback_milliseconds", longest * 1e3, goal),
        Figure(f"{name}_callbacks_over_10_milliseconds_count", blocked),
        Figure(f"{name}_longest_callback_processor_milliseconds", processor * 1e3),
        Figure(f"{name}_longest_collection_milliseconds", collection * 1e3),
        Figure(f"{name}_timer_late_p99_milliseconds", percentile(late, 99) * 1e3),
        Figure(f"{name}_timer_late_max_milliseconds", max(late) * 1e3),
    ]
