"""Which sessions stay in the cache: those with a memory, as many as fit."""

from __future__ import annotations

import asyncio
from unittest import mock

import pytest

from model.tokenizer import TextTokenizer
from server.engine.engine import Engine
from server.ingest import readers as readers_module
from server.ingest.reader_state import State
from server.ingest.readers import SessionReaders
from server.store.base import SessionKey, StoreUnavailable
from server.store.in_memory import MemoryStore
from tests.server.ingest.running import running_readers, with_text

pytestmark = pytest.mark.anyio

SESSIONS = 20


async def all_ended(readers: SessionReaders) -> None:
    async with asyncio.timeout(60):
        for reader in readers:
            await reader.ended()


async def test_sessions_that_another_replica_reads_are_evicted(tokenizer: TextTokenizer) -> None:
    """Each sweep wakes every unread session of the store, those that another replica reads too."""
    store = MemoryStore()
    async with running_readers(store, tokenizer) as readers:
        for number in range(SESSIONS):
            record = await with_text(store, SessionKey("a", str(number)))
            await store.lease(record.key, "another", 60.0)
            readers.wake(record, ask=False)
        assert readers.resident == SESSIONS
        await all_ended(readers)
        assert (readers.resident, readers.resident_bytes) == (0, 0)
        assert readers.backlog.unread_bytes == 0, "the text is in the other replica's backlog"


async def test_the_number_of_resident_sessions_is_bounded(tokenizer: TextTokenizer) -> None:
    store = MemoryStore()
    with mock.patch.object(readers_module, "RESIDENT_SESSIONS_MAX", 3):
        async with running_readers(store, tokenizer) as readers:
            keys = [SessionKey("a", str(number)) for number in range(SESSIONS)]
            for key in keys:
                await readers.reach(await with_text(store, key))
            await all_ended(readers)
            assert [key for key in keys if readers.find(key)] == keys[-3:]


async def test_memories_are_stored_and_restored_by_way_of_the_engine(tokenizer: TextTokenizer) -> None:
    """Its thread is the only one that may use the device."""
    store = MemoryStore()
    to_host, to_device = (
        mock.patch.object(Engine, name, autospec=True, side_effect=getattr(Engine, name))
        for name in ("to_host", "to_device")
    )
    with to_host as stored, to_device as restored:
        async with running_readers(store, tokenizer) as readers:
            record = await with_text(store, SessionKey("a", "book"))
            await readers.reach(record)
        assert stored.call_count > 0
        assert restored.call_count == 0
        async with running_readers(store, tokenizer) as readers:
            await readers.reach(await store.get(record.key))
        assert restored.call_count == 1


async def test_a_session_stays_resident_while_the_store_is_unavailable(tokenizer: TextTokenizer) -> None:
    """Nobody else would try again: a store of one process is swept only at its start."""
    store = MemoryStore()
    async with running_readers(store, tokenizer) as readers:
        record = await with_text(store, SessionKey("a", "book"))
        with (
            mock.patch.object(store, "lease", side_effect=StoreUnavailable("no connection")),
            mock.patch.object(asyncio.get_running_loop(), "call_later") as later,
        ):
            reader = readers.wake(record)
            await reader.ended()
            assert reader.state is State.WAITING_FOR_STORE
            assert readers.find(record.key) is reader
            with pytest.raises(StoreUnavailable):
                await readers.reach(record)
        later.call_args.args[1]()
        await reader.ended()
        assert (reader.state, reader.progress.complete) == (State.STOPPED, True)
