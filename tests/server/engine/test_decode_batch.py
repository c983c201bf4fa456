"""Answers side by side that come, sit out and end: each gets what it would get alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.layers.backbone import WindowCache
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from server.engine.decode_batch import DecodeBatch
from server.engine.scheduler import AnswerWork
from testing.models import MECHANISMS, random_model

MODELS = {name: random_model(config).double() for name, config in MECHANISMS.items()}
ROOM = 6
names = pytest.mark.parametrize("name", MODELS)


class Prompt(NamedTuple):
    memory: MemoryState
    ids: list[int]


def prefilled(model: MemoryTransformer, prompt: Prompt) -> WindowCache:
    """The cache behind the prompt, with room for some tokens."""
    ids, lengths = torch.tensor([prompt.ids]), torch.tensor([len(prompt.ids)])
    return model.prefill(ids, lengths, prompt.memory, ROOM)[1]


def added(model: MemoryTransformer, batch: DecodeBatch, prompt: Prompt) -> AnswerWork:
    work = AnswerWork(len(prompt.ids), ROOM, -1)
    batch.add(work, prompt.memory, prefilled(model, prompt))
    return work


def alone(model: MemoryTransformer, prompt: Prompt, tokens: list[int]) -> list[Tensor]:
    """Hidden states of each of the tokens, decoded in no batch."""
    cache = prefilled(model, prompt)
    return [model.decode_step(torch.tensor([token]), prompt.memory, cache)[0] for token in tokens]


def memories(model: MemoryTransformer, count: int) -> list[MemoryState]:
    segments = torch.randint(340, (count, 8), generator=torch.Generator().manual_seed(5))
    return model.read(segments, model.initial_memory(count)).unstack()


@names
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), answers=st.integers(1, 11), shared=st.sampled_from([0.0, 0.5, 1.0]))
def test_each_gets_what_it_would_get_alone(name: str, seed: int, answers: int, shared: float) -> None:
    """Prompts of which some need more slots than others; some answers against one memory."""
    model, random = MODELS[name], Random(seed)
    batch, own = DecodeBatch(model), memories(model, answers)
    before = [MemoryState({k: t.clone() for k, t in memory.tensors.items()}) for memory in own]
    tokens: dict[AnswerWork, list[int]] = {}
    found: dict[AnswerWork, list[Tensor]] = {}
    with torch.inference_mode():
        prompts = {}
        for memory in own:
            prompt = Prompt(own[0] if random.random() < shared else memory, [7] * random.choice([1, 3, 70]))
            work = added(model, batch, prompt)
            prompts[work], tokens[work], found[work] = prompt, [], []
        running = list(prompts)
        while running:
            step = random.sample(running, random.randint(1, len(running)))
            for work in step:
                tokens[work].append(random.randrange(340))
            last = [tokens[work][-1] for work in step]
            for work, hidden in zip(step, batch.decode_step(step, last), strict=True):
                found[work].append(hidden)
                if len(tokens[work]) == ROOM or random.random() < 0.1:
                    running.remove(work)
                    batch.drop(work)
        for work, prompt in prompts.items():
            for hidden, expected in zip(found[work], alone(model, prompt, tokens[work]), strict=True):
                torch.testing.assert_close(hidden, expected, rtol=1e-8, atol=1e-8)
    for memory, kept in zip(own, before, strict=True):
        assert memory.equals(kept), "no memory is changed by an answer"


@contextmanager
def failing(random: Random) -> Iterator[None]:
    """What moves memories and caches raises now and then, before it has done its work or after."""

    def wrapped(whole: Any) -> Any:
        def sometimes(*arguments: Any) -> Any:
            chance = random.random()
            if chance < 0.15:
                raise RuntimeError("out of memory")
            made = whole(*arguments)
            if chance < 0.3:
                raise RuntimeError("out of memory")
            return made

        return sometimes

    with ExitStack() as patches:
        for kind, name in ((WindowCache, "row"), (WindowCache, "put"), (MemoryState, "put")):
            patches.enter_context(patch.object(kind, name, wrapped(getattr(kind, name))))
        for kind in (WindowCache, MemoryState):
            patches.enter_context(patch.object(kind, "stack", staticmethod(wrapped(kind.stack))))
        yield


@names
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), answers=st.integers(1, 7))
def test_a_step_that_failed_anywhere_can_be_taken_again(name: str, seed: int, answers: int) -> None:
    """With some of its answers, as where the culprit is looked for, and then with the others."""
    model, random = MODELS[name], Random(seed)
    batch, own = DecodeBatch(model), memories(model, answers)
    tokens: dict[AnswerWork, list[int]] = {}
    found: dict[AnswerWork, list[Tensor]] = {}
    with torch.inference_mode():
        prompts = {}
        for memory in own:
            prompt = Prompt(random.choice([own[0], memory]), [7] * random.choice([1, 3, 70]))
            work = added(model, batch, prompt)
            prompts[work], tokens[work], found[work] = prompt, [], []
        for _ in range(ROOM):
            step = random.sample(list(prompts), random.randint(1, answers))
            for work in step:
                tokens[work].append(random.randrange(340))
            cut = random.randint(0, len(step))
            for part in [step] if cut in (0, len(step)) else [step[:cut], step[cut:]]:
                last = [tokens[work][-1] for work in part]
                try:
                    with failing(random):
                        batch.decode_step(step, [tokens[work][-1] for work in step])
                    # No token could be chosen.
                    raise RuntimeError
                except RuntimeError:
                    batch.take_back()
                hidden = batch.decode_step(part, last)
                for work, made in zip(part, hidden, strict=True):
                    found[work].append(made)
        for work, prompt in prompts.items():
            for made, expected in zip(found[work], alone(model, prompt, tokens[work]), strict=True):
                torch.testing.assert_close(made, expected, rtol=1e-8, atol=1e-8)


def test_a_new_answer_takes_a_free_row_and_no_other_row_moves() -> None:
    model = MODELS["delta"]
    batch = DecodeBatch(model)
    with torch.inference_mode():
        first, second, third, fourth = (added(model, batch, Prompt(memory, [7])) for memory in memories(model, 4))
        batch.decode_step([first, second, third], [1] * 3)
        cache = batch._cache
        batch.decode_step([first, second, third, fourth], [1] * 4)
        assert batch._cache is cache
        batch.drop(second)
        batch.decode_step([first, third, fourth], [1] * 3)
        assert batch._cache is cache
        batch.drop(third)
        batch.drop(fourth)
        batch.decode_step([first], [1])
        assert batch._cache is not cache, "a batch of one is enough for one"


def test_questions_to_one_session_share_its_memory() -> None:
    model = MODELS["delta"]
    (memory,) = memories(model, 1)
    batch = DecodeBatch(model)
    with torch.inference_mode():
        works = [added(model, batch, Prompt(memory, [7])) for _ in range(4)]
        batch.decode_step(works, [1] * 4)
    assert batch._memory is memory


def test_no_memory_is_held_once_no_answer_is_left() -> None:
    model = MODELS["delta"]
    (memory,) = memories(model, 1)
    batch = DecodeBatch(model)
    with torch.inference_mode():
        work = added(model, batch, Prompt(memory, [7]))
        batch.decode_step([work], [1])
    before = vars(DecodeBatch(model))
    batch.drop(work)
    assert vars(batch) == before
