"""Fills a server with many sessions of a short text, and waits until all their memories are stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tqdm import tqdm

from benchmarks.client import POLL_SECONDS, Client
from benchmarks.text import prose_of_bytes
from testing.serving import Server

# Two segments and a tail.
TEXT_BYTES = 768
CREATED_AT_ONCE = 16


def open_sessions(client: Client, names: Sequence[str]) -> None:
    """Creates the sessions, and returns when the text of each has been read."""
    text = prose_of_bytes(TEXT_BYTES, seed=12)

    def fill(name: str) -> None:
        client.create(name)
        client.append(name, text, wait=True)

    with ThreadPoolExecutor(CREATED_AT_ONCE) as pool:
        for _ in tqdm(pool.map(fill, names), total=len(names), desc="sessions with a short text", unit="session"):
            pass


def await_stored(server: Server) -> None:
    """Returns when every memory is stored."""
    with tqdm(desc="waiting until every memory is stored", bar_format="{desc}: {elapsed}", leave=False) as bar:
        while gauge(server, "onceread_unstored_oldest_seconds") > 0:
            time.sleep(POLL_SECONDS)
            bar.update()


def gauge(server: Server, name: str) -> float:
    """The metric's current value, summed over its labels."""
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
