"""A step over many rows gives what each row alone would give, tails included."""

import torch

from model.generation import Sampler, Sampling
from model.memory import MemoryState
from model.prompt import prompt_ids
from server.forward import Forward
from server.scheduler import AnswerWork, ReadWork, Step
from tests.conftest import random_model, tiny_config

MODEL = random_model(tiny_config())
FORWARD = Forward(MODEL)
NEVER = -1


def memories(count: int) -> list[MemoryState]:
    segments = torch.randint(340, (count, 8), generator=torch.Generator().manual_seed(1))
    return MODEL.read(segments, MODEL.initial_memory(count)).unstack()


def answer(memory: MemoryState, tail: list[int], question: list[int]) -> AnswerWork:
    return AnswerWork(memory, tail, prompt_ids(MODEL.config, question), Sampler(Sampling()), 9, NEVER)


def written(works: list[AnswerWork], tokens: int) -> list[list[int]]:
    for work, token in zip(works, FORWARD(Step(prompts=tuple(works))).tokens, strict=True):
        work.tokens.append(token)
    for _ in range(tokens - 1):
        for work, token in zip(works, FORWARD(Step(answers=tuple(works))).tokens, strict=True):
            work.tokens.append(token)
    return [work.tokens for work in works]


def test_answers_side_by_side_are_those_written_alone() -> None:
    """Different tails, prompts of different lengths, two questions to one standpoint, and padding to a batch of 8."""
    cases = [([], [1]), ([2, 3], [4, 5, 6]), ([2, 3], [7]), ([9] * 7, [8] * 20), ([1], [1, 2])]
    states = memories(len(cases))
    states[2] = states[1]

    def works() -> list[AnswerWork]:
        return [answer(memory, tail, question) for memory, (tail, question) in zip(states, cases, strict=True)]

    together = written(works(), 6)
    alone = [written([work], 6)[0] for work in works()]
    assert together == alone
    assert len({tuple(tokens) for tokens in together}) > 1


def test_a_tail_is_read_as_the_short_segment_that_it_is() -> None:
    (memory,) = memories(1)
    tail = [5, 6, 7]
    read = MODEL.read(torch.tensor([tail]), memory)
    assert written([answer(memory, tail, [1, 2])], 4) == written([answer(read, [], [1, 2])], 4)
    assert written([answer(memory, tail, [1, 2])], 4) != written([answer(memory, [], [1, 2])], 4)


def test_a_question_leaves_the_memory_that_it_is_put_to() -> None:
    (memory,) = memories(1)
    before = MemoryState({name: tensor.clone() for name, tensor in memory.tensors.items()})
    written([answer(memory, [1, 2, 3], [4])], 5)
    assert memory.equals(before)


def test_segments_side_by_side_are_those_read_alone() -> None:
    states = memories(3)
    segments = [[n] * 8 for n in range(3)]
    together = FORWARD(Step(reads=tuple(ReadWork(m, [s]) for m, s in zip(states, segments, strict=True)))).memories
    for memory, segment, read in zip(states, segments, together, strict=True):
        (alone,) = FORWARD(Step(reads=(ReadWork(memory, [segment]),))).memories
        torch.testing.assert_close(read["associations"], alone["associations"], rtol=1e-3, atol=1e-4)
        assert torch.equal(read["context"], alone["context"])


def test_all_work_of_a_step_is_done_in_it() -> None:
    first, second, third = memories(3)
    begun = answer(first, [], [1])
    written([begun], 1)
    result = FORWARD(Step((answer(second, [2], [1]),), (begun,), (ReadWork(third, [[4] * 8]),)))
    assert len(result.tokens) == 2
    assert len(result.memories) == 1
