"""The cost of the stores: acknowledging text compared with a bare write, and TTFT with a memory restored from Redis."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.client import served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_bytes
from benchmarks.timing import percentile, seconds_of
from model import weights
from model.mechanisms import build
from server.store import StoreOptions, open_store
from server.store.base import SessionKey, SessionRecord
from testing.redis_servers import RedisServer

NAME = "stores"
CLAIM = "an acknowledgement costs little more than the store's own write; a memory of 4 MB is restored in under 50 ms"
PIECE_BYTES = 64 * 1024
WARM_UP = 3
FIRST_TOKEN = Goal("at most", 50)


def measure(plan: Plan) -> Section:
    text = prose_of_bytes(PIECE_BYTES, seed=6)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, RedisServer("valkey9", Path(folder) / "valkey") as redis:
        for name, url in (("sqlite", f"sqlite:///{folder}/data"), ("valkey", redis.url)):
            figures += _figures(f"{name}_server", _over_http(plan, url, text))
            redis.command("FLUSHALL")
            figures += _figures(f"{name}_store", asyncio.run(_appended(url, Path(folder), text, plan.sizes.appends)))
            redis.command("FLUSHALL")
        figures += _figures("valkey_set", _set(redis, text, plan.sizes.appends))
        figures += _restored(plan, redis, Path(folder))
    return Section(NAME, CLAIM, (Figure("piece_bytes", PIECE_BYTES), *figures))


def _figures(name: str, seconds: list[float]) -> list[Figure]:
    return [Figure(f"{name}_p{share}_milliseconds", percentile(seconds, share) * 1e3) for share in (50, 99)]


def _over_http(plan: Plan, url: str, text: str) -> list[float]:
    """Seconds of each append, without waiting for reading."""
    with served(plan, store=url) as (_, client):
        client.create("appended")
        return [
            seconds_of(lambda: client.append("appended", text))
            for _ in tqdm(range(WARM_UP + plan.sizes.appends), desc=f"appends over HTTP, {url.partition(':')[0]}")
        ][WARM_UP:]


async def _appended(url: str, folder: Path, text: str, count: int) -> list[float]:
    """The same with the store alone, without a server."""
    store = await open_store(url.replace("/data", "/bare"), StoreOptions(keys_file=folder / "seal.keys"))
    key = SessionKey("default", "bare")
    await store.create(SessionRecord(key, 1.0, 1.0, "none", "none"))
    seconds = []
    end = 0
    for _ in range(WARM_UP + count):
        began = time.perf_counter()
        end = (await store.append(key, end, text.encode(), 1.0)).accepted_bytes
        seconds.append(time.perf_counter() - began)
    await store.close()
    return seconds[WARM_UP:]


def _set(redis: RedisServer, text: str, count: int) -> list[float]:
    """Seconds to write the same bytes to Redis directly, fsynced."""
    with redis.client() as client:
        return [seconds_of(lambda: client.set("piece", text.encode())) for _ in range(WARM_UP + count)][WARM_UP:]


def _restored(plan: Plan, redis: RedisServer, folder: Path) -> list[Figure]:
    """TTFT of questions to evicted sessions: the server keeps at most one of the sessions resident."""
    large = replace(plan, weights=_with_large_memory(plan, folder / "large"))
    with served(large, store=redis.url, resident_bytes=str(1 << 16), idle_seconds="0.05") as (_, client):
        names = [f"session-{number}" for number in range(plan.sizes.questions)]
        for name in tqdm(names, desc="sessions with large memories"):
            client.create(name)
            client.append(name, prose_of_bytes(1024, seed=7), wait=True)
        for name in names:
            client.settle(name, 0.05)
        seconds, restoring = [], []
        for name in tqdm(names, desc="questions to memories in Redis"):
            began = time.perf_counter()
            memory = client.ask(name, "Where?", 1)["memory"]
            seconds.append(time.perf_counter() - began)
            if memory["restored_from"] != "store":
                raise RuntimeError(f"the memory came from {memory['restored_from']}, not from the store")
            restoring.append(float(memory["restore_seconds"]))
        memory_bytes = client.view(names[0])["memory"]["bytes"]
    return [
        Figure("restored_memory_bytes", memory_bytes),
        *_figures("valkey_restore", restoring),
        Figure("valkey_first_token_p50_milliseconds", percentile(seconds, 50) * 1e3, FIRST_TOKEN),
        Figure("valkey_first_token_p99_milliseconds", percentile(seconds, 99) * 1e3),
    ]


def _with_large_memory(plan: Plan, folder: Path) -> Path:
    """The same model with a memory of 4 MB and random weights: only its size matters."""
    config = replace(plan.loaded.model.config, memory_key_dim=64, memory_rolls=16)
    weights.save(folder, build(config), plan.loaded.tokenizer, torch.float32)
    return folder
