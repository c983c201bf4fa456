"""How long the server takes to acknowledge text as durable while it reads earlier text."""

from __future__ import annotations

from tqdm import tqdm

from benchmarks.client import served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from benchmarks.text import prose_of_bytes
from benchmarks.timing import percentile, seconds_of

NAME = "acknowledge"
CLAIM = "an acknowledgement costs one small write, whatever is being read"
PIECE_BYTES = 64 * 1024
WARM_UP = 3


def measure(plan: Plan) -> Section:
    """Appends of 64 KiB to one session, one after another, without waiting for reading."""
    text = prose_of_bytes(PIECE_BYTES, seed=6)
    with served(plan) as (_, client):
        client.create("appended")
        seconds = [
            seconds_of(lambda: client.append("appended", text))
            for _ in tqdm(range(WARM_UP + plan.sizes.appends), desc="appends of 64 KiB")
        ][WARM_UP:]
    return Section(
        NAME,
        CLAIM,
        (
            Figure("appends_count", len(seconds)),
            Figure("piece_bytes", PIECE_BYTES),
            Figure("p50_milliseconds", percentile(seconds, 50) * 1e3),
            Figure("p99_milliseconds", percentile(seconds, 99) * 1e3),
        ),
    )
