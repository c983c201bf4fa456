"""A reader ends at shutdown, whatever it is doing, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from model.tokenizer import TextTokenizer
from server.ingest.reader_state import State
from server.store.base import Lease, SessionKey, SessionRecord
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


class AppendedAtTheRelease(MemoryStore):
    """A store that calls `arrived` with the record, once, just after the reader has released its lease for good."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: Callable[[SessionRecord], object] | None = None

    async def release(self, lease: Lease) -> None:
        await super().release(lease)
        if (arrived := self.arrived) is not None:
            self.arrived = None
            record = (await self.append(KEY, len(TEXT), b"And more.", 2.0)).record
            asyncio.get_running_loop().call_soon(arrived, record)


async def test_text_that_arrives_while_the_reader_ends_is_read(tokenizer: TextTokenizer) -> None:
    store = AppendedAtTheRelease()
    async with running_readers(store, tokenizer) as readers, asyncio.timeout(30):
        store.arrived = readers.wake
        reader = readers.wake(await with_text(store, KEY))
        while reader.running:
            await reader.ended()
            # The end of a task is known to its callbacks a turn of the event loop later.
            await asyncio.sleep(0)
        assert store.arrived is None
        assert reader.progress.offset == len(TEXT) + len(b"And more.")


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
