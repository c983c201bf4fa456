"""A store that takes no memory any more: its text is read to the end all the same, and stored when there is room."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest

from model.tokenizer import TextTokenizer
from server.ingest import session_reader
from server.ingest.reader_state import State
from server.store.base import Lease, SessionKey, StaleCheckpoint, StoredCheckpoint, StoreFull
from server.store.in_memory import MemoryStore
from tests.server.ingest.running import TEXT, running_readers, with_text

pytestmark = pytest.mark.anyio

KEY = SessionKey("a", "book")


class FullStore(MemoryStore):
    """It counts the leases that it gives, and how often it refuses a checkpoint because it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.refused, self.leases = True, 0, 0
        self.refused_often, self.kept = asyncio.Event(), asyncio.Event()

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        self.leases += 1
        return await super().lease(key, holder, seconds, ask)

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        if self.full:
            self.refused += 1
            if self.refused == 5:
                self.refused_often.set()
            raise StoreFull("no room")
        await super().checkpoint(lease, checkpoint, at)
        self.kept.set()


async def test_the_text_is_read_once_to_its_end_and_stored_when_there_is_room(tokenizer: TextTokenizer) -> None:
    store = FullStore()
    with mock.patch.object(session_reader, "RETRY_SECONDS", 0.01):
        async with running_readers(store, tokenizer, checkpoint_segments=1) as readers, asyncio.timeout(30):
            reached = await readers.reach(await with_text(store, KEY))
            assert reached.read.state.offset == len(TEXT)
            reader = readers.find(KEY)
            assert reader is not None
            await store.refused_often.wait()
            assert reader.progress.read is reached.read, "nothing was read again"
            store.full = False
            await store.kept.wait()
            await reader.ended()
            assert (reader.state, store.leases) == (State.STOPPED, 1)
        assert (await store.recover(KEY)).checkpoints[0].offset == len(TEXT)


async def test_another_replica_that_asks_gets_the_session_although_its_memory_was_not_stored(
    tokenizer: TextTokenizer,
) -> None:
    store = FullStore()
    async with running_readers(store, tokenizer, idle_seconds=60.0) as readers, asyncio.timeout(30):
        record = await with_text(store, KEY)
        await readers.reach(record)
        async with running_readers(store, tokenizer) as others:
            assert (await others.reach(record)).read.state.offset == len(TEXT)


async def test_a_shutdown_does_not_wait_for_room(tokenizer: TextTokenizer) -> None:
    store = FullStore()
    async with running_readers(store, tokenizer, idle_seconds=60.0) as readers, asyncio.timeout(30):
        await readers.reach(await with_text(store, KEY))
        await readers.close()
    assert store.refused > 0
    assert await store.journal(KEY, 0, len(TEXT)) == TEXT


async def test_a_memory_that_is_stale_when_there_is_room_is_read_anew(tokenizer: TextTokenizer) -> None:
    store = MemoryStore()
    outcomes = [StoreFull("no room"), StaleCheckpoint("another replica has read on"), None]
    with (
        mock.patch.object(session_reader, "RETRY_SECONDS", 0.01),
        mock.patch.object(store, "checkpoint", side_effect=outcomes),
    ):
        async with running_readers(store, tokenizer) as readers, asyncio.timeout(30):
            reader = readers.wake(await with_text(store, KEY))
            await reader.ended()
            assert (reader.state, reader.failure, reader.progress.offset) == (State.STOPPED, None, len(TEXT))
