"""Reading that is told to end ends, whatever it was about to do."""

from __future__ import annotations

import asyncio
import time

import pytest

from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.reader import Reading
from server.observability.metrics import Metrics
from server.settings import Settings
from server.store.base import SessionKey, SessionRecord
from server.store.in_memory import MemoryStore
from testing.models import prose, random_model, tiny_config

pytestmark = pytest.mark.anyio

TEXT = prose(91, 900).encode()
KEY = SessionKey("a", "book")


class HeldAtTheEnd(MemoryStore):
    """A store that keeps whoever has read all text waiting for the answer that there is no more."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        if offset == len(TEXT):
            self.asked.set()
            await self.answer.wait()
        return await super().journal(key, offset, limit)


async def test_an_end_in_the_middle_of_a_stint_is_not_forgotten_behind_it(tokenizer: TextTokenizer) -> None:
    """With nothing left to read it would else wait for more text, for as long as a session may be idle."""
    model, store = random_model(tiny_config()), HeldAtTheEnd()
    engine = Engine(ModelRunner(model), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: None)
    engine.start()
    loaded = LoadedModel("tiny", "f00d", model, tokenizer)
    reading = Reading(store, engine, loaded, Settings(idle_seconds=3600.0), Metrics())
    await store.create(SessionRecord(KEY, 1.0, 1.0, "tiny", "f00d", lineage="of the book"))
    try:
        record = (await store.append(KEY, 0, TEXT, time.time())).record
        async with asyncio.timeout(30):
            await reading.reach(record)
            while not store.asked.is_set():
                # As a question does: whoever waits for more text looks for it.
                reading.wake(record)
                await asyncio.wait([asyncio.create_task(store.asked.wait())], timeout=0.1)
            # It halts before it waits for anybody, so the answer comes to one that was told to end.
            asyncio.get_running_loop().call_soon(store.answer.set)
            await reading.close()
        assert (await store.get(KEY)).read_bytes > 0, "what was read is stored"
    finally:
        engine.stop()
