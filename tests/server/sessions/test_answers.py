"""An answer owns its place in the engine and in the drain's count, whether it is iterated or not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from model.checkpoint import Checkpoint
from model.mechanisms.base import Recall
from model.sampling import Sampling
from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.session_progress import MemorySource
from server.observability.metrics import Metrics
from server.sessions.answers import Answering, AnswerService, Question
from testing.models import random_model, tiny_config

pytestmark = pytest.mark.anyio

MODEL = random_model(tiny_config(window_tokens=8192))


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(ModelRunner(MODEL), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: None)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def service(engine: Engine, tokenizer: TextTokenizer) -> AnswerService:
    return AnswerService(engine, LoadedModel("tiny", "f00d", MODEL, tokenizer), 600.0, Metrics())


async def asked(service: AnswerService, count: int = 1) -> list[Answering]:
    """Answers too long to end by themselves within a test."""
    start = Checkpoint.empty(MODEL.initial_memory(1))
    context = service.query_context(time.perf_counter(), start, 0, MemorySource("device", 0.0))
    question = Question("Who came?", 7000, Sampling())
    return await service.answer(context, [service.prompt(question)] * count, [question] * count, "a")


def must_be_idle(engine: Engine, ended: asyncio.Task[None]) -> None:
    load = engine.load()
    assert (load.answers_waiting, load.answers_running) == (0, 0)
    assert ended.done()


async def after_a_turn(service: AnswerService) -> asyncio.Task[None]:
    """A wait for the drain that has had its chance to end."""
    waiting = asyncio.create_task(service.answers_end())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return waiting


async def test_an_answer_closed_before_it_is_iterated_frees_both_places(service: AnswerService, engine: Engine) -> None:
    first, second = await asked(service, 2)
    await first.aclose()
    await first.aclose()
    drained = await after_a_turn(service)
    assert not drained.done()
    await second.aclose()
    await drained
    must_be_idle(engine, drained)


async def test_an_abandoned_answer_frees_both_places(service: AnswerService, engine: Engine) -> None:
    (answer,) = await asked(service)
    await anext(answer)
    await answer.aclose()
    must_be_idle(engine, await after_a_turn(service))


async def test_an_answer_can_be_closed_while_its_next_piece_is_waited_for(
    service: AnswerService, engine: Engine
) -> None:
    (answer,) = await asked(service)
    piece = asyncio.ensure_future(anext(answer))
    await asyncio.sleep(0)
    await answer.aclose()
    must_be_idle(engine, await after_a_turn(service))
    piece.cancel()
    await asyncio.wait({piece})


async def test_an_answer_counts_while_its_question_still_searches_the_memory(
    service: AnswerService, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that drains waits for it; where the question is given up, nothing is left behind."""
    released = threading.Event()

    def searching(*_: object) -> Recall:
        assert released.wait(60)
        return Recall(MODEL.initial_memory(1))

    monkeypatch.setattr(MODEL, "recall", searching)
    asking = asyncio.create_task(asked(service))
    await asyncio.sleep(0)
    drained = await after_a_turn(service)
    assert not drained.done()
    asking.cancel()
    released.set()
    await asyncio.wait({asking})
    await drained
    must_be_idle(engine, drained)
