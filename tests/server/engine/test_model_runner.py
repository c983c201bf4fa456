"""A step over many rows gives what each row alone would give, tails included."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.memory import MemoryState
from model.prompt import prompt_ids
from model.sampling import Sampler, Sampling
from server.engine.model_runner import SKIMMED_SEGMENTS, ModelRunner
from server.engine.scheduler import AnswerWork, Batch, ReadWork, Scheduler
from testing.models import random_model, sometimes_skipping_model, tiny_config

MODEL = random_model(tiny_config())
FORWARD = ModelRunner(MODEL)
NEVER = -1
# Of its segments of random tokens about half are skipped.
MIXED = sometimes_skipping_model()


def memories(count: int) -> list[MemoryState]:
    segments = torch.randint(340, (count, 8), generator=torch.Generator().manual_seed(1))
    return MODEL.read(segments, MODEL.initial_memory(count)).unstack()


def answer(memory: MemoryState, tail: list[int], question: list[int]) -> AnswerWork:
    return AnswerWork(memory, tail, prompt_ids(MODEL.config, question), Sampler(Sampling()), 9, NEVER)


def written(works: list[AnswerWork], tokens: int) -> list[list[int]]:
    for work, token in zip(works, FORWARD(Batch(prompts=tuple(works))).tokens, strict=True):
        work.tokens.append(token)
    for _ in range(tokens - 1):
        for work, token in zip(works, FORWARD(Batch(answers=tuple(works))).tokens, strict=True):
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
    together = FORWARD(Batch(reads=tuple(ReadWork(m, [s]) for m, s in zip(states, segments, strict=True)))).advances
    for memory, segment, read in zip(states, segments, together, strict=True):
        (alone,) = FORWARD(Batch(reads=(ReadWork(memory, [segment]),))).advances
        torch.testing.assert_close(read.memory["associations"], alone.memory["associations"], rtol=1e-3, atol=1e-4)
        assert torch.equal(read.memory["context"], alone.memory["context"])


def test_silent_segments_are_passed_over_and_change_nothing() -> None:
    """Two rows, one of which has something to say in its first segment only; steps until both are done."""
    quiet = random_model(tiny_config(write_threshold=0.999999))
    segments = torch.randint(340, (SKIMMED_SEGMENTS + 9, 8), generator=torch.Generator().manual_seed(4)).tolist()
    start = memories(1)[0]
    work = ReadWork(start, segments)
    first = ModelRunner(quiet)(Batch(reads=(work,))).advances[0]
    assert first.segments == SKIMMED_SEGMENTS
    work.memory, work.done = first.memory, first.segments
    second = ModelRunner(quiet)(Batch(reads=(work,))).advances[0]
    assert second.segments == 9
    assert torch.equal(second.memory["associations"], start["associations"])
    assert second.memory["context"][0].tolist() == segments[-1][-3:]


@given(st.integers(0, 10_000), st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(1, 12))
def test_steps_that_skim_end_in_what_reading_each_segment_gives(seed: int, counts: list[int], rows: int) -> None:
    """Texts of different lengths, some of whose segments are skipped, in steps of so many segments at most."""
    scheduler, works = Scheduler(8 * rows, 4, 8), []
    for row, count in enumerate(counts):
        segments = torch.randint(340, (count, 8), generator=torch.Generator().manual_seed(seed + row))
        works.append(ReadWork(MIXED.initial_memory(1), segments.tolist()))
        scheduler.add_read(works[-1])
    while step := scheduler.plan():
        scheduler.record(step, [], ModelRunner(MIXED)(step).advances)
    for work in works:
        expected = MIXED.initial_memory(1)
        for segment in work.segments:
            expected = MIXED.read(torch.tensor([segment]), expected)
        torch.testing.assert_close(work.memory["associations"], expected["associations"], rtol=1e-3, atol=1e-4)
        assert torch.equal(work.memory["context"], expected["context"])
        if rows == 1:
            assert work.memory.equals(expected), "a segment a step is read as it is alone, bit for bit"


def test_all_work_of_a_step_is_done_in_it() -> None:
    first, second, third = memories(3)
    begun = answer(first, [], [1])
    written([begun], 1)
    result = FORWARD(Batch((answer(second, [2], [1]),), (begun,), (ReadWork(third, [[4] * 8]),)))
    assert len(result.tokens) == 2
    assert len(result.advances) == 1


def test_logprobs_side_by_side_are_those_alone() -> None:
    """Within the tolerance of other batch shapes, and of those only who asked."""
    states = memories(3)
    questions = [[1], [4, 5, 6], [7, 8]]

    def works() -> list[AnswerWork]:
        return [
            AnswerWork(m, [2, 3], prompt_ids(MODEL.config, q), Sampler(Sampling(), logprobs=q != [1]), 9, NEVER)
            for m, q in zip(states, questions, strict=True)
        ]

    together = FORWARD(Batch(prompts=tuple(works()))).written
    alone = [FORWARD(Batch(prompts=(work,))).written[0] for work in works()]
    assert [written.token for written in together] == [written.token for written in alone]
    assert together[0].logprob is None
    for one, other in zip(together[1:], alone[1:], strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
