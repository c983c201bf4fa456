"""A memory of ten million tokens against one of ten thousand: storing it, copying it, and finding it after a kill."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from statistics import median
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from tqdm import tqdm

from benchmarks.client import Client, served
from benchmarks.host_memory import resident_set_bytes
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_tokens
from benchmarks.timing import seconds_of
from model import weights
from testing.serving import Server

NAME = "long_memory"
CLAIM = "what a long memory costs to store, to copy and to find again does not grow with its length"
QUESTION = "Where is the letter that he wrote?"
# Appended before a checkpoint is timed: a little more than one segment.
SEGMENT = "It was late, and the letter was still on the table where he had left it in the morning. " * 8
GOALS = {
    "written_bytes_a_text_byte": Goal("at most", 3.0),
    "reading_seconds": Goal("at most", 120.0),
    "checkpoint_to_short_ratio": Goal("at most", 1.5),
    "fork_seconds": Goal("at most", 0.05),
    "cold_question_to_short_ratio": Goal("at most", 2.0),
    "host_memory_to_stored_ratio": Goal("at most", 2.0),
}


class Costs(NamedTuple):
    """What one length costs: seconds, and bytes."""

    reading: float
    written: float
    checkpoint: float
    fork: float
    cold_question: float
    restore: float
    warm_question: float
    grown: float
    memory: float


def measure(plan: Plan) -> Section:
    """The shortest and the longest of the plan's lengths, each on a server of its own with the embedded store."""
    tokenizer = weights.load(plan.pretrained).tokenizer
    short, long = min(plan.sizes.question_tokens), max(plan.sizes.question_tokens)
    texts = {tokens: prose_of_tokens(tokenizer, tokens, seed=9) for tokens in (short, long)}
    costs = {tokens: _costs(plan, tokens, text) for tokens, text in texts.items()}
    one, other = costs[short], costs[long]
    text_bytes = len(texts[long].encode())
    wanted = {
        "text_bytes": text_bytes,
        "reading_seconds": other.reading,
        "written_bytes_a_text_byte": other.written / text_bytes,
        "checkpoint_seconds": other.checkpoint,
        "checkpoint_to_short_ratio": other.checkpoint / one.checkpoint,
        "fork_seconds": other.fork,
        "fork_to_short_ratio": other.fork / one.fork,
        "cold_question_seconds": other.cold_question,
        "cold_question_to_short_ratio": other.cold_question / one.cold_question,
        "restore_seconds": other.restore,
        "cold_question_more_than_warm_seconds": other.cold_question - other.warm_question,
        "warm_question_seconds": other.warm_question,
        "host_memory_bytes": other.grown,
        "memory_bytes": other.memory,
        "host_memory_to_stored_ratio": other.grown / other.memory,
    }
    meant = long >= 10_000_000
    return Section(
        NAME,
        CLAIM,
        (
            Figure("short_tokens", short),
            Figure("long_tokens", long),
            *(Figure(name, value, GOALS.get(name) if meant else None) for name, value in wanted.items()),
        ),
    )


def _costs(plan: Plan, tokens: int, text: str) -> Costs:
    session = f"of-{tokens}"
    with served(replace(plan, weights=plan.pretrained)) as (server, client):
        began, before = time.perf_counter(), _stored_bytes(server)
        client.read_whole(session, text, f"server reads {tokens} tokens")
        reading = time.perf_counter() - began
        client.settle(session, plan.settings.idle_seconds)
        written = len(text.encode()) + _stored_bytes(server) - before
        checkpoint = median(_checkpoint(plan, server, client, session) for _ in range(plan.sizes.restarts))
        forks = [seconds_of(partial(client.fork, session, f"{session}-{n}")) for n in range(plan.sizes.restarts)]
        turns = [_killed(server, session) for _ in tqdm(range(plan.sizes.restarts), desc="kill, start, ask")]
        memory = client.view(session)["memory"]["bytes"]
    cold_question, restore, warm_question, grown = (median(part) for part in zip(*turns, strict=True))
    return Costs(
        reading, written, checkpoint, median(forks), cold_question, restore, warm_question, grown, float(memory)
    )


def _checkpoint(plan: Plan, server: Server, client: Client, session: str) -> float:
    """The seconds in which one more segment's memory is stored."""
    before = _metric(server, "onceread_checkpoint_seconds_sum")
    client.append(session, SEGMENT, wait=True)
    client.settle(session, plan.settings.idle_seconds)
    return _metric(server, "onceread_checkpoint_seconds_sum") - before


def _killed(server: Server, session: str) -> tuple[float, float, float, float]:
    """Of a server that was killed: the first question's seconds, the restore's, the second's, and the growth."""
    server.kill()
    server.start()
    with Client(server.url) as client:
        client.await_ready()
        # What a first question with a full window loads and allocates, whatever the session is.
        client.create("other")
        client.append("other", SEGMENT * 60, wait=True)
        client.ask("other", QUESTION, 1)
        client.delete("other")
        before = resident_set_bytes(server.pid)
        began = time.perf_counter()
        memory = client.ask(session, QUESTION, 1)["memory"]
        first = time.perf_counter() - began
        if memory["restored_from"] != "store":
            raise RuntimeError(f"the memory came from {memory['restored_from']}, not from the store")
        second = seconds_of(lambda: client.ask(session, QUESTION, 1))
        grown = resident_set_bytes(server.pid) - before
    return first, float(memory["restore_seconds"]), second, grown


def _stored_bytes(server: Server) -> float:
    return _metric(server, "onceread_checkpoint_bytes_total")


def _metric(server: Server, name: str) -> float:
    with Client(server.url) as client:
        families = text_string_to_metric_families(client.metrics())
        return next(sample.value for family in families for sample in family.samples if sample.name == name)
