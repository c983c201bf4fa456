"""What is measured only when somebody looks: the state of the engine, of reading and of the store at that moment.

It knows which count goes into which gauge, and changes nothing.
"""

from __future__ import annotations

import asyncio

from server.engine.engine import Engine
from server.ingest.reader import Reading
from server.observability.metrics import Metrics
from server.store.base import Store

# A look must be over before whoever looks gives up on it.
STORE_SECONDS = 2.0


async def look(metrics: Metrics, engine: Engine, reading: Reading, store: Store) -> None:
    """Brings every gauge up to now."""
    load, residents = engine.load(), reading.residents
    metrics.running.labels(phase="answer").set(load.answers_running)
    metrics.waiting.labels(phase="answer").set(load.answers_waiting)
    metrics.running.labels(phase="read").set(load.reads)
    metrics.waiting.labels(phase="read").set(reading.waiting_sessions)
    metrics.queued_tokens.set(load.queued_tokens + reading.backlog.waiting_tokens)
    metrics.behind_bytes.set(reading.backlog.behind_bytes)
    metrics.sessions.labels(tier="device").set(len(residents))
    metrics.memory_bytes.labels(tier="device").set(residents.held_bytes)
    metrics.unstored_oldest_seconds.set(max((live.unstored_seconds for live in residents), default=0.0))
    metrics.store_up.set(await _is_up(store))


async def _is_up(store: Store) -> bool:
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await store.ready()
    except Exception:
        return False
    return True
