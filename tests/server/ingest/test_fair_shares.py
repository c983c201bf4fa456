"""A tenant whose texts are slow to read delays no other tenant's reads, questions or appends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from model.tokenizer import TextTokenizer
from server.ingest.backlog import TOKEN_BYTES
from server.ingest.readers import SessionReaders
from server.store.base import SessionKey
from server.store.in_memory import MemoryStore
from tests.server.ingest.running import TEXT, running_readers, with_text

pytestmark = pytest.mark.anyio


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
    async with running_readers(store, tokenizer, observe, reading_sessions_max=1) as readers:
        try:
            yield readers
        finally:
            store.open.set()


async def test_a_session_is_read_while_another_tenant_fills_all_places(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with one_reader_at_a_time(store, tokenizer) as readers:
        theirs = [await with_text(store, SessionKey("a", str(number))) for number in range(3)]
        for record in theirs:
            readers.wake(record)
        reached = await readers.reach(await with_text(store, SessionKey("b", "lone")))
        assert reached.read.state.offset == len(TEXT)
        assert readers.queued == 2
        store.open.set()
        for record in theirs:
            assert (await readers.reach(record)).read.state.offset == len(TEXT)
        assert readers.queued == 0


async def test_backpressure_applies_to_the_tenant_with_the_backlog(tokenizer: TextTokenizer) -> None:
    store = SlowForOne()
    async with one_reader_at_a_time(store, tokenizer) as readers:
        theirs = await with_text(store, SessionKey("a", "long"))
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
        state = (await readers.reach(await with_text(store, SessionKey("b", "read")))).read.state
        readers.wake(await with_text(store, SessionKey("a", "unread")))
        expected = len(TEXT) * state.tokens / state.offset
        assert readers.backlog.waiting_tokens == pytest.approx(expected)
        assert expected != len(TEXT) / TOKEN_BYTES


async def test_text_handed_to_the_engine_is_not_counted_as_waiting(tokenizer: TextTokenizer) -> None:
    seen: list[tuple[int, float]] = []

    def observe() -> None:
        seen.append((readers.backlog.unread_bytes, readers.backlog.waiting_tokens))

    store = SlowForOne()
    async with one_reader_at_a_time(store, tokenizer, observe) as readers:
        await readers.reach(await with_text(store, SessionKey("b", "read")))
    assert set(seen) == {(len(TEXT), 0.0)}
