"""A reader ends at shutdown, whatever it is doing."""

from __future__ import annotations

import asyncio
import time

import pytest
from server.ingest.readers import SessionReaders

from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.observability.metrics import Metrics
from server.settings import Settings
from server.store.base import SessionKey, SessionRecord
from server.store.in_memory import MemoryStore
from testing.models import prose, random_model, tiny_config

pytestmark = pytest.mark.anyio

TEXT = prose(91, 900).encode()
KEY = SessionKey("a", "book")


class HeldAtTheEnd(MemoryStore):
    """A store that holds back the answer that there is no more text."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        if offset == len(TEXT):
            self.asked.set()
            await self.answer.wait()
        return await super().journal(key, offset, limit)


async def test_a_shutdown_in_the_middle_of_a_time_slice_ends_the_reader(tokenizer: TextTokenizer) -> None:
    """Otherwise it would wait for more text for `idle_seconds`, because all text is read."""
    model, store = random_model(tiny_config()), HeldAtTheEnd()
    engine = Engine(ModelRunner(model), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: None)
    engine.start()
    loaded = LoadedModel("tiny", "f00d", model, tokenizer)
    readers = SessionReaders(store, engine, loaded, Settings(idle_seconds=3600.0), Metrics())
    await store.create(SessionRecord(KEY, 1.0, 1.0, "tiny", "f00d", lineage="of the book"))
    try:
        record = (await store.append(KEY, 0, TEXT, time.time())).record
        async with asyncio.timeout(30):
            await readers.reach(record)
            while not store.asked.is_set():
                # As a question does: an idle reader looks for more text when it is woken.
                readers.wake(record)
                await asyncio.wait([asyncio.create_task(store.asked.wait())], timeout=0.1)
            # The shutdown is known before the answer comes.
            asyncio.get_running_loop().call_soon(store.answer.set)
            await readers.close()
        assert (await store.get(KEY)).read_bytes > 0, "what was read is stored"
    finally:
        engine.stop()
