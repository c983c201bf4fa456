"""A session that the model fails at is tried again at a request, and not at every sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from unittest.mock import patch

import pytest

from model.memory import MemoryState
from model.tokenizer import TextTokenizer
from server.engine.engine import Engine, ReadResult, StepFailed
from server.ingest.errors import ReadingFailed
from server.ingest.sweeper import Sweeper
from server.store.base import SessionKey
from server.store.in_memory import MemoryStore
from tests.server.ingest.running import TEXT, running_readers, with_text

pytestmark = pytest.mark.anyio

KEY = SessionKey("a", "book")


async def test_a_sweep_does_not_try_again_and_a_request_does(
    tokenizer: TextTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    store, whole, attempts = MemoryStore(), Engine.read, 0

    async def read(engine: Engine, memory: MemoryState, segments: Sequence[Sequence[int]], tenant: str) -> ReadResult:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise StepFailed("the model failed at this work: RuntimeError: secret")
        return await whole(engine, memory, segments, tenant)

    async with running_readers(store, tokenizer) as readers, asyncio.timeout(30):
        with patch.object(Engine, "read", read):
            record = await with_text(store, KEY)
            with pytest.raises(ReadingFailed, match="behind offset 0"):
                await readers.reach(record)
            assert attempts == 1
            assert "reading session 'book' failed" in caplog.text
            assert readers.find(KEY) is None, "it keeps no memory and no place"
            sweeper = Sweeper(store, readers, record.fingerprint, 8, 3600.0)
            await sweeper.start()
            await sweeper.stop()
            assert (attempts, readers.find(KEY)) == (1, None)
            with pytest.raises(ReadingFailed):
                await readers.reach(record)
            assert attempts == 2
            assert (await readers.reach(record)).read.state.offset == len(TEXT)
            assert not readers.has_failed(record)
