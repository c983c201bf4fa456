"""Documents are read where they begin, also in text that another replica appends while the session is read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tokenizer import TextTokenizer
from server.ingest.text_reader import READ_STEP_BYTES, steps
from server.store.base import Mark, SessionKey
from server.store.in_memory import MemoryStore
from tests.server.ingest.running import running_readers, with_text

pytestmark = pytest.mark.anyio

KEY = SessionKey("a", "book")


@given(st.sets(st.integers(0, 60_000), max_size=6), st.integers(0, 20_000), st.integers(0, 40_000))
def test_text_is_cut_where_documents_begin(begins: set[int], offset: int, size: int) -> None:
    marks = [Mark(begin, f"{begin}") for begin in sorted(begins)]
    data, reached = bytes(number % 251 for number in range(size)), offset
    for part, name in steps(data, offset, marks):
        assert 0 < len(part) <= READ_STEP_BYTES
        assert part == data[reached - offset : reached - offset + len(part)]
        assert name == (f"{reached}" if reached in begins else None)
        assert not any(reached < begin < reached + len(part) for begin in begins)
        reached += len(part)
    assert reached == offset + size


class AppendedMeanwhile(MemoryStore):
    """A store to which another replica appends a document just before the reader reads the journal."""

    appended = False

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        if not self.appended:
            self.appended = True
            end = (await self.get(key)).accepted_bytes
            await self.append(key, end, b"Of another replica.", time.time(), document="other")
        return await super().journal(key, offset, limit)


async def test_no_text_is_read_before_its_marks_are_known(tokenizer: TextTokenizer) -> None:
    store = AppendedMeanwhile()
    async with running_readers(store, tokenizer) as readers:
        record = await with_text(store, KEY)
        await readers.reach(record)
        reached = await readers.reach(await store.get(KEY))
        [document] = reached.read.state.documents
        assert (document.name, document.offset, document.size) == ("other", record.accepted_bytes, 19)
