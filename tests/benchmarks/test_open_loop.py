"""Open-loop load is sent as planned and timed from the plan, whatever the server and the generator do."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.open_loop import (
    WAIT_SECONDS_MAX,
    Arrival,
    Failed,
    Outcome,
    Refused,
    Reply,
    Schedule,
    answers,
    done_per_second,
    offered,
    poisson,
    share_within,
)
from benchmarks.sending import Sender
from benchmarks.timing import percentile

pytestmark = pytest.mark.anyio

SEEDS, RATES = st.integers(0, 2**32), st.floats(1, 500)


@given(SEEDS, RATES, st.floats(0.1, 4))
def test_a_schedule_is_determined_by_its_seed_and_ends_in_time(seed: int, per_second: float, seconds: float) -> None:
    schedule = poisson(seed, per_second, seconds, range(5), 0.5)
    times = [arrival.seconds for arrival in schedule.arrivals]
    assert schedule == poisson(seed, per_second, seconds, range(5), 0.5)
    assert times == sorted(times)
    assert all(0 <= time < seconds for time in times)


@given(SEEDS, st.floats(1, 500))
def test_arrivals_are_a_poisson_process(seed: int, per_second: float) -> None:
    """The number of arrivals and the share of gaps above the mean are those of a Poisson process."""
    expected = 2000
    schedule = poisson(seed, per_second, expected / per_second, range(4), 0.25)
    arrivals = schedule.arrivals
    # Six standard deviations: never by chance.
    assert abs(len(arrivals) - expected) < 6 * math.sqrt(expected)
    gaps = [after.seconds - before.seconds for before, after in pairwise(arrivals)]
    long = sum(gap > 1 / per_second for gap in gaps) / len(gaps)
    assert abs(long - math.exp(-1)) < 6 * math.sqrt(0.25 / len(gaps))
    assert abs(sum(a.appends for a in arrivals) / len(arrivals) - 0.25) < 6 * math.sqrt(0.25 / len(arrivals))
    each = Counter(arrival.session for arrival in arrivals)
    assert all(abs(each[session] / len(arrivals) - 0.25) < 6 * math.sqrt(0.25 / len(arrivals)) for session in range(4))


@given(st.lists(st.floats(0.001, 10) | st.sampled_from([Refused("429"), Failed("cut off")]), min_size=1))
def test_an_unanswered_question_misses_the_objective(came: list[float | Exception]) -> None:
    """99 of 100 within a bound is the same as a p99 within it, where an unanswered question counts as the latest."""
    outcomes = [
        Outcome(arrival(0.0), 0.0, fault=one) if isinstance(one, Exception) else Outcome(arrival(0.0), 0.0, one, one)
        for one in came
    ]
    seconds = [math.inf if isinstance(one, Exception) else one for one in came]
    for bound in (0.5, 5.0, 10.0):
        assert (share_within(outcomes, bound) >= 0.99) == (percentile(seconds, 99) <= bound)
    assert len(answers(outcomes)) + sum(o.fault is not None for o in outcomes) == len(came)


def test_appends_count_as_completed_but_not_as_questions() -> None:
    append = Outcome(Arrival(1.0, 0, True), 0.0, 3.0, 3.0)
    asked = Outcome(arrival(0.5), 0.0, 0.1, 0.2)
    schedule = Schedule(1.0, 2.0, (append.arrival, asked.arrival))
    assert answers([append, asked]) == [(0.1, 0.2)]
    assert share_within([append, asked], 1.0) == 1.0
    # The last of it came four seconds after the beginning; with nothing late, the time planned counts.
    assert done_per_second(schedule, [append, asked]) == 2 / 4
    assert done_per_second(schedule, [asked]) == 1 / 2


class Stalling:
    """An HTTP server that answers only when a number of requests is waiting, then all at once."""

    def __init__(self, requests: int, status: bytes = b"200 OK") -> None:
        self._expected, self._status = requests, status
        self._waiting, self._all_there = 0, asyncio.Event()
        self.bodies: list[bytes] = []

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        self.bodies.append(await reader.readexactly(int(length.partition(b":")[2])))
        self._waiting += 1
        if self._waiting == self._expected:
            self._all_there.set()
        await self._all_there.wait()
        events = b'event: delta\ndata: {"text": "a"}\n\nevent: done\ndata: {}\n\n'
        writer.write(b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (self._status, len(events)))
        writer.write(events)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def test_a_stall_of_the_server_counts_for_all_that_was_planned_meanwhile() -> None:
    """A closed-loop generator would never send the last request, and this would not end."""
    schedule = poisson(1, 400.0, 0.1, range(3), append_share=0.2)
    last = schedule.arrivals[-1].seconds
    stalling = Stalling(len(schedule.arrivals))
    async with stalling as url, Sender(url, ["a", "b", "c"], "a piece") as send:
        outcomes = await offered(schedule, send)
    assert [outcome.arrival for outcome in outcomes] == list(schedule.arrivals)
    assert [outcome.fault for outcome in outcomes] == [None] * len(schedule.arrivals)
    # No request was answered before the last one arrived, and each has waited since its planned time.
    for outcome in outcomes:
        assert outcome.first_seconds is not None
        assert outcome.whole_seconds is not None
        assert outcome.whole_seconds >= outcome.first_seconds >= last - outcome.arrival.seconds
    assert stalling.bodies.count(b"a piece") == sum(arrival.appends for arrival in schedule.arrivals)


@pytest.mark.parametrize(("status", "refused"), [(b"429 Too Many Requests", True), (b"503 Service Unavailable", False)])
async def test_refusals_and_failures_are_counted_separately(status: bytes, refused: bool) -> None:
    schedule = poisson(2, 400.0, 0.05, range(1))
    async with Stalling(1, status) as url, Sender(url, ["a"], "") as send:
        outcomes = await offered(schedule, send)
    assert schedule.arrivals
    assert all(outcome.fault is not None and outcome.refused is refused for outcome in outcomes)


async def test_a_refused_connection_is_a_failure() -> None:
    async with Stalling(1) as url:
        pass
    async with Sender(url, ["a"], "") as send:
        (outcome,) = await offered(Schedule(1.0, 1.0, (arrival(0.0),)), send)
    assert isinstance(outcome.fault, Failed)


def test_a_late_request_is_timed_from_its_planned_moment() -> None:
    """Sending the first request blocks the generator for five seconds."""
    loop = Hastening()
    schedule = Schedule(100.0, 0.03, tuple(arrival(number / 100) for number in range(3)))

    async def send(arrival: Arrival) -> Reply:
        if arrival == schedule.arrivals[0]:
            loop.hurried_seconds += 5
        return Reply(loop.time(), loop.time())

    try:
        outcomes = loop.run_until_complete(offered(schedule, send))
    finally:
        loop.close()
    for outcome in outcomes:
        assert outcome.first_seconds is not None
        assert outcome.first_seconds >= 5 - outcome.arrival.seconds
    assert all(outcome.sent_seconds >= 5 - outcome.arrival.seconds for outcome in outcomes[1:])


def test_a_request_that_never_ends_times_out() -> None:
    loop = Hastening()

    async def send(_: Arrival) -> Reply:
        loop.hurried_seconds += WAIT_SECONDS_MAX
        await asyncio.Event().wait()
        raise AssertionError

    try:
        (outcome,) = loop.run_until_complete(offered(Schedule(1.0, 1.0, (arrival(0.0),)), send))
    finally:
        loop.close()
    assert isinstance(outcome.fault, Failed)


class Hastening(asyncio.SelectorEventLoop):
    """An event loop whose time the test advances."""

    hurried_seconds = 0.0

    def time(self) -> float:
        return super().time() + self.hurried_seconds


def arrival(seconds: float) -> Arrival:
    return Arrival(seconds, 0, False)
