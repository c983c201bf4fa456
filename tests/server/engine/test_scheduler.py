"""What the next step does: answers first, reads fill it, no work waits for ever, and tenants get their shares."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.engine.scheduler import RUNNING_MAX, AnswerWork, Batch, Finish, ReadWork, Scheduler

T = 8
END = 99


def answer(prompt: int = 4, tokens_max: int = 3, tenant: str = "a") -> AnswerWork:
    return AnswerWork(prompt, tokens_max, END, tenant)


def read(segments: int = 2, tenant: str = "a") -> ReadWork:
    return ReadWork(segments, tenant)


def run(scheduler: Scheduler, step: Batch, token: int = 1) -> dict[AnswerWork | ReadWork, Finish]:
    """Records the step with one token for each answer and one segment for each read; what has finished with it."""
    tokens = [token] * (len(step.prefills) + len(step.decodes))
    return scheduler.record(step, tokens, [1] * len(step.reads))


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
    assert scheduler.plan() == Batch(reads=tuple(works[:4]))
    writing = answer()
    scheduler.add_answer(writing)
    for _ in range(2):
        step = scheduler.plan()
        assert step is not None
        run(scheduler, step)
    step = scheduler.plan()
    assert step is not None
    assert step.decodes == (writing,)
    assert len(step.reads) == 4


@pytest.mark.parametrize(("reads", "each"), [(1, 7), (2, 3), (3, 2), (4, 1), (7, 1), (9, 1)])
def test_where_few_are_read_each_gets_on_faster(reads: int, each: int) -> None:
    scheduler = Scheduler(7 * T, 9, T)
    for _ in range(reads):
        scheduler.add_read(read(20))
    step = scheduler.plan()
    assert step is not None
    assert step.segments_each == each


def test_a_prompt_goes_before_a_reads_second_segment() -> None:
    scheduler = Scheduler(4 * T, 9, T)
    scheduler.add_read(read(20))
    scheduler.add_answer(answer(4 * T))
    scheduler.add_answer(answer(T))
    first, second = planned(scheduler, 2)
    assert not first.reads
    # An answer that is written on takes a token of what the fourth segment would need.
    assert (len(second.prefills), second.segments_each) == (1, 2)


def test_reads_take_turns() -> None:
    scheduler = Scheduler(T, 4, T)
    works = [read(2) for _ in range(3)]
    for work in works:
        scheduler.add_read(work)
    order, finished = [], dict[AnswerWork | ReadWork, Finish]()
    while step := scheduler.plan():
        order.append(works.index(step.reads[0]))
        finished |= run(scheduler, step)
    assert order == [0, 1, 2, 0, 1, 2]
    assert finished == dict.fromkeys(works, Finish.READ)


def test_a_prompt_longer_than_a_step_still_goes_in() -> None:
    scheduler = Scheduler(8, 4, T)
    long, short = answer(prompt=100), answer()
    scheduler.add_answer(long)
    scheduler.add_answer(short)
    step = scheduler.plan()
    assert step is not None
    assert step.prefills == (long,)


def test_answers_end_by_mark_and_by_length() -> None:
    scheduler = Scheduler(64, 4, T)
    stopped, full = answer(tokens_max=5), answer(tokens_max=1)
    scheduler.add_answer(stopped)
    step = scheduler.plan()
    assert step is not None
    assert run(scheduler, step) == {}
    step = scheduler.plan()
    assert step is not None
    assert run(scheduler, step, token=END) == {stopped: Finish.END}
    scheduler.add_answer(full)
    step = scheduler.plan()
    assert step is not None
    assert run(scheduler, step) == {full: Finish.LENGTH}
    assert scheduler.plan() is None


def test_cancelled_work_is_in_no_later_step() -> None:
    scheduler = Scheduler(64, 4, T)
    answering, reading = answer(), read(5)
    scheduler.add_answer(answering)
    scheduler.add_read(reading)
    step = scheduler.plan()
    assert step is not None
    scheduler.cancel(answering)
    scheduler.cancel(reading)
    assert run(scheduler, step) == {}
    assert scheduler.plan() is None
    assert scheduler.queued_tokens == 0


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
    steps, finished = 0, dict[AnswerWork | ReadWork, Finish]()
    while step := scheduler.plan():
        segments = len(step.reads) * step.segments_each
        tokens = len(step.decodes) + sum(w.prompt_tokens for w in step.prefills) + T * segments
        assert tokens <= 3 * T or segments == 1
        assert len(step.decodes) + len(step.prefills) <= 2
        finished |= run(scheduler, step)
        steps += 1
        assert steps < 500
    assert finished == {w: Finish.READ if isinstance(w, ReadWork) else Finish.LENGTH for w in works}


def test_a_read_that_sat_out_goes_before_prompts_which_take_what_it_leaves() -> None:
    scheduler = Scheduler(2 * T, 9, T)
    scheduler.add_read(read(9))
    for prompt in (2 * T, 4, 2 * T):
        scheduler.add_answer(answer(prompt))
    assert [(len(step.prefills), len(step.reads)) for step in planned(scheduler, 3)] == [(1, 0), (1, 1), (1, 0)]


def planned(scheduler: Scheduler, plans: int) -> list[Batch]:
    """So many steps, each recorded."""
    steps = []
    for _ in range(plans):
        step = scheduler.plan()
        assert step is not None
        run(scheduler, step)
        steps.append(step)
    return steps


def test_a_lone_question_is_prefilled_at_once_though_another_tenant_fills_all_places() -> None:
    scheduler = Scheduler(32 * T, 8, T)
    for _ in range(100):
        scheduler.add_answer(answer(tokens_max=1000))
        scheduler.add_read(read(1000))
    planned(scheduler, 20)
    lone = answer(tenant="b")
    scheduler.add_answer(lone)
    steps = planned(scheduler, 4)
    # The first of the steps may be that of reads that sat out, filled to the brim.
    assert any(lone in step.prefills for step in steps[:2])
    assert sum(lone in (*step.prefills, *step.decodes) for step in steps) == lone.tokens_max
    assert all(len(step.decodes) == 8 for step in steps)


def test_places_are_shared_and_answers_that_sit_out_take_turns() -> None:
    """Three tenants with long answers and four places: each gets a third of the tokens in whichever order they came."""
    scheduler = Scheduler(32, 4, T)
    for tenant in "abc":
        for _ in range(5):
            scheduler.add_answer(answer(tokens_max=1000, tenant=tenant))
        planned(scheduler, 5)
    assert scheduler.answers_waiting == {"a": 1, "b": 3, "c": 3}
    written = Counter(work.tenant for step in planned(scheduler, 300) for work in step.decodes)
    assert sum(written.values()) == 4 * 300
    assert max(written.values()) - min(written.values()) <= 2


def test_not_more_than_so_many_answers_run() -> None:
    scheduler = Scheduler(1 << 20, 2, T)
    for tenant in range(100):
        scheduler.add_answer(answer(tokens_max=1000, tenant=str(tenant)))
        planned(scheduler, 1)
    assert scheduler.answers_running == 2 * RUNNING_MAX
    assert sum(scheduler.answers_waiting.values()) == 100 - 2 * RUNNING_MAX


works = st.builds(
    lambda kind, tenant, size: answer(size, 1 + size, tenant) if kind == "answer" else read(size, tenant),
    st.sampled_from(["read", "answer"]),
    st.sampled_from("abc"),
    st.integers(1, 2 * T),
)


@given(st.lists(st.lists(works, max_size=5), min_size=1, max_size=20), st.integers(1, 4), st.integers(1, 4 * T))
def test_tenants_get_their_shares_of_any_arrivals_and_all_of_it_ends(
    arrivals: list[list[AnswerWork | ReadWork]], answers_max: int, step_tokens: int
) -> None:
    scheduler, held = Scheduler(step_tokens, answers_max, T), list[AnswerWork | ReadWork]()
    prefilled = set[AnswerWork]()
    ahead = {"segment": Counter[tuple[str, str]](), "token": Counter[tuple[str, str]]()}
    arriving = iter(arrivals)
    for plans in range(10_000):
        for work in next(arriving, ()):
            held.append(work)
            scheduler.add_read(work) if isinstance(work, ReadWork) else scheduler.add_answer(work)
        running = [work for work in held if work in prefilled]
        reads = [work for work in held if isinstance(work, ReadWork)]
        step = scheduler.plan()
        if not held:
            assert step is None
            if plans >= len(arrivals):
                break
            continue
        # Work conserving: no row is empty while an answer could be decoded, or a session read.
        assert step is not None
        assert len(step.decodes) == min(len(running), answers_max)
        rows = max(1, (step_tokens - len(step.decodes)) // T)
        assert len(step.reads) in ({0, min(len(reads), rows)} if step.prefills else {min(len(reads), rows)})
        if step.reads or not reads:
            must_stay_near(ahead["segment"], step.reads, reads)
        must_stay_near(ahead["token"], step.decodes, running)
        finished = run(scheduler, step)
        prefilled.update(step.prefills)
        held = [work for work in held if work not in finished]
    else:
        raise AssertionError("work does not end")


def must_stay_near(ahead: Counter[tuple[str, str]], taken: Any, offered: Any) -> None:
    """While a tenant has more than is taken, no other one is served three pieces more than it."""
    served = Counter(work.tenant for work in taken)
    left = {work.tenant for work in offered if work not in taken}
    for behind in "abc":
        for other in "abc":
            pair = other, behind
            # The most of any stretch up to here, all of which the one behind had more.
            ahead[pair] = max(0, ahead[pair] + served[other] - served[behind]) if behind in left else 0
            assert ahead[pair] <= 3


def test_what_is_queued_is_counted_in_tokens() -> None:
    scheduler = Scheduler(2 * T, 4, T)
    scheduler.add_read(read(3))
    scheduler.add_answer(answer(prompt=5))
    assert scheduler.queued_tokens == 3 * T + 5
    planned(scheduler, 2)
    assert scheduler.queued_tokens == 2 * T
