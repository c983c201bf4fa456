"""Time to restore a session after the server was killed, compared with reading its text again."""

from __future__ import annotations

import time
from statistics import median

from tqdm import tqdm

from benchmarks.client import Client, served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_tokens
from benchmarks.timing import seconds_of
from testing.serving import Server

NAME = "restart"
CLAIM = "restoring a session after a restart takes less than 1/100 of the time to read 100,000 tokens again"
HUNDREDTH = Goal("at most", 0.01)
SESSION = "restarted"
QUESTION = "Where is the letter that he wrote?"


def measure(plan: Plan) -> Section:
    """Reads the text once; then, several times, kills the server, starts it and asks."""
    sizes = plan.sizes
    with served(plan) as (server, client):
        text = prose_of_tokens(plan.loaded.tokenizer, sizes.restart_tokens, seed=5)
        began = time.perf_counter()
        client.read_whole(SESSION, text, "server reads the text to be restored")
        reading_seconds = time.perf_counter() - began
        client.settle(SESSION, plan.settings.idle_seconds)
        turns = [_restart(server) for _ in tqdm(range(sizes.restarts), desc="kill, start, ask")]
    restore_seconds, first_seconds, second_seconds, start_seconds = (
        median(column) for column in zip(*turns, strict=True)
    )
    return Section(
        NAME,
        CLAIM,
        (
            Figure("text_tokens", sizes.restart_tokens),
            Figure("reading_seconds", reading_seconds),
            Figure("restore_seconds", restore_seconds),
            Figure("restore_to_reading_ratio", restore_seconds / reading_seconds, HUNDREDTH),
            Figure("first_question_seconds", first_seconds),
            Figure("first_question_to_reading_ratio", first_seconds / reading_seconds, HUNDREDTH),
            Figure("second_question_seconds", second_seconds),
            Figure("start_until_ready_seconds", start_seconds),
        ),
    )


def _restart(server: Server) -> tuple[float, float, float, float]:
    """Seconds of the restore (by the server), the first question, the second, and the start until ready."""
    server.kill()
    began = time.perf_counter()
    server.start()
    with Client(server.url) as client:
        # A balancer sends no question before the server is ready.
        client.await_ready()
        start_seconds = time.perf_counter() - began
        began = time.perf_counter()
        memory = client.ask(SESSION, QUESTION, 1)["memory"]
        first_seconds = time.perf_counter() - began
        if memory["restored_from"] != "store":
            raise RuntimeError(f"the memory came from {memory['restored_from']}, not from the store")
        second_seconds = seconds_of(lambda: client.ask(SESSION, QUESTION, 1))
    return float(memory["restore_seconds"]), first_seconds, second_seconds, start_seconds
