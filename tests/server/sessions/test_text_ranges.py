"""A range of a text that changes meanwhile, and what showing one does to the session's expiry."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.sessions.receipts import Receipts
from server.sessions.registry import NewSession
from server.sessions.service import SessionService
from server.sessions.text_ranges import TextRangeService
from server.settings import Settings
from server.store.base import SessionKey
from server.store.in_memory import MemoryStore
from testing.models import random_model, tiny_config

pytestmark = pytest.mark.anyio

KEY = SessionKey("a", "book")


class AppendedMeanwhile(MemoryStore):
    """A store to which another document is appended just before kept text is read, once all of it was read."""

    appends = False

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        if self.appends:
            self.appends = False
            end = (await self.get(key)).accepted_bytes
            await self.append(key, end, b"Of another document.", time.time(), document="other")
        return await super().journal(key, offset, limit)


@pytest.fixture
def store() -> AppendedMeanwhile:
    return AppendedMeanwhile()


@pytest.fixture
async def ranges(store: AppendedMeanwhile, tokenizer: TextTokenizer) -> AsyncIterator[TextRangeService]:
    """Those of a session that keeps its text, under a memory that holds none."""
    model = random_model(tiny_config())
    engine = Engine(ModelRunner(model), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: None)
    engine.start()
    loaded, settings, metrics = LoadedModel("tiny", "f00d", model, tokenizer), Settings(), Metrics()
    readers = SessionReaders(store, engine, loaded, settings, metrics)
    service = SessionService(store, readers, engine, loaded, settings, metrics, Receipts(b"of the test"))
    await service.registry.create(KEY.tenant, NewSession(KEY.id, ttl_seconds=1000, keep_text=True))
    await store.append(KEY, 0, b"Of one document.", time.time(), document="one")
    yield service.text_ranges
    await readers.close()
    engine.stop()


async def test_a_range_ends_with_the_text_whose_documents_are_known(
    store: AppendedMeanwhile, ranges: TextRangeService
) -> None:
    before = await ranges.read(KEY, 3, 100)
    store.appends = True
    assert await ranges.read(KEY, 3, 100) == before == (3, 13, "one document.", "one")
    assert not store.appends
    assert await ranges.read(KEY, 16, 100) == (16, 20, "Of another document.", "other")


async def test_showing_a_range_extends_the_sessions_expiry(
    store: AppendedMeanwhile, ranges: TextRangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 500
    monkeypatch.setattr(time, "time", lambda: later)
    await ranges.read(KEY, 0, 9)
    assert (await store.get(KEY)).expires_at == later + 1000
