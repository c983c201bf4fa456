"""What the next step does: answers first, reads fill it, nobody waits for ever."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from server.scheduler import Advance, AnswerWork, ReadWork, Scheduler, Step

T = 8
END = 99


def answer(prompt: int = 4, tokens_max: int = 3) -> AnswerWork:
    return AnswerWork(None, (), [0] * prompt, None, tokens_max, END)


def read(segments: int = 2) -> ReadWork:
    return ReadWork(0, [[0] * T] * segments)


def run(scheduler: Scheduler, step: Step, token: int = 1) -> None:
    """Does what the engine does with a step, with the number of segments read for a memory."""
    for work in step.prompts:
        work.cache = "begun"
    tokens = [token] * (len(step.prompts) + len(step.answers))
    scheduler.record(step, tokens, [Advance(work.memory + 1, 1) for work in step.reads])


def test_nothing_to_do() -> None:
    assert Scheduler(32, 4, T).plan() is None


def test_new_questions_go_before_reads_but_never_twice_in_a_row() -> None:
    scheduler = Scheduler(32, 99, T)
    scheduler.add_read(read())
    steps = []
    for _ in range(4):
        scheduler.add_answer(answer())
        step = scheduler.plan()
        assert step is not None
        run(scheduler, step)
        steps.append(bool(step.reads))
    assert steps == [False, True, False, True]


def test_reads_fill_what_answers_leave() -> None:
    scheduler = Scheduler(4 * T + 1, 4, T)
    works = [read() for _ in range(9)]
    for work in works:
        scheduler.add_read(work)
    assert scheduler.plan() == Step(reads=tuple(works[:4]))
    writing = answer()
    scheduler.add_answer(writing)
    for _ in range(2):
        step = scheduler.plan()
        assert step is not None
        run(scheduler, step)
    step = scheduler.plan()
    assert step is not None
    assert step.answers == (writing,)
    assert len(step.reads) == 4


def test_reads_take_turns() -> None:
    scheduler = Scheduler(T, 4, T)
    works = [read(2) for _ in range(3)]
    for work in works:
        scheduler.add_read(work)
    order = []
    while step := scheduler.plan():
        order.append(works.index(step.reads[0]))
        run(scheduler, step)
    assert order == [0, 1, 2, 0, 1, 2]
    assert [work.memory for work in works] == [2, 2, 2]


def test_a_prompt_longer_than_a_step_still_goes_in() -> None:
    scheduler = Scheduler(8, 4, T)
    long, short = answer(prompt=100), answer()
    scheduler.add_answer(long)
    scheduler.add_answer(short)
    step = scheduler.plan()
    assert step is not None
    assert step.prompts == (long,)


def test_answers_end_by_mark_and_by_length() -> None:
    scheduler = Scheduler(64, 4, T)
    stopped, full = answer(tokens_max=5), answer(tokens_max=1)
    scheduler.add_answer(stopped)
    step = scheduler.plan()
    assert step is not None
    run(scheduler, step)
    step = scheduler.plan()
    assert step is not None
    run(scheduler, step, token=END)
    scheduler.add_answer(full)
    step = scheduler.plan()
    assert step is not None
    run(scheduler, step)
    assert (stopped.finish_reason, stopped.tokens) == ("stop", [1])
    assert (full.finish_reason, full.tokens) == ("length", [1])
    assert scheduler.plan() is None


def test_cancelled_work_is_in_no_later_step() -> None:
    scheduler = Scheduler(64, 4, T)
    works: list[Any] = [answer(), read(5)]
    scheduler.add_answer(works[0])
    scheduler.add_read(works[1])
    step = scheduler.plan()
    assert step is not None
    for work in works:
        scheduler.cancel(work)
    run(scheduler, step)
    assert scheduler.plan() is None
    assert works[1].done == 0


@given(st.lists(st.tuples(st.sampled_from(["read", "answer"]), st.integers(1, 6)), min_size=1, max_size=20))
def test_all_work_ends_and_no_step_is_over_its_budget(wanted: list[tuple[str, int]]) -> None:
    scheduler = Scheduler(3 * T, 2, T)
    works: list[AnswerWork | ReadWork] = []
    for kind, size in wanted:
        if kind == "read":
            works.append(read(size))
            scheduler.add_read(works[-1])  # type: ignore[arg-type]
        else:
            works.append(answer(tokens_max=size))
            scheduler.add_answer(works[-1])  # type: ignore[arg-type]
    steps = 0
    while step := scheduler.plan():
        tokens = len(step.answers) + sum(w.prompt_tokens for w in step.prompts) + T * len(step.reads)
        assert tokens <= 3 * T or len(step.reads) == 1
        assert len(step.answers) + len(step.prompts) <= 2
        run(scheduler, step)
        steps += 1
        assert steps < 500
    assert all(w.finished if isinstance(w, ReadWork) else w.finish_reason == "length" for w in works)
