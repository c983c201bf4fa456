"""Gauges that are set when the metrics are scraped: the state of the engine, the readers and the store."""

from __future__ import annotations

import asyncio

from server.engine.engine import Engine
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.store.base import Store

# Shorter than a scrape's time limit.
STORE_SECONDS = 2.0


async def look(metrics: Metrics, engine: Engine, readers: SessionReaders, store: Store) -> None:
    """Sets every gauge to its present value."""
    load = engine.load()
    metrics.running.labels(phase="answer").set(load.answers_running)
    metrics.waiting.labels(phase="answer").set(load.answers_waiting)
    metrics.running.labels(phase="read").set(load.reads)
    metrics.waiting.labels(phase="read").set(readers.queued)
    metrics.queued_tokens.set(load.queued_tokens + readers.backlog.waiting_tokens)
    metrics.behind_bytes.set(readers.backlog.unread_bytes)
    metrics.sessions.labels(tier="device").set(readers.resident)
    metrics.memory_bytes.labels(tier="device").set(readers.resident_bytes)
    metrics.unstored_oldest_seconds.set(readers.unstored_seconds)
    metrics.store_up.set(await _is_up(store))


async def _is_up(store: Store) -> bool:
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await store.ready()
    except Exception:
        return False
    return True
