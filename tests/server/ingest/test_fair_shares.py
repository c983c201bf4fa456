"""One tenant's texts that are slow to be read hold up nobody else's reading, questions or appends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.backlog import TOKEN_BYTES
from server.ingest.reader import Reading
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
async def reading_one_at_a_time(
    store: SlowForOne, tokenizer: TextTokenizer, observe: Callable[[], None] = lambda: None
) -> AsyncIterator[Reading]:
    model = random_model(tiny_config())
    engine = Engine(ModelRunner(model), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: observe())
    engine.start()
    loaded = LoadedModel("tiny", "f00d", model, tokenizer)
    reading = Reading(store, engine, loaded, Settings(reading_sessions_max=1, idle_seconds=0.0), Metrics())
    try:
        yield reading
    finally:
        store.open.set()
        await reading.close()
        engine.stop()


async def with_text(store: MemoryStore, tenant: str, id_: str) -> SessionRecord:
    key = SessionKey(tenant, id_)
    await store.create(SessionRecord(key, 1.0, 1.0, "tiny", "f00d", lineage=f"{tenant} {id_}"))
    return (await store.append(key, 0, TEXT, time.time())).record


async def test_a_session_is_read_though_anothers_fill_all_places(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with reading_one_at_a_time(store, tokenizer) as reading:
        theirs = [await with_text(store, "a", str(number)) for number in range(3)]
        for record in theirs:
            reading.wake(record)
        reached, _, _ = await reading.reach(await with_text(store, "b", "lone"))
        assert reached.state.offset == len(TEXT)
        assert reading.waiting_sessions == 2
        store.open.set()
        for record in theirs:
            assert (await reading.reach(record))[0].state.offset == len(TEXT)
        assert reading.waiting_sessions == 0


async def test_a_backlog_is_its_own_tenants(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with reading_one_at_a_time(store, tokenizer) as reading:
        theirs = await with_text(store, "a", "long")
        reading.wake(theirs)
        backlog, limit = reading.backlog, len(TEXT)
        assert (backlog.behind_bytes, backlog.waiting_tokens) == (limit, limit / TOKEN_BYTES)
        assert not backlog.has_room("a", limit)
        assert backlog.has_room("b", limit)
        waiting = asyncio.ensure_future(reading.room(theirs.key, limit))
        await reading.room(SessionKey("b", "lone"), limit)
        assert not waiting.done()
        store.open.set()
        await waiting
        await reading.reach(theirs)
        assert (backlog.behind_bytes, backlog.waiting_tokens) == (0, 0)
        assert backlog.has_room("a", limit)


async def test_unread_text_counts_by_the_bytes_that_a_token_had(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with reading_one_at_a_time(store, tokenizer) as reading:
        state = (await reading.reach(await with_text(store, "b", "read")))[0].state
        reading.wake(await with_text(store, "a", "unread"))
        expected = len(TEXT) * state.tokens / state.offset
        assert reading.backlog.waiting_tokens == pytest.approx(expected)
        assert expected != len(TEXT) / TOKEN_BYTES


async def test_text_that_the_engine_has_is_not_counted_twice(tokenizer: TextTokenizer) -> None:
    seen: list[tuple[int, float]] = []

    def observe() -> None:
        seen.append((reading.backlog.behind_bytes, reading.backlog.waiting_tokens))

    store = SlowForOne()
    async with reading_one_at_a_time(store, tokenizer, observe) as reading:
        await reading.reach(await with_text(store, "b", "read"))
    assert set(seen) == {(len(TEXT), 0.0)}
