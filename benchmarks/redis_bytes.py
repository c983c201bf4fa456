"""What a session of the general memory takes of Redis: memory while it is kept, bandwidth while it is read."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.client import served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from benchmarks.text import prose_of_tokens
from model import weights
from testing.redis_servers import RedisServer

NAME = "redis_bytes"
CLAIM = "what a session takes of Redis is a few bytes for each token of its text"


def measure(plan: Plan) -> Section:
    """One session at a time, each read to its end over HTTP and stored, in an otherwise empty Valkey."""
    tokenizer = weights.load(plan.pretrained).tokenizer
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer("valkey9", Path(folder) / "valkey") as redis,
        served(replace(plan, weights=plan.pretrained), store=redis.url) as (_, client),
    ):
        for tokens in plan.sizes.question_tokens:
            text = prose_of_tokens(tokenizer, tokens, seed=9)
            before, began = redis.command("INFO"), time.perf_counter()
            client.read_whole(f"of-{tokens}", text, f"server reads {tokens} tokens")
            seconds = time.perf_counter() - began
            client.settle(f"of-{tokens}", plan.settings.idle_seconds)
            after = redis.command("INFO")
            in_bytes, out_bytes = (
                after[f"total_net_{way}_bytes"] - before[f"total_net_{way}_bytes"] for way in ("input", "output")
            )
            kept_bytes = _kept_bytes(redis, f"of-{tokens}")
            figures += [
                Figure(f"of_{tokens}_tokens_text_bytes", len(text.encode())),
                Figure(f"of_{tokens}_tokens_kept_bytes", kept_bytes),
                Figure(f"of_{tokens}_tokens_kept_bytes_a_token", kept_bytes / tokens),
                Figure(f"of_{tokens}_tokens_sent_to_redis_bytes_a_text_byte", in_bytes / len(text.encode())),
                Figure(f"of_{tokens}_tokens_sent_by_redis_bytes_a_text_byte", out_bytes / len(text.encode())),
                Figure(f"of_{tokens}_tokens_sent_to_redis_bytes_a_second", in_bytes / seconds),
            ]
    return Section(NAME, CLAIM, tuple(figures))


def _kept_bytes(redis: RedisServer, session: str) -> int:
    """What all keys of the session take of Redis's memory."""
    mine = [name for name in redis.command("KEYS", "*") if f"/{session}}}".encode() in name]
    return sum(int(redis.command("MEMORY", "USAGE", name, "SAMPLES", 0)) for name in mine)
