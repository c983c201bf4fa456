"""A row that fails fails alone: a step over many rows ends as each row by itself does, failures included."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from math import log2
from random import Random
from typing import Any, TypeAlias

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.prompt import prompt_ids
from model.sampling import Sampling
from server.engine.isolation import isolated
from server.engine.model_runner import AnswerRequest, ModelRunner
from server.engine.scheduler import AnswerWork, ReadWork, Scheduler
from testing.models import EPISODIC, MECHANISMS, random_model, sometimes_skipping_model

MODELS = {name: random_model(config).double() for name, config in (MECHANISMS | {"episodic": EPISODIC}).items()}
MODELS["delta, skipping"] = sometimes_skipping_model().double()

# A token that the double fails at, and a number of tokens in a KV cache from which on it does.
MARK, LONG = 7, 50
# More than all of a test's work takes.
STEPS_MAX = 200

# Where the double fails, and whether it has computed, and written to caches, by then.
PLACES = ["select_segments", "windows", "read", "read_windows", "skip", "prefill", "decode_step"]

Work: TypeAlias = AnswerWork | ReadWork


def failing(model: MemoryTransformer, place: str, late: bool) -> MemoryTransformer:
    """A double with the same weights that raises in one place where any row has the mark, or is as long as `LONG`."""
    double = copy(model)
    whole = getattr(model, place)

    def marked(ids: Tensor, *more: Any) -> Any:
        found = whole(ids, *more) if late else None
        if bool((ids == MARK).any()) or (place == "decode_step" and bool((more[1].lengths >= LONG).any())):
            raise RuntimeError("the mark was met")
        return found if late else whole(ids, *more)

    setattr(double, place, marked)
    return double


def without_scores(model: MemoryTransformer) -> MemoryTransformer:
    """A double whose hidden states are no numbers in rows as long as `LONG`: no token can be sampled from them."""
    double = copy(model)

    def decode_step(tokens: Tensor, memory: MemoryState, cache: Any) -> Tensor:
        hidden = model.decode_step(tokens, memory, cache)
        return torch.where(cache.lengths[:, None] > LONG, torch.nan, hidden)

    double.decode_step = decode_step  # type: ignore[method-assign]
    return double


@dataclass(frozen=True)
class Reading:
    memory: MemoryState
    segments: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Outcome:
    """The tokens that were written, the memory after the last segment that was read, and whether the work failed."""

    tokens: tuple[int, ...] = ()
    memory: MemoryState | None = None
    failed: bool = False


def run(model: MemoryTransformer, works: Sequence[AnswerRequest | Reading]) -> list[Outcome]:
    """What becomes of work that is begun together, in steps as the scheduler plans them."""
    runner, scheduler = ModelRunner(model), Scheduler(256, 8, model.config.segment_tokens)
    keys: list[Work] = []
    for each in works:
        if isinstance(each, Reading):
            reading = ReadWork(len(each.segments))
            runner.start_read(reading, each.memory, each.segments)
            scheduler.add_read(reading)
            keys.append(reading)
        else:
            asked = AnswerWork(len(each.tail) + len(each.prompt), each.tokens_max, -1)
            runner.start_answer(asked, each)
            scheduler.add_answer(asked)
            keys.append(asked)
    tokens: dict[Work, list[int]] = {work: [] for work in keys}
    memories, failed = dict[Work, MemoryState](), set[Work]()
    for _ in range(STEPS_MAX):
        if (step := scheduler.plan()) is None:
            break
        result = runner(step)
        for answer, token in zip((*result.done.prefills, *result.done.decodes), result.tokens, strict=True):
            tokens[answer].append(token)
        memories |= {work: each.memory for work, each in zip(result.done.reads, result.reads, strict=True)}
        failed.update(result.failed)
        ended: set[Work] = {*result.failed, *scheduler.record(result.done, result.tokens, result.segments)}
        for work in ended:
            scheduler.cancel(work)
            runner.drop(work)
    assert scheduler.plan() is None, "some work does not end"
    return [Outcome(tuple(tokens[work]), memories.get(work), work in failed) for work in keys]


def must_end_as_alone(model: MemoryTransformer, works: Sequence[AnswerRequest | Reading]) -> list[Outcome]:
    together = run(model, works)
    for work, mine in zip(works, together, strict=True):
        (alone,) = run(model, [work])
        assert (mine.tokens, mine.failed) == (alone.tokens, alone.failed)
        if isinstance(work, Reading) and not alone.failed:
            assert mine.memory is not None
            assert alone.memory is not None
            for name, tensor in mine.memory.tensors.items():
                torch.testing.assert_close(tensor, alone.memory[name], rtol=1e-8, atol=1e-8)
    return together


def drawn(model: MemoryTransformer, random: Random, marks: float) -> list[AnswerRequest | Reading]:
    """Reads and answers in a random order, some of them with the mark."""

    def ids(count: int) -> list[int]:
        made = [random.randrange(8, 340) for _ in range(count)]
        if random.random() < marks:
            made[random.randrange(count)] = MARK
        return made

    size, nothing = model.config.segment_tokens, model.initial_memory(1)
    memories = [model.read(torch.tensor([[random.randrange(8, 340) for _ in range(size)]]), nothing) for _ in range(2)]

    def reading() -> Reading:
        return Reading(random.choice(memories), [ids(size) for _ in range(random.randint(1, 4))])

    def asked() -> AnswerRequest:
        sampling = Sampling(temperature=random.choice([0.0, 1.0]), seed=random.randrange(100))
        memory = model.recall([], random.choice(memories), []).memory
        # Some are so long that their third or fourth token fails where long rows do.
        prompt = prompt_ids(model.config, ids(random.choice([1, 2, 9, LONG - 8, LONG - 7])))
        return AnswerRequest(memory, ids(2) if random.random() < 0.5 else (), prompt, sampling, random.randint(1, 8))

    return [reading() if random.random() < 0.5 else asked() for _ in range(random.randint(1, 9))]


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), place=st.sampled_from(PLACES), late=st.booleans(), marks=st.sampled_from([0.2, 1]))
def test_a_step_over_many_rows_ends_as_each_row_by_itself(
    name: str, seed: int, place: str, late: bool, marks: float
) -> None:
    model = MODELS[name]
    must_end_as_alone(failing(model, place, late), drawn(model, Random(seed), marks))


@given(seed=st.integers(0, 10_000))
def test_a_row_that_no_token_can_be_chosen_for_fails_alone(seed: int) -> None:
    """Each answer has a seed: a step that is taken again must not draw from its generator twice."""
    model, random = MODELS["delta"], Random(seed)
    memory = model.initial_memory(1)

    def answer() -> AnswerRequest:
        prompt = [random.randrange(8, 340) for _ in range(random.choice([3, LONG - 7, LONG - 5]))]
        return AnswerRequest(memory, (), prompt, Sampling(temperature=1.0, seed=random.randrange(100)), 6)

    must_end_as_alone(without_scores(model), [answer() for _ in range(random.randint(1, 8))])


@pytest.mark.parametrize("place", ["read_windows", "prefill", "decode_step"])
def test_the_double_fails_where_it_should(place: str) -> None:
    """The control of the property: one culprit, and others beside it that finish."""
    model = MODELS["delta"]
    memory, other = model.initial_memory(1), [[9] * 8] * 2
    prompts = [[9] * 3, [MARK if place == "prefill" else 9] * (LONG - 5), [10] * 3]
    answers = [AnswerRequest(memory, (), prompt, Sampling(), 6) for prompt in prompts]
    reads = [Reading(memory, other), Reading(memory, [[9] * 8, [MARK] * 8]), Reading(memory, other)]
    together = must_end_as_alone(failing(model, place, late=True), reads if place == "read_windows" else answers)
    assert [outcome.failed for outcome in together] == [False, True, False]


def test_where_every_row_fails_each_has_its_error() -> None:
    model = MODELS["delta"]
    works = [AnswerRequest(model.initial_memory(1), (), [MARK], Sampling(), 6) for _ in range(5)]
    assert all(outcome.failed for outcome in must_end_as_alone(failing(model, "prefill", late=False), works))


@given(st.sets(st.integers(0, 40), max_size=3), st.integers(1, 41), st.integers(1, 41))
def test_halves_find_exactly_the_culprits(culprits: set[int], count: int, room: int) -> None:
    """Also where more than `room` rows fail together and none alone, as when memory runs out."""
    calls = 0

    def compute(rows: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if culprits.intersection(rows) or len(rows) > room:
            raise RuntimeError("no room")
        return [2 * row for row in rows]

    failed: dict[int, Exception] = {}
    assert isolated(compute, range(count), failed.__setitem__) == {
        row: 2 * row for row in range(count) if row not in culprits
    }
    assert failed.keys() == culprits.intersection(range(count))
    assert calls <= 2 * count
    if room == count:
        assert calls <= 1 + 2 * (log2(count) + 1) * len(culprits)


def test_nothing_is_computed_of_no_rows() -> None:
    def compute(rows: Sequence[int]) -> list[int]:
        raise AssertionError("there are no rows")

    failed: dict[int, Exception] = {}
    assert isolated(compute, [], failed.__setitem__) == {}
