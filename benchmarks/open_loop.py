"""Open-loop load: arrivals are planned beforehand, and each is timed from its planned moment.

So a stalled server delays all arrivals planned meanwhile (no coordinated omission), and so does a slow generator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from tqdm import tqdm

WAIT_SECONDS_MAX = 60.0


class Refused(Exception):
    """The server refused the request (429)."""


class Failed(Exception):
    """No complete answer came, for any other reason."""


@dataclass(frozen=True)
class Arrival:
    """A request to session number `session`, `seconds` after the start."""

    seconds: float
    session: int
    appends: bool


@dataclass(frozen=True)
class Schedule:
    """The planned arrivals; `per_second` is their expected rate."""

    per_second: float
    seconds: float
    arrivals: tuple[Arrival, ...]


@dataclass(frozen=True)
class Reply:
    """When the first token and the end of an answer came, by the event loop's clock."""

    first_at: float
    whole_at: float


@dataclass(frozen=True)
class Outcome:
    """The result of an arrival, in seconds since its planned moment; `fault` is the reason if there is no reply."""

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
    """Poisson arrivals at a mean rate, each to a random one of the sessions."""
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
    """Sends every arrival at its planned time, without waiting for others; returns when all have ended."""
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
            return Outcome(arrival, sent_seconds, fault=Failed(f"no complete answer within {WAIT_SECONDS_MAX:g} s"))
        finally:
            bar.update()
        return Outcome(arrival, sent_seconds, reply.first_at - planned_at, reply.whole_at - planned_at)

    with tqdm(total=len(schedule.arrivals), desc=description, unit="request", disable=description is None) as bar:
        return list(await asyncio.gather(*map(outcome, schedule.arrivals)))


def answers(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """Seconds to the first token and to the end, of every answered question."""
    return [
        (outcome.first_seconds, outcome.whole_seconds)
        for outcome in outcomes
        if not outcome.arrival.appends and outcome.first_seconds is not None and outcome.whole_seconds is not None
    ]


def share_within(outcomes: Sequence[Outcome], seconds: float) -> float:
    """The share of all questions, answered or not, whose first token came within `seconds`."""
    asked = sum(not outcome.arrival.appends for outcome in outcomes)
    return sum(first <= seconds for first, _ in answers(outcomes)) / asked


def done_per_second(schedule: Schedule, outcomes: Sequence[Outcome]) -> float:
    """Completed requests, over the planned time or the time until the last completion, whichever is longer."""
    ends = [o.arrival.seconds + o.whole_seconds for o in outcomes if o.whole_seconds is not None]
    return len(ends) / max(schedule.seconds, *ends, 0.0)
