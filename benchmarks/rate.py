"""The reading rate of the whole server relative to the model alone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from tqdm import tqdm

from benchmarks import bare
from benchmarks.client import Client, served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_tokens, token_ids
from benchmarks.timing import seconds_of

NAME = "rate"
CLAIM = "the whole server reads at no less than 80 % of the rate of the model alone in the same batch"
MOST_OF_IT = Goal("at least", 0.8)


def measure(plan: Plan) -> Section:
    """Rounds model, server, model, …, model: each of the server is compared with the two beside it."""
    sizes, rows = plan.sizes, plan.step_rows
    sessions = [f"row-{row}" for row in range(rows)]
    bare_rates: list[float] = []
    server_rates: list[float] = []
    with (
        served(plan) as (_, client),
        ThreadPoolExecutor(rows) as pool,
        tqdm(total=2 * sizes.rounds + 2, desc=f"server and bare model, {rows} rows") as bar,
    ):
        for session in sessions:
            client.create(session)
        # The first round of each is a warm-up, not counted.
        for turn in range(-1, sizes.rounds):
            rate = _bare_rate(plan, turn)
            bar.update()
            if turn >= 0:
                bare_rates.append(rate)
            rate = _server_rate(plan, client, pool, sessions, turn)
            bar.update()
            if turn >= 0:
                server_rates.append(rate)
            _idle(plan, client, sessions)
        bare_rates.append(_bare_rate(plan, sizes.rounds))
        no_facts_rate = _no_facts_rate(plan, client)
    shares = [
        2 * server / (before + after)
        for server, before, after in zip(server_rates, bare_rates, bare_rates[1:], strict=False)
    ]
    return Section(
        NAME,
        CLAIM,
        (
            Figure("step_rows", rows),
            Figure("bare_per_second_tokens", median(bare_rates)),
            Figure("server_per_second_tokens", median(server_rates)),
            Figure("server_to_bare_ratio", median(shares), MOST_OF_IT),
            Figure("server_without_facts_per_second_tokens", no_facts_rate),
        ),
    )


def _bare_rate(plan: Plan, turn: int) -> float:
    """Tokens per second of the model alone in batches of the server's rows."""
    model, rows = plan.loaded.model, plan.step_rows
    segments = bare.segments_of(model, token_ids(plan.loaded.tokenizer, plan.sizes.round_tokens, seed=turn + 10))
    seconds = seconds_of(lambda: bare.read(model, segments, model.initial_memory(rows)))
    return segments.numel() * rows / seconds


def _server_rate(plan: Plan, client: Client, pool: ThreadPoolExecutor, sessions: list[str], turn: int) -> float:
    """Tokens per second from the first byte sent until all texts are read."""
    text = prose_of_tokens(plan.loaded.tokenizer, plan.sizes.round_tokens, seed=turn + 10)
    tokens_before = _tokens(client, sessions)
    began = time.perf_counter()
    list(pool.map(lambda session: client.append(session, text, wait=True), sessions))
    seconds = time.perf_counter() - began
    return (_tokens(client, sessions) - tokens_before) / seconds


def _no_facts_rate(plan: Plan, client: Client) -> float:
    """The same of one session with a long text without facts, whose segments the model skips."""
    client.create("no-facts")
    text = prose_of_tokens(plan.loaded.tokenizer, 8 * plan.sizes.round_tokens, seed=99, facts=False)
    began = time.perf_counter()
    client.append("no-facts", text, wait=True)
    seconds = time.perf_counter() - began
    return _tokens(client, ["no-facts"]) / seconds


def _tokens(client: Client, sessions: list[str]) -> int:
    return sum(int(client.view(session)["text"]["tokens"]) for session in sessions)


def _idle(plan: Plan, client: Client, sessions: list[str]) -> None:
    """Waits until the last checkpoints are written, so that the model alone has the machine to itself."""
    for session in sessions:
        client.settle(session, plan.settings.idle_seconds)
