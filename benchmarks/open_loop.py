"""Load that does not wait for answers: arrivals planned beforehand, each counted from the moment planned for it.

A server that stalls so delays everything planned meanwhile, and a generator that falls behind counts against itself.
It knows nothing of HTTP nor of what is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from tqdm import tqdm

WAIT_SECONDS_MAX = 60.0


class Refused(Exception):
    """The server took no more work (429)."""


class Failed(Exception):
    """No whole answer came, for any other reason."""


@dataclass(frozen=True)
class Arrival:
    """A request to one of the sessions, by its number, so many seconds after the beginning."""

    seconds: float
    session: int
    appends: bool


@dataclass(frozen=True)
class Schedule:
    """What is sent when, whatever comes back; `per_second` is what was asked for, the arrivals are what chance made."""

    per_second: float
    seconds: float
    arrivals: tuple[Arrival, ...]


@dataclass(frozen=True)
class Reply:
    """When an answer began and when it had ended, by the event loop's clock."""

    first_at: float
    whole_at: float


@dataclass(frozen=True)
class Outcome:
    """What came of an arrival; all seconds since the moment planned for it. Without a reply, `fault` says why."""

    arrival: Arrival
    sent_seconds: float
    first_seconds: float | None = None
    whole_seconds: float | None = None
    fault: Exception | None = None

    @property
    def refused(self) -> bool:
        return isinstance(self.fault, Refused)


def poisson(
    seed: int, per_second: float, seconds: float, sessions: Sequence[int], append_share: float = 0.0
) -> Schedule:
    """Arrivals independent of one another, at so many a second on average, each to any of the sessions."""
    random = Random(seed)
    arrivals = []
    at = random.expovariate(per_second)
    while at < seconds:
        arrivals.append(Arrival(at, random.choice(sessions), random.random() < append_share))
        at += random.expovariate(per_second)
    return Schedule(per_second, seconds, tuple(arrivals))


async def offered(
    schedule: Schedule, send: Callable[[Arrival], Awaitable[Reply]], description: str | None = None
) -> list[Outcome]:
    """Sends every arrival at its time, however many are under way, and returns when each has come to its end."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def outcome(arrival: Arrival) -> Outcome:
        planned_at = began + arrival.seconds
        await asyncio.sleep(planned_at - loop.time())
        sent_seconds = loop.time() - planned_at
        try:
            async with asyncio.timeout_at(planned_at + WAIT_SECONDS_MAX):
                reply = await send(arrival)
        except (Refused, Failed) as fault:
            return Outcome(arrival, sent_seconds, fault=fault)
        except TimeoutError:
            return Outcome(arrival, sent_seconds, fault=Failed(f"no whole answer within {WAIT_SECONDS_MAX:g} s"))
        finally:
            bar.update()
        return Outcome(arrival, sent_seconds, reply.first_at - planned_at, reply.whole_at - planned_at)

    with tqdm(total=len(schedule.arrivals), desc=description, unit="request", disable=description is None) as bar:
        return list(await asyncio.gather(*map(outcome, schedule.arrivals)))


def answers(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """Of every question that was answered, the seconds to its first token and to its answer's end."""
    return [
        (outcome.first_seconds, outcome.whole_seconds)
        for outcome in outcomes
        if not outcome.arrival.appends and outcome.first_seconds is not None and outcome.whole_seconds is not None
    ]


def share_within(outcomes: Sequence[Outcome], seconds: float) -> float:
    """Which share of all questions had a first token in time; what was never answered had none."""
    asked = sum(not outcome.arrival.appends for outcome in outcomes)
    return sum(first <= seconds for first, _ in answers(outcomes)) / asked


def done_per_second(schedule: Schedule, outcomes: Sequence[Outcome]) -> float:
    """What was answered and acknowledged, over the time planned or until the last of it came, whichever is longer."""
    ends = [o.arrival.seconds + o.whole_seconds for o in outcomes if o.whole_seconds is not None]
    return len(ends) / max(schedule.seconds, *ends, 0.0)
