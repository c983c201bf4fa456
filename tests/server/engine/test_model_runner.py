"""A step over many rows gives what each row alone would give, tails included."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.memory import MemoryState
from model.prompt import prompt_ids
from model.sampling import Sampling, Written
from server.engine.decode_batch import DecodeBatch
from server.engine.model_runner import SCANNED_SEGMENTS, AnswerRequest, ModelRunner
from server.engine.scheduler import AnswerWork, Batch, ReadWork, Scheduler
from testing.models import random_model, sometimes_skipping_model, tiny_config

MODEL = random_model(tiny_config())
RUNNER = ModelRunner(MODEL)
NEVER = -1
# Of its segments of random tokens about half are skipped.
MIXED = sometimes_skipping_model()


def memories(count: int) -> list[MemoryState]:
    segments = torch.randint(340, (count, 8), generator=torch.Generator().manual_seed(1))
    return MODEL.read(segments, MODEL.initial_memory(count)).unstack()


def answer(memory: MemoryState, tail: list[int], question: list[int], logprobs: bool = False) -> AnswerRequest:
    return AnswerRequest(memory, tail, prompt_ids(MODEL.config, question), Sampling(), 9, logprobs=logprobs)


def started(request: AnswerRequest) -> AnswerWork:
    work = AnswerWork(len(request.tail) + len(request.prompt), request.tokens_max, NEVER)
    RUNNER.start_answer(work, request)
    return work


def read(memory: MemoryState, segments: list[list[int]]) -> ReadWork:
    work = ReadWork(len(segments))
    RUNNER.start_read(work, memory, segments)
    return work


def steps(requests: list[AnswerRequest], tokens: int) -> list[list[Written]]:
    """So many tokens of each answer, all of them in one batch."""
    works = tuple(map(started, requests))
    columns = [RUNNER(Batch(prefills=works)).written]
    columns += [RUNNER(Batch(decodes=works)).written for _ in range(tokens - 1)]
    for work in works:
        RUNNER.drop(work)
    return [list(row) for row in zip(*columns, strict=True)]


def written(requests: list[AnswerRequest], tokens: int) -> list[list[int]]:
    return [[each.token for each in row] for row in steps(requests, tokens)]


def test_answers_side_by_side_are_those_written_alone() -> None:
    """Different tails and lengths, two questions with the same memory and tail, and padding to a batch of 8."""
    cases = [([], [1]), ([2, 3], [4, 5, 6]), ([2, 3], [7]), ([9] * 7, [8] * 20), ([1], [1, 2])]
    states = memories(len(cases))
    states[2] = states[1]
    requests = [answer(memory, tail, question) for memory, (tail, question) in zip(states, cases, strict=True)]
    together = written(requests, 6)
    alone = [written([request], 6)[0] for request in requests]
    assert together == alone
    assert len({tuple(tokens) for tokens in together}) > 1


def test_a_tail_is_read_as_the_short_segment_that_it_is() -> None:
    (memory,) = memories(1)
    tail = [5, 6, 7]
    after = MODEL.read(torch.tensor([tail]), memory)
    assert written([answer(memory, tail, [1, 2])], 4) == written([answer(after, [], [1, 2])], 4)
    assert written([answer(memory, tail, [1, 2])], 4) != written([answer(memory, [], [1, 2])], 4)


def test_a_question_leaves_the_memory_that_it_is_put_to() -> None:
    (memory,) = memories(1)
    before = MemoryState({name: tensor.clone() for name, tensor in memory.tensors.items()})
    written([answer(memory, [1, 2, 3], [4])], 5)
    assert memory.equals(before)


def test_segments_side_by_side_are_those_read_alone() -> None:
    states = memories(3)
    segments = [[n] * 8 for n in range(3)]
    together = RUNNER(Batch(reads=tuple(read(m, [s]) for m, s in zip(states, segments, strict=True)))).reads
    for memory, segment, progress in zip(states, segments, together, strict=True):
        (alone,) = RUNNER(Batch(reads=(read(memory, [segment]),))).reads
        torch.testing.assert_close(progress.memory["associations"], alone.memory["associations"], rtol=1e-3, atol=1e-4)
        assert torch.equal(progress.memory["context"], alone.memory["context"])


def test_segments_that_are_not_selected_are_passed_over_and_change_nothing() -> None:
    """As many in a step as are scanned at a time."""
    quiet = ModelRunner(random_model(tiny_config(write_threshold=0.999999)))
    segments = torch.randint(340, (SCANNED_SEGMENTS + 9, 8), generator=torch.Generator().manual_seed(4)).tolist()
    start = memories(1)[0]
    work = ReadWork(len(segments))
    quiet.start_read(work, start, segments)
    assert quiet(Batch(reads=(work,))).segments == [SCANNED_SEGMENTS]
    (second,) = quiet(Batch(reads=(work,))).reads
    assert second.segments == 9
    assert torch.equal(second.memory["associations"], start["associations"])
    assert second.memory["context"][0].tolist() == segments[-1][-3:]


@given(st.integers(0, 10_000), st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(1, 12))
def test_steps_that_skip_end_in_what_reading_each_segment_gives(seed: int, counts: list[int], rows: int) -> None:
    """Texts of different lengths, some of whose segments are skipped, in steps of so many segments at most."""
    scheduler, runner = Scheduler(8 * rows, 4, 8), ModelRunner(MIXED)
    texts, found = dict[ReadWork, list[list[int]]](), dict[ReadWork, MemoryState]()
    for row, count in enumerate(counts):
        work = ReadWork(count)
        texts[work] = torch.randint(340, (count, 8), generator=torch.Generator().manual_seed(seed + row)).tolist()
        runner.start_read(work, MIXED.initial_memory(1), texts[work])
        scheduler.add_read(work)
    while step := scheduler.plan():
        result = runner(step)
        found |= {work: progress.memory for work, progress in zip(step.reads, result.reads, strict=True)}
        scheduler.record(step, [], result.segments)
    for work, segments in texts.items():
        expected = MIXED.initial_memory(1)
        for segment in segments:
            expected = MIXED.read(torch.tensor([segment]), expected)
        torch.testing.assert_close(found[work]["associations"], expected["associations"], rtol=1e-3, atol=1e-4)
        assert torch.equal(found[work]["context"], expected["context"])
        if rows == 1:
            assert found[work].equals(expected), "a segment a step is read as it is alone, bit for bit"


def test_all_work_of_a_step_is_done_in_it() -> None:
    first, second, third = memories(3)
    running = started(answer(first, [], [1]))
    RUNNER(Batch(prefills=(running,)))
    result = RUNNER(Batch((started(answer(second, [2], [1])),), (running,), (read(third, [[4] * 8]),)))
    assert len(result.tokens) == 2
    assert len(result.reads) == 1


def test_nothing_is_kept_of_work_that_was_dropped() -> None:
    runner, (memory,) = ModelRunner(MODEL), memories(1)
    answering, reading = AnswerWork(1, 9, NEVER), ReadWork(1)
    runner.start_answer(answering, answer(memory, [], [1]))
    runner.start_read(reading, memory, [[1] * 8])
    runner(Batch(prefills=(answering,), reads=(reading,)))
    runner(Batch(decodes=(answering,)))
    for work in (answering, reading, answering):
        runner.drop(work)
    assert not runner._answers
    assert not runner._reads
    assert vars(runner._decode_batch) == vars(DecodeBatch(MODEL))


def test_logprobs_side_by_side_are_those_alone() -> None:
    """Within the tolerance of other batch shapes, and only of the answers that asked for them."""
    states = memories(3)
    questions = [[1], [4, 5, 6], [7, 8]]
    requests = [answer(m, [2, 3], q, logprobs=q != [1]) for m, q in zip(states, questions, strict=True)]
    together = [row[0] for row in steps(requests, 1)]
    alone = [steps([request], 1)[0][0] for request in requests]
    assert [each.token for each in together] == [each.token for each in alone]
    assert together[0].logprob is None
    for one, other in zip(together[1:], alone[1:], strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
