"""Work that the model fails at ends alone, and the engine goes on until it is stopped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch

from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer
from model.memory import MemoryState
from model.sampling import Sampling, Written
from server.engine.engine import Engine, EngineBusy, EngineStopped, StepFailed
from server.engine.model_runner import AnswerRequest, ModelRunner
from server.engine.scheduler import Batch, Scheduler
from testing.models import random_model, tiny_config

# A device that every machine has: its tensors have no data.
OTHER = torch.device("meta")

pytestmark = pytest.mark.anyio

MARK = 7


class Marked(DeltaTransformer):
    """A model that fails on one token."""

    def read_windows(self, windows: torch.Tensor, *more: Any) -> MemoryState:
        self._must_not_have_the_mark(windows)
        return super().read_windows(windows, *more)

    def prefill(self, prompts: torch.Tensor, *more: Any) -> Any:
        self._must_not_have_the_mark(prompts)
        return super().prefill(prompts, *more)

    def _must_not_have_the_mark(self, ids: torch.Tensor) -> None:
        if bool((ids == MARK).any()):
            raise RuntimeError("the mark was met")


@pytest.fixture(scope="module")
def model() -> MemoryTransformer:
    # Without a threshold no segment is passed over unread.
    config = tiny_config(write_threshold=0.0)
    model = Marked(config)
    model.load_state_dict(random_model(config).state_dict())
    return model.eval().requires_grad_(False)


@contextmanager
def running(
    model: MemoryTransformer,
    answers_max: int = 8,
    waiting_max: int = 8,
    observe: Callable[[Batch, float], None] = lambda step, seconds: None,
    runner: ModelRunner | None = None,
    step_tokens: int = 8,
) -> Iterator[Engine]:
    scheduler = Scheduler(step_tokens, answers_max, model.config.segment_tokens)
    engine = Engine(runner or ModelRunner(model), scheduler, waiting_max, observe)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def wanted(model: MemoryTransformer, prompt: list[int], tokens_max: int = 5) -> AnswerRequest:
    return AnswerRequest(model.initial_memory(1), (), prompt, Sampling(), tokens_max)


async def written(engine: Engine, *requests: AnswerRequest) -> list[list[int]]:
    answers = await asyncio.gather(*(listed(stream) for stream in engine.answer(requests)))
    return [[written.token for written in answer] for answer in answers]


async def listed(stream: AsyncIterator[Written]) -> list[Written]:
    return [written async for written in stream]


async def test_a_failed_answer_ends_alone(model: MemoryTransformer) -> None:
    with running(model) as engine:
        (expected,) = await written(engine, wanted(model, [1, 2, 3]))
        (stream,) = engine.answer([wanted(model, [1, 2, 3], 40)])
        first = await anext(stream)
        with pytest.raises(StepFailed, match="the mark was met"):
            # Too long for a step with the other prompt, so only the running answer shares its step.
            await written(engine, wanted(model, [MARK, *[1] * 8]))
        assert engine.alive
        assert await written(engine, wanted(model, [1, 2, 3])) == [expected]
        await stream.aclose()
        assert first.token == expected[0]
        load = engine.load()
        assert (load.answers_running, load.answers_waiting, load.reads) == (0, 0, 0)


async def test_a_failed_read_ends_alone(model: MemoryTransformer) -> None:
    segments = [[1] * 8, [2] * 8, [3] * 8]
    memory = model.initial_memory(1)
    with running(model) as engine:
        expected = await engine.read(memory, segments)
        bad, good = await asyncio.gather(
            engine.read(memory, [[1] * 8, [MARK] * 8]), engine.read(memory, segments), return_exceptions=True
        )
        assert isinstance(bad, StepFailed)
        assert not isinstance(good, BaseException)
        assert (good.segments, expected.segments) == (3, 3)
        assert good.memory.equals(expected.memory)
        assert engine.alive
        assert engine.load().reads == 0


async def test_work_that_fails_takes_nothing_of_its_step_with_it(model: MemoryTransformer) -> None:
    """Reads, prefills and decoded tokens side by side, and then nothing but work that fails."""
    memory, segments, prompts = model.initial_memory(1), [[3] * 8] * 4, [[1, 2], [2, 1], [4]]
    with running(model, step_tokens=256) as engine:
        expected = await engine.read(memory, segments)
        alone = [(await written(engine, wanted(model, prompt)))[0] for prompt in prompts]
        good = [engine.read(memory, segments) for _ in range(3)], [written(engine, wanted(model, p)) for p in prompts]
        bad = [
            *(engine.read(memory, [[1] * 8, [MARK] * 8]) for _ in range(2)),
            *(written(engine, wanted(model, [MARK, 1])) for _ in range(2)),
        ]
        failed, reads, answers = await asyncio.gather(
            asyncio.gather(*bad, return_exceptions=True), asyncio.gather(*good[0]), asyncio.gather(*good[1])
        )
        assert all(isinstance(failure, StepFailed) for failure in failed)
        for read in reads:
            assert read.segments == 4
            for name, tensor in read.memory.tensors.items():
                torch.testing.assert_close(tensor, expected.memory[name], rtol=1e-3, atol=1e-3)
        assert [tokens for (tokens,) in answers] == alone
        nothing_else = [written(engine, wanted(model, [MARK])) for _ in range(5)]
        for failure in await asyncio.gather(*nothing_else, return_exceptions=True):
            assert isinstance(failure, StepFailed)
        assert engine.alive
        assert await written(engine, wanted(model, prompts[0])) == [alone[0]]
        load = engine.load()
        assert (load.answers_running, load.answers_waiting, load.reads) == (0, 0, 0)


async def test_unfinished_work_fails_when_the_engine_stops(model: MemoryTransformer) -> None:
    with running(model) as engine:
        reading = asyncio.ensure_future(engine.read(model.initial_memory(1), [[1] * 8] * 100_000))
        (stream,) = engine.answer([wanted(model, [1], 80)])
        await anext(stream)
        engine.stop()
        with pytest.raises(EngineStopped):
            await reading
        with pytest.raises(EngineStopped):
            await written(engine, wanted(model, [1]))
        with pytest.raises(EngineStopped):
            async for _ in stream:
                pass
        assert not engine.alive


async def test_halting_hands_back_what_was_read(model: MemoryTransformer) -> None:
    memory = model.initial_memory(1)
    loop, begun, steps = asyncio.get_running_loop(), asyncio.Event(), count(1)

    def observe(step: Batch, seconds: float) -> None:
        # A step is recorded after it is observed: at the second, the first one has been recorded.
        if next(steps) == 2:
            loop.call_soon_threadsafe(begun.set)

    with running(model, observe=observe) as engine:
        reading = asyncio.ensure_future(engine.read(memory, [[1] * 8] * 100_000))
        await begun.wait()
        engine.halt_reading()
        result = await reading
        assert 0 < result.segments < 100_000
        again = await engine.read(memory, [[1] * 8])
        assert again.segments == 0
        assert again.memory.equals(memory)


async def test_all_of_several_answers_are_queued_or_none(model: MemoryTransformer) -> None:
    with running(model, answers_max=1, waiting_max=2) as engine:
        (stream,) = engine.answer([wanted(model, [1], 80)])
        await anext(stream)
        waiting = engine.answer([wanted(model, [1])])
        with pytest.raises(EngineBusy):
            engine.answer([wanted(model, [1])] * 2)
        assert engine.load().answers_waiting == 1
        for left in (stream, *waiting):
            await left.aclose()


async def test_an_answer_closed_before_it_is_iterated_frees_its_place(model: MemoryTransformer) -> None:
    with running(model, answers_max=1, waiting_max=1) as engine:
        (first,) = engine.answer([wanted(model, [1], 80)])
        await anext(first)
        (waiting,) = engine.answer([wanted(model, [1])])
        assert not engine.has_room("default")
        await waiting.aclose()
        assert engine.has_room("default")
        assert engine.load().answers_waiting == 0
        assert [written async for written in waiting] == []
        async with engine.answer([wanted(model, [1])])[0]:
            assert engine.load().answers_waiting == 1
        assert engine.load().answers_waiting == 0
        await first.aclose()


async def test_logprobs_come_only_where_they_were_asked_for(model: MemoryTransformer) -> None:
    """Beside an answer without; the tokens are the same."""
    with running(model) as engine:
        plain, scored = engine.answer([wanted(model, [1, 2]), replace(wanted(model, [1, 2]), logprobs=True)])
        without, with_them = await asyncio.gather(listed(plain), listed(scored))
    assert [written.token for written in without] == [written.token for written in with_them]
    assert all(written.logprob is None for written in without)
    assert all(written.logprob is not None and written.logprob < 0 for written in with_them)


async def test_a_tenant_that_fills_the_queue_does_not_shut_out_another(model: MemoryTransformer) -> None:
    def of(tenant: str, tokens_max: int = 80) -> AnswerRequest:
        return replace(wanted(model, [1], tokens_max), tenant=tenant)

    with running(model, answers_max=1, waiting_max=4) as engine:
        (first,) = engine.answer([of("a")])
        await anext(first)
        waiting = engine.answer([of("a")] * 4)
        assert (engine.has_room("a"), engine.has_room("b"), engine.has_room("b", 3)) == (False, True, False)
        with pytest.raises(EngineBusy):
            engine.answer([of("a")])
        # Decoded at once, though the one place is taken.
        (lone,) = engine.answer([of("b", 2)])
        assert len(await listed(lone)) == 2
        assert engine.load().answers_waiting == 4
        for left in (first, *waiting):
            await left.aclose()


async def test_answers_that_take_turns_are_those_written_alone(model: MemoryTransformer) -> None:
    """Three tenants with two places: their answers sit out steps, and the batches change."""
    requests = [
        replace(wanted(model, [1 + number, *[2] * number], 8 + number), tenant=tenant)
        for tenant in "abc"
        for number in range(3)
    ]
    with running(model, answers_max=2) as engine:
        together = await written(engine, *requests)
        alone = [(await written(engine, request))[0] for request in requests]
    assert together == alone


async def test_the_runner_keeps_nothing_of_work_that_ended(model: MemoryTransformer) -> None:
    """Work that finished, that was closed early, that was cancelled, and that failed."""
    runner, memory = ModelRunner(model), model.initial_memory(1)
    with running(model, runner=runner) as engine:
        await written(engine, wanted(model, [1, 2]))
        (stream,) = engine.answer([wanted(model, [1], 80)])
        await anext(stream)
        await stream.aclose()
        reading = asyncio.ensure_future(engine.read(memory, [[1] * 8] * 100_000))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        with pytest.raises(StepFailed):
            await written(engine, wanted(model, [MARK]))
        # Its calls come behind those of the work before it.
        await engine.read(memory, [[1] * 8])
        assert not runner._answers
        engine.stop()
        assert not runner._reads


class Copying(ModelRunner):
    """A runner whose model seems to be on another device; `threads` has the thread of each copy."""

    def __init__(self, model: MemoryTransformer) -> None:
        super().__init__(model)
        self.threads: list[str] = []

    @property
    def device(self) -> torch.device:
        return OTHER

    def copy(self, memory: MemoryState, device: torch.device) -> MemoryState:
        self.threads.append(threading.current_thread().name)
        if memory.batch > 1:
            raise RuntimeError("out of memory")
        return memory.to(device) if device == OTHER else MemoryState({"of": torch.zeros(1)})


async def test_memories_are_copied_by_the_engines_thread(model: MemoryTransformer) -> None:
    runner, memory = Copying(model), model.initial_memory(1)
    with running(model, runner=runner) as engine:
        there = await engine.to_device(memory)
        assert there.device == OTHER
        assert (await engine.to_host(there)).device == torch.device("cpu")
        assert runner.threads == ["engine", "engine"]
        assert await engine.to_host(memory) is memory
        assert await engine.to_device(there) is there
        assert len(runner.threads) == 2


async def test_a_copy_that_fails_raises_and_the_engine_goes_on(model: MemoryTransformer) -> None:
    with running(model, runner=Copying(model)) as engine:
        with pytest.raises(RuntimeError, match="out of memory"):
            await engine.to_device(model.initial_memory(2))
        assert (await engine.to_device(model.initial_memory(1))).device == OTHER


async def test_copies_fail_once_the_engine_has_stopped(model: MemoryTransformer) -> None:
    memory = model.initial_memory(1)
    with running(model, runner=Copying(model)) as engine:
        # Whichever of the two comes first, the copy does not wait for ever.
        copying = asyncio.ensure_future(engine.to_device(memory))
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.stop)
        (result,) = await asyncio.wait_for(asyncio.gather(copying, return_exceptions=True), 60)
        assert isinstance(result, MemoryState | EngineStopped)
        with pytest.raises(EngineStopped):
            await engine.to_device(memory)
        assert await engine.to_host(memory) is memory
