"""A tenant whose texts are slow to read delays no other tenant's reads, questions or appends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from server.ingest.readers import SessionReaders

from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.backlog import TOKEN_BYTES
from server.observability.metrics import Metrics
from server.settings import Settings
from server.store.base import SessionKey, SessionRecord
from server.store.in_memory import MemoryStore
from testing.models import prose, random_model, tiny_config

pytestmark = pytest.mark.anyio

TEXT = prose(91, 900).encode()


class SlowForOne(MemoryStore):
    """A store that gives out tenant a's text only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        if key.tenant == "a":
            await self.open.wait()
        return await super().journal(key, offset, limit)


@asynccontextmanager
async def one_reader_at_a_time(
    store: SlowForOne, tokenizer: TextTokenizer, observe: Callable[[], None] = lambda: None
) -> AsyncIterator[SessionReaders]:
    model = random_model(tiny_config())
    engine = Engine(ModelRunner(model), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: observe())
    engine.start()
    loaded = LoadedModel("tiny", "f00d", model, tokenizer)
    readers = SessionReaders(store, engine, loaded, Settings(reading_sessions_max=1, idle_seconds=0.0), Metrics())
    try:
        yield readers
    finally:
        store.open.set()
        await readers.close()
        engine.stop()


async def with_text(store: MemoryStore, tenant: str, id_: str) -> SessionRecord:
    key = SessionKey(tenant, id_)
    await store.create(SessionRecord(key, 1.0, 1.0, "tiny", "f00d", lineage=f"{tenant} {id_}"))
    return (await store.append(key, 0, TEXT, time.time())).record


async def test_a_session_is_read_while_another_tenant_fills_all_places(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with one_reader_at_a_time(store, tokenizer) as readers:
        theirs = [await with_text(store, "a", str(number)) for number in range(3)]
        for record in theirs:
            readers.wake(record)
        reached = await readers.reach(await with_text(store, "b", "lone"))
        assert reached.read.state.offset == len(TEXT)
        assert readers.queued == 2
        store.open.set()
        for record in theirs:
            assert (await readers.reach(record)).read.state.offset == len(TEXT)
        assert readers.queued == 0


async def test_backpressure_applies_to_the_tenant_with_the_backlog(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with one_reader_at_a_time(store, tokenizer) as readers:
        theirs = await with_text(store, "a", "long")
        readers.wake(theirs)
        backlog, limit = readers.backlog, len(TEXT)
        assert (backlog.unread_bytes, backlog.waiting_tokens) == (limit, limit / TOKEN_BYTES)
        assert not backlog.has_room("a", limit)
        assert backlog.has_room("b", limit)
        waiting = asyncio.ensure_future(readers.room(theirs.key, limit))
        await readers.room(SessionKey("b", "lone"), limit)
        assert not waiting.done()
        store.open.set()
        await waiting
        await readers.reach(theirs)
        assert (backlog.unread_bytes, backlog.waiting_tokens) == (0, 0)
        assert backlog.has_room("a", limit)


async def test_waiting_tokens_are_estimated_from_the_bytes_per_token_read_so_far(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with one_reader_at_a_time(store, tokenizer) as readers:
        state = (await readers.reach(await with_text(store, "b", "read"))).read.state
        readers.wake(await with_text(store, "a", "unread"))
        expected = len(TEXT) * state.tokens / state.offset
        assert readers.backlog.waiting_tokens == pytest.approx(expected)
        assert expected != len(TEXT) / TOKEN_BYTES


async def test_text_that_the_engine_has_is_not_counted_as_waiting(tokenizer: TextTokenizer) -> None:
    seen: list[tuple[int, float]] = []

    def observe() -> None:
        seen.append((readers.backlog.unread_bytes, readers.backlog.waiting_tokens))

    store = SlowForOne()
    async with one_reader_at_a_time(store, tokenizer, observe) as readers:
        await readers.reach(await with_text(store, "b", "read"))
    assert set(seen) == {(len(TEXT), 0.0)}
