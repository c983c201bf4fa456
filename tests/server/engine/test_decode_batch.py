"""Answers side by side, whoever comes, sits out, ends or goes: each gets what it would get alone."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from server.engine.decode_batch import DecodeBatch
from server.engine.scheduler import AnswerWork
from testing.models import MECHANISMS, random_model

MODELS = {name: random_model(config).double() for name, config in MECHANISMS.items()}
ROOM = 6
names = pytest.mark.parametrize("name", MODELS)


def begun(model: MemoryTransformer, memory: MemoryState, prompt: list[int]) -> AnswerWork:
    """An answer whose prompt has been taken in, with room for some tokens."""
    work = AnswerWork(memory, (), prompt, None, ROOM, -1)
    _, work.cache = model.prefill(torch.tensor([prompt]), torch.tensor([len(prompt)]), memory, ROOM)
    return work


def alone(model: MemoryTransformer, work: AnswerWork, tokens: list[int]) -> list[Tensor]:
    """Hidden states of each of the tokens, written on with nobody near."""
    _, cache = model.prefill(torch.tensor([work.prompt]), torch.tensor([len(work.prompt)]), work.memory, ROOM)
    return [model.decode_step(torch.tensor([token]), work.memory, cache)[0] for token in tokens]


def memories(model: MemoryTransformer, count: int) -> list[MemoryState]:
    segments = torch.randint(340, (count, 8), generator=torch.Generator().manual_seed(5))
    return model.read(segments, model.initial_memory(count)).unstack()


@names
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), answers=st.integers(1, 11), shared=st.sampled_from([0.0, 0.5, 1.0]))
def test_each_gets_what_it_would_get_alone(name: str, seed: int, answers: int, shared: float) -> None:
    """Prompts of which some need more slots than others; some answers against one memory."""
    model, random = MODELS[name], Random(seed)
    seats, own = DecodeBatch(model), memories(model, answers)
    works = [
        begun(model, own[0] if random.random() < shared else memory, [7] * random.choice([1, 3, 70])) for memory in own
    ]
    before = [MemoryState({k: t.clone() for k, t in memory.tensors.items()}) for memory in own]
    found: dict[AnswerWork, list[Tensor]] = {work: [] for work in works}
    with torch.inference_mode():
        while running := [work for work in works if work.finish_reason is None]:
            step = random.sample(running, random.randint(1, len(running)))
            for work in step:
                work.tokens.append(random.randrange(340))
            for work, hidden in zip(step, seats.decode_step(step), strict=True):
                found[work].append(hidden)
                if len(work.tokens) == ROOM or random.random() < 0.1:
                    work.finish_reason = "length"
            if random.random() < 0.1:
                seats.clear()
        for work in works:
            for hidden, expected in zip(found[work], alone(model, work, work.tokens), strict=True):
                torch.testing.assert_close(hidden, expected, rtol=1e-8, atol=1e-8)
    for memory, kept in zip(own, before, strict=True):
        assert memory.equals(kept), "no memory is changed by an answer"


def test_a_new_answer_takes_a_free_row_and_no_other_row_moves() -> None:
    model = MODELS["delta"]
    first, second, third, fourth = (begun(model, memory, [7]) for memory in memories(model, 4))
    seats = DecodeBatch(model)
    with torch.inference_mode():
        for work in (first, second, third, fourth):
            work.tokens.append(1)
        seats.decode_step([first, second, third])
        cache = seats._cache
        seats.decode_step([first, second, third, fourth])
        assert seats._cache is cache
        second.finish_reason = "stop"
        seats.decode_step([first, third, fourth])
        assert seats._cache is cache
        third.finish_reason = fourth.finish_reason = "stop"
        seats.decode_step([first])
        assert seats._cache is not cache, "a batch of one is enough for one"


def test_questions_to_one_session_share_its_memory() -> None:
    model = MODELS["delta"]
    (memory,) = memories(model, 1)
    works = [begun(model, memory, [7]) for _ in range(4)]
    seats = DecodeBatch(model)
    with torch.inference_mode():
        for work in works:
            work.tokens.append(1)
        seats.decode_step(works)
    assert seats._memory is memory


def test_no_memory_is_held_while_no_answer_is_decoded() -> None:
    model = MODELS["delta"]
    (memory,) = memories(model, 1)
    work = begun(model, memory, [7])
    seats = DecodeBatch(model)
    with torch.inference_mode():
        work.tokens.append(1)
        seats.decode_step([work])
        seats.clear()
    assert seats._memory is None
    assert seats._cache is None
    assert work.cache is not None, "it has only been sitting out"
