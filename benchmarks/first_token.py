"""TTFT over HTTP: after a short and a long text, on an idle server and while other sessions are read."""

from __future__ import annotations

import time
from random import Random

from tqdm import tqdm

from benchmarks.client import Client, served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_bytes, prose_of_tokens
from benchmarks.timing import percentile

NAME = "first_token"
CLAIM = (
    "the first token of an answer does not grow with what was read, "
    "and is at most three times the idle figure while 16 other sessions read"
)
SAME = Goal("at most", 1.05)
THREE_TIMES = Goal("at most", 3.0)
TWO_STEPS = Goal("at most", 2.0)
QUESTION = "Where is the letter that he wrote?"
ANSWER_TOKENS = 4
OTHERS = 16
WARM_UP = 3
PAUSE_SECONDS_MAX = 0.05
# A question is put behind the tail, so tails of the same length make questions of the same length.
TAIL_TOKENS = 16


def measure(plan: Plan) -> Section:
    """The same question to both sessions in turn with the server idle, then the same with 16 sessions to read."""
    with served(plan) as (_, client):
        for session, tokens in (("short", plan.sizes.short_tokens), ("long", plan.sizes.long_tokens)):
            whole = tokens // plan.segment_tokens * plan.segment_tokens
            text = prose_of_tokens(plan.loaded.tokenizer, whole + TAIL_TOKENS, seed=3)
            client.read_whole(session, text, f"server reads the {session} text")
            client.settle(session, plan.settings.idle_seconds)
        prompts = [client.ask(session, QUESTION, 1)["usage"]["prompt_tokens"] for session in ("short", "long")]
        if abs(prompts[0] - prompts[1]) > 1:
            raise RuntimeError(f"the questions are not of the same length: {prompts} tokens")
        idle_short, idle_long = _ask(plan, client, others=(), description="questions, idle")
        others = tuple(f"other-{number}" for number in range(OTHERS))
        for session in others:
            client.create(session)
        before = client.steps()
        busy_short, busy_long = _ask(plan, client, others, f"questions, {OTHERS} sessions are read")
        taken = [after - first for first, after in zip(before, client.steps(), strict=True)]
        step_seconds = taken[0] / taken[1]
    idle, busy = idle_short + idle_long, busy_short + busy_long
    figures = [Figure("questions_count", len(idle_short))]
    for percent in (50, 99):
        figures += [
            Figure(f"idle_after_short_p{percent}_milliseconds", percentile(idle_short, percent) * 1e3),
            Figure(f"idle_after_long_p{percent}_milliseconds", percentile(idle_long, percent) * 1e3),
            Figure(f"busy_p{percent}_milliseconds", percentile(busy, percent) * 1e3),
        ]
    long_to_short = percentile(idle_long, 50) / percentile(idle_short, 50)
    figures.append(Figure("idle_long_to_short_p50_ratio", long_to_short, SAME))
    for percent in (50, 99):
        ratio = percentile(busy, percent) / percentile(idle, percent)
        figures.append(Figure(f"busy_to_idle_p{percent}_ratio", ratio, THREE_TIMES))
        later = (percentile(busy, percent) - percentile(idle, percent)) / step_seconds
        figures.append(Figure(f"busy_after_idle_p{percent}_steps", later, TWO_STEPS if percent == 50 else None))
    figures.append(Figure("busy_step_milliseconds", step_seconds * 1e3))
    return Section(NAME, CLAIM, tuple(figures))


def _ask(plan: Plan, client: Client, others: tuple[str, ...], description: str) -> tuple[list[float], list[float]]:
    """Seconds to the first token from the short and from the long session, asked in turn."""
    text, random = prose_of_bytes(plan.sizes.backlog_bytes, seed=4), Random(4)
    short: list[float] = []
    long: list[float] = []
    for number in tqdm(range(-WARM_UP, plan.sizes.questions), desc=description, unit="pair"):
        _keep_reading(client, others, text)
        # The two go first in turn, so that neither has an advantage.
        pair = (("short", short), ("long", long))
        for session, seconds in pair if number % 2 else pair[::-1]:
            # Without a pause each question would come just after the step that ended the answer before it.
            time.sleep(random.uniform(0, PAUSE_SECONDS_MAX))
            first_seconds = client.first_token_seconds(session, QUESTION, ANSWER_TOKENS)
            if number >= 0:
                seconds.append(first_seconds)
    if idle := [session for session in others if client.view(session)["status"] != "reading"]:
        raise RuntimeError(f"the text to read ran out for {', '.join(idle)}: the figures would be too good")
    return short, long


def _keep_reading(client: Client, others: tuple[str, ...], text: str) -> None:
    """Appends text to each of the others that has little left to read."""
    for session in others:
        counts = client.view(session)["text"]
        if counts["accepted_bytes"] - counts["read_bytes"] < len(text) // 2:
            client.append(session, text)
