"""A reader ends at shutdown, whatever it is doing, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from model.tokenizer import TextTokenizer
from server.ingest.session_state import State
from server.store.base import SessionKey
from server.store.in_memory import MemoryStore
from tests.server.ingest.running import TEXT, running_readers, with_text

pytestmark = pytest.mark.anyio

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
    store = HeldAtTheEnd()
    async with running_readers(store, tokenizer, idle_seconds=3600.0) as readers:
        record = await with_text(store, KEY)
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


async def test_a_session_that_is_dropped_is_freed_without_a_garbage_collection(tokenizer: TextTokenizer) -> None:
    """Its memory may be large, and the collector rarely comes."""
    store = MemoryStore()
    async with running_readers(store, tokenizer) as readers:
        record = await with_text(store, KEY)
        gc.disable()
        try:
            await readers.reach(record)
            reader = readers.find(KEY)
            assert reader is not None
            await reader.ended()
            assert reader.state is State.STOPPED
            await readers.forget(reader)
            freed = weakref.ref(reader)
            del reader
            assert freed() is None
        finally:
            gc.enable()


async def test_a_reader_that_is_cancelled_before_it_begins_wakes_those_who_wait(tokenizer: TextTokenizer) -> None:
    """The session is still there, so it is read by a new one."""
    store = MemoryStore()
    async with running_readers(store, tokenizer) as readers:
        record = await with_text(store, KEY)
        reader = readers.wake(record)
        waiting = asyncio.ensure_future(readers.reach(record))
        await readers.forget(reader)
        assert reader.state is State.DROPPED
        async with asyncio.timeout(30):
            assert (await waiting).read.state.offset == len(TEXT)
