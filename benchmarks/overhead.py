"""The server's reading rate relative to the engine alone: the cost of HTTP, journal and checkpoints.

`rate` compares the server with the model alone; here both sides have the engine with its steps and its queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tqdm import tqdm

from benchmarks.client import Client, served
from benchmarks.many_sessions import await_stored
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_tokens
from model.memory import MemoryState
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from testing.serving import Server

NAME = "overhead"
CLAIM = "at saturation the server reads at no less than 90 % of the rate of the engine alone"
MOST_OF_IT = Goal("at least", 0.9)
# With as many sessions as a step has rows, a step is not full while one session waits for its next text.
SESSIONS_A_ROW = (1, 4)


def measure(plan: Plan) -> Section:
    forward = ModelRunner(plan.loaded.model)
    # As at the server's start: autotune the way to read segments.
    forward.warm_up(plan.settings.step_tokens)
    figures = [Figure("step_rows", plan.step_rows)]
    with served(plan) as (server, client):
        for times in SESSIONS_A_ROW:
            figures += _compared(plan, forward, server, client, times * plan.step_rows)
    return Section(NAME, CLAIM, tuple(figures))


def _compared(plan: Plan, forward: ModelRunner, server: Server, client: Client, count: int) -> list[Figure]:
    """Rounds engine, server, engine, …, engine: each of the server is compared with the two beside it."""
    rounds, tokens = plan.sizes.rounds, plan.sizes.round_tokens * plan.step_rows // count // 2
    names = [f"{count}-sessions-{number}" for number in range(count)]
    memories = [plan.loaded.model.initial_memory(1)] * count
    rates: dict[str, list[float]] = {"engine": [], "server": []}
    for name in names:
        client.create(name)
    with ThreadPoolExecutor(count) as pool, tqdm(total=2 * rounds + 3, desc=f"engine and server, {count}") as bar:
        # The first round of each is a warm-up, not counted.
        for turn in range(-1, rounds + 1):
            text = prose_of_tokens(plan.loaded.tokenizer, tokens, seed=turn + 20)
            rate, memories = asyncio.run(_engine_rate(plan, forward, memories, text))
            bar.update()
            if turn >= 0:
                rates["engine"].append(rate)
            if turn < rounds:
                rate = _server_rate(client, pool, names, text)
                bar.update()
                if turn >= 0:
                    rates["server"].append(rate)
                # The next round of the engine has the machine to itself.
                await_stored(server)
    engine = rates["engine"]
    shares = [2 * s / (before + after) for s, before, after in zip(rates["server"], engine, engine[1:], strict=False)]
    return [
        Figure(f"{count}_sessions_engine_per_second_tokens", median(engine)),
        Figure(f"{count}_sessions_server_per_second_tokens", median(rates["server"])),
        Figure(f"{count}_sessions_server_to_engine_ratio", median(shares), MOST_OF_IT),
    ]


async def _engine_rate(
    plan: Plan, forward: ModelRunner, memories: Sequence[MemoryState], text: str
) -> tuple[float, list[MemoryState]]:
    """Tokens per second of the engine, given the whole text as segments for every session."""
    step, ids = plan.segment_tokens, plan.loaded.tokenizer.encode(text)
    segments = [ids[start : start + step] for start in range(0, len(ids) - step + 1, step)]
    scheduler = Scheduler(plan.settings.step_tokens, plan.settings.answers_max, step)
    engine = Engine(forward, scheduler, plan.settings.answers_waiting_max, lambda step, seconds: None)
    engine.start()
    try:
        began = time.perf_counter()
        results = await asyncio.gather(*(engine.read(memory, segments) for memory in memories))
        seconds = time.perf_counter() - began
    finally:
        engine.stop()
    return len(memories) * len(segments) * step / seconds, [result.memory for result in results]


def _server_rate(client: Client, pool: ThreadPoolExecutor, names: Sequence[str], text: str) -> float:
    """Tokens per second from the first byte sent until all texts are read."""
    before = _tokens(client, names)
    began = time.perf_counter()
    list(pool.map(lambda name: client.append(name, text, wait=True), names))
    seconds = time.perf_counter() - began
    return (_tokens(client, names) - before) / seconds


def _tokens(client: Client, names: Sequence[str]) -> int:
    return sum(int(client.view(name)["text"]["tokens"]) for name in names)
