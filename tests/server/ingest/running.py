"""Readers over a store in memory and a real engine with a small random model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.settings import Settings
from server.store.base import SessionKey, SessionRecord, Store
from testing.models import prose, random_model, tiny_config

TEXT = prose(91, 900).encode()


@asynccontextmanager
async def running_readers(
    store: Store, tokenizer: TextTokenizer, observe: Callable[[], None] = lambda: None, **settings: float
) -> AsyncIterator[SessionReaders]:
    """Closed at the end, unless the test has done it."""
    model = random_model(tiny_config())
    engine = Engine(ModelRunner(model), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: observe())
    engine.start()
    loaded = LoadedModel("tiny", "f00d", model, tokenizer)
    readers = SessionReaders(
        store, engine, loaded, Settings.model_validate({"idle_seconds": 0.0} | settings), Metrics()
    )
    try:
        yield readers
    finally:
        await readers.close()
        engine.stop()


async def with_text(store: Store, key: SessionKey, text: bytes = TEXT) -> SessionRecord:
    """A new session that has accepted the text."""
    await store.create(SessionRecord(key, 1.0, 1.0, "tiny", "f00d", lineage=f"{key.tenant} {key.id}"))
    return (await store.append(key, 0, text, time.time())).record
