"""How long one tenant's question and session wait while another tenant has 100 sessions reading and 100 questions.

Measured at the engine, without HTTP and store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from tqdm import tqdm

from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import token_ids
from benchmarks.timing import percentile
from model.prompt import prompt_ids
from model.sampling import Sampling
from server.engine.engine import Engine
from server.engine.model_runner import AnswerRequest, ModelRunner
from server.engine.scheduler import Batch, Scheduler

NAME = "fairness"
CLAIM = (
    "a tenant with 100 sessions reading and 100 questions waiting delays another tenant's question by three steps at "
    "most, and another tenant's session has a share of every step that reads"
)
FLOOD, OTHER = "flood", "other"
SESSIONS = QUESTIONS = 100
ANSWER_TOKENS = 32
SEGMENTS = 64
PAUSE_SECONDS_MAX = 0.05
THREE_STEPS = Goal("at most", 3)
ALWAYS = Goal("at least", 1.0)


@dataclass
class Steps:
    """The engine's steps so far: their durations, and how many read segments of whom."""

    seconds: list[float] = field(default_factory=list)
    reading: int = 0
    reading_other: int = 0

    def observe(self, step: Batch, seconds: float) -> None:
        self.seconds.append(seconds)
        self.reading += bool(step.reads)
        self.reading_other += any(work.tenant == OTHER for work in step.reads)


@dataclass(frozen=True)
class FirstTokens:
    """TTFT of each question, in seconds and in steps of the engine."""

    seconds: list[float]
    steps: list[int]


def measure(plan: Plan) -> Section:
    return Section(NAME, CLAIM, tuple(asyncio.run(_measured(plan))))


async def _measured(plan: Plan) -> list[Figure]:
    settings, steps = plan.settings, Steps()
    scheduler = Scheduler(settings.step_tokens, settings.answers_max, plan.segment_tokens)
    engine = Engine(ModelRunner(plan.loaded.model), scheduler, settings.answers_waiting_max, steps.observe)
    engine.start()
    try:
        work = Work(plan, engine, steps)
        # A warm-up, not counted.
        await work.ask(OTHER, 3, "questions to warm up")
        alone = await work.ask(OTHER, plan.sizes.questions, "questions, alone")
        session_alone = await work.read(OTHER)
        async with work.flood():
            before = len(steps.seconds)
            flooded = await work.ask(OTHER, plan.sizes.questions, "questions, beside a flood")
            steps.reading = steps.reading_other = 0
            session_flooded = await work.read(OTHER)
            share = steps.reading_other / steps.reading
            queued = await work.ask(FLOOD, max(3, plan.sizes.questions // 10), "questions, in the flood")
            flood_steps = steps.seconds[before:]
    finally:
        engine.stop()
    figures = [Figure("questions_count", len(alone.seconds))]
    for percent in (50, 99):
        figures += [
            Figure(f"alone_p{percent}_milliseconds", percentile(alone.seconds, percent) * 1e3),
            Figure(f"beside_a_flood_p{percent}_milliseconds", percentile(flooded.seconds, percent) * 1e3),
            Figure(f"in_the_flood_p{percent}_milliseconds", percentile(queued.seconds, percent) * 1e3),
        ]
    return [
        *figures,
        Figure("flood_step_p50_milliseconds", percentile(flood_steps, 50) * 1e3),
        Figure("beside_a_flood_most_steps", max(flooded.steps), THREE_STEPS),
        Figure("in_the_flood_p50_steps", percentile(queued.steps, 50)),
        Figure("session_alone_tokens_per_second", SEGMENTS * plan.segment_tokens / session_alone),
        Figure("session_beside_a_flood_tokens_per_second", SEGMENTS * plan.segment_tokens / session_flooded),
        Figure("session_in_steps_that_read_ratio", share, ALWAYS),
    ]


class Work:
    """Questions and reads as the server submits them to the engine."""

    def __init__(self, plan: Plan, engine: Engine, steps: Steps) -> None:
        model, step = plan.loaded.model, plan.segment_tokens
        self._engine, self._steps, self._random = engine, steps, Random(5)
        self._memory = model.initial_memory(1)
        self._prompt = prompt_ids(model.config, plan.loaded.tokenizer.encode("Where is the letter that he wrote?"))
        ids = token_ids(plan.loaded.tokenizer, SEGMENTS * step, seed=5)
        self._segments = [ids[i * step : (i + 1) * step] for i in range(SEGMENTS)]

    async def ask(self, tenant: str, count: int, description: str) -> FirstTokens:
        asked = FirstTokens([], [])
        for _ in tqdm(range(count), desc=description, unit="question"):
            # Without a pause each question would arrive right after the step that ended the previous answer.
            await asyncio.sleep(self._random.uniform(0, PAUSE_SECONDS_MAX))
            before, began = len(self._steps.seconds), time.perf_counter()
            (stream,) = self._engine.answer([self._request(tenant)])
            await anext(stream)
            asked.seconds.append(time.perf_counter() - began)
            asked.steps.append(len(self._steps.seconds) - before)
            await stream.aclose()
        return asked

    async def read(self, tenant: str) -> float:
        began = time.perf_counter()
        await self._engine.read(self._memory, self._segments, tenant)
        return time.perf_counter() - began

    @asynccontextmanager
    async def flood(self) -> AsyncIterator[None]:
        """Keeps `SESSIONS` sessions reading and at least `QUESTIONS` questions waiting."""
        tasks = [asyncio.create_task(self._keep_reading()) for _ in range(SESSIONS)]
        while self._engine.load().answers_waiting < QUESTIONS:
            tasks += [asyncio.create_task(self._keep_asking()) for _ in range(QUESTIONS)]
            await asyncio.sleep(PAUSE_SECONDS_MAX)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _keep_reading(self) -> None:
        while True:
            await self.read(FLOOD)

    async def _keep_asking(self) -> None:
        while True:
            (stream,) = self._engine.answer([self._request(FLOOD)])
            async for _ in stream:
                pass

    def _request(self, tenant: str) -> AnswerRequest:
        return AnswerRequest(self._memory, (), self._prompt, Sampling(temperature=1.0), ANSWER_TOKENS, tenant)
