"""Up to which rate of requests TTFT meets its objective, by the share of sessions that are active.

The objective of 200 ms is for a GPU, and is applied here to any device. The load generator runs on the same machine; a
request that it sends late counts as waiting, and its lateness is reported. Percentiles are of answered requests; a
refused or failed request is counted, and misses the objective. The p99 of some hundred requests is nearly the maximum.
"""

from __future__ import annotations

import asyncio
from random import Random

from benchmarks.client import served
from benchmarks.many_sessions import await_stored, open_sessions
from benchmarks.open_loop import Outcome, Schedule, answers, done_per_second, offered, poisson, share_within
from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from benchmarks.sending import Sender
from benchmarks.text import prose_of_bytes
from benchmarks.timing import percentile

NAME = "load"
CLAIM = (
    "Poisson arrivals, a tenth of them appends: up to which rate 99 % of first tokens come within 200 ms (objective "
    "for a GPU) of the planned arrival of their questions"
)
OBJECTIVE_SECONDS = 0.2
OBJECTIVE_SHARE = 0.99
ACTIVE_PERCENTS = (1, 10, 50)
# All figures are reported for this share, and for the others only those that differ.
WHOLE_PERCENT = 10
APPEND_SHARE = 0.1
APPENDED_BYTES = 1024
WARM_UP = 20


def measure(plan: Plan) -> Section:
    """One server with all sessions open; for each share of active sessions a sweep of rates, one after the other."""
    names = [f"session-{number}" for number in range(plan.sizes.open_sessions)]
    with served(plan) as (server, client):
        open_sessions(client, names)
        await_stored(server)
        figures = asyncio.run(_swept(plan, server.url, names))
    return Section(NAME, CLAIM, (Figure("open_sessions_count", len(names)), *figures))


async def _swept(plan: Plan, url: str, names: list[str]) -> list[Figure]:
    figures: list[Figure] = []
    async with Sender(url, names, prose_of_bytes(APPENDED_BYTES, seed=13)) as send:
        rates, everyone = plan.sizes.load_per_second, range(len(names))
        await offered(poisson(0, rates[0], WARM_UP / rates[0], everyone), send, "warming up")
        for percent in ACTIVE_PERCENTS:
            active = Random(percent).sample(everyone, max(1, len(names) * percent // 100))
            met = []
            for rate in rates:
                schedule = poisson(rate, rate, plan.sizes.load_seconds, active, APPEND_SHARE)
                outcomes = await offered(schedule, send, f"{percent} % active, {rate} a second")
                name = f"active_{percent}_percent_at_{rate}_per_second"
                figures += _figures(name, schedule, outcomes, whole=percent == WHOLE_PERCENT)
                met.append(share_within(outcomes, OBJECTIVE_SECONDS) >= OBJECTIVE_SHARE)
            figures += _bounds(f"active_{percent}_percent", dict(zip(rates, met, strict=True)))
    return figures


def _figures(name: str, schedule: Schedule, outcomes: list[Outcome], whole: bool) -> list[Figure]:
    answered = answers(outcomes)
    if not answered:
        raise RuntimeError(f"{name}: no question was answered: {[outcome.fault for outcome in outcomes[:3]]}")
    first, last = zip(*answered, strict=True)
    refused, failed = (sum(o.fault is not None and o.refused is kind for o in outcomes) for kind in (True, False))
    figures = [
        Figure(f"{name}_first_token_p99_milliseconds", percentile(first, 99) * 1e3),
        Figure(f"{name}_done_per_second_requests", done_per_second(schedule, outcomes)),
        Figure(f"{name}_refused_count", refused),
        Figure(f"{name}_failed_count", failed),
    ]
    if whole:
        figures += [Figure(f"{name}_first_token_p{p}_milliseconds", percentile(first, p) * 1e3) for p in (50, 90)]
        figures += [Figure(f"{name}_answer_p{p}_milliseconds", percentile(last, p) * 1e3) for p in (50, 90, 99)]
        late = [outcome.sent_seconds for outcome in outcomes]
        figures += [Figure(f"{name}_sent_late_p99_milliseconds", percentile(late, 99) * 1e3)]
    return figures


def _bounds(name: str, met: dict[int, bool]) -> list[Figure]:
    """The highest rate up to which every rate met the objective (0: none), and the first that did not, if any."""
    beyond = next((rate for rate, kept in met.items() if not kept), None)
    within = max((rate for rate in met if beyond is None or rate < beyond), default=0)
    figures = [Figure(f"{name}_within_objective_up_to_per_second_requests", within)]
    return figures if beyond is None else [*figures, Figure(f"{name}_beyond_objective_at_per_second_requests", beyond)]
