"""What an append costs of the store before it is acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from model.tokenizer import TextTokenizer
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.sessions.errors import ContentConflict, InvalidUtf8, OffsetMismatch
from server.sessions.pieces import Passage
from server.sessions.receipts import Receipts
from server.sessions.registry import NewSession
from server.sessions.service import SessionService
from server.settings import Settings
from server.store.base import PIECE_BYTES_MAX, SessionKey, SessionRecord, Store
from server.store.in_memory import MemoryStore
from testing.models import random_model, tiny_config

pytestmark = pytest.mark.anyio

KEY = SessionKey("a", "book")


class CountingStore:
    """A store that counts the calls of one user of it; `before_append` is awaited once, ahead of the next append."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.calls = Counter[str]()
        self.before_append: Callable[[], Awaitable[Any]] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def counted(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if name == "append" and self.before_append is not None:
                before, self.before_append = self.before_append, None
                await before()
            return await method(*arguments, **named)

        return counted

    def counted(self) -> dict[str, int]:
        """The calls since this was asked last."""
        calls, self.calls = dict(self.calls), Counter()
        return calls


class Bench:
    """A service whose store counts, with readers that use the same store uncounted."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        model = random_model(tiny_config())
        self.raw = MemoryStore()
        self.store = CountingStore(self.raw)
        self.engine = Engine(ModelRunner(model), Scheduler(32, 4, 8), 4, observe=lambda step, seconds: None)
        loaded, settings, metrics = LoadedModel("tiny", "f00d", model, tokenizer), Settings(), Metrics()
        self.readers = SessionReaders(self.raw, self.engine, loaded, settings, metrics)
        store = cast(Store, self.store)
        self.service = SessionService(
            store, self.readers, self.engine, loaded, settings, metrics, Receipts(b"of the test")
        )

    async def append(self, text: bytes, offset: int | None = None, document: str | None = None) -> int:
        return (await self.service.uploads.append(KEY, offset, once(text, document))).accepted_bytes

    async def marks(self) -> list[tuple[int, str]]:
        return [(mark.offset, mark.name) for mark in (await self.raw.get(KEY)).marks]


async def once(text: bytes, document: str | None = None) -> AsyncIterator[Passage]:
    yield Passage(text, document)


@pytest.fixture
async def bench(tokenizer: TextTokenizer) -> AsyncIterator[Bench]:
    bench = Bench(tokenizer)
    bench.engine.start()
    await bench.service.registry.create(KEY.tenant, NewSession(KEY.id))
    bench.store.counted()
    yield bench
    await bench.readers.close()
    await asyncio.to_thread(bench.engine.stop)


@pytest.mark.parametrize("at_offset", [False, True])
async def test_an_append_is_one_get_and_one_append_whatever_the_text_ended_with(bench: Bench, at_offset: bool) -> None:
    end = 0
    for text in (b"once ", "é".encode()[:1], "é".encode()[1:] + b" read", b"!"):
        assert await bench.append(text, end if at_offset else None) == end + len(text)
        end += len(text)
        assert bench.store.counted() == {"get": 1, "append": 1}


@pytest.mark.parametrize("at_offset", [False, True])
async def test_each_further_piece_of_a_body_is_one_append_more(bench: Bench, at_offset: bool) -> None:
    await bench.append(b"\n" * (2 * PIECE_BYTES_MAX + 1), 0 if at_offset else None)
    assert bench.store.counted() == {"get": 1, "append": 3}


async def test_repeated_text_is_one_get_and_one_append(bench: Bench) -> None:
    text = "né here".encode()
    await bench.append(text, 0)
    bench.store.counted()
    assert await bench.append(text[2:] + b" and there", 2) == len(text) + 10
    assert bench.store.counted() == {"get": 1, "append": 1}


async def test_an_append_to_the_end_follows_what_another_replica_appends_meanwhile(bench: Bench) -> None:
    bench.store.before_append = lambda: bench.raw.append(KEY, 0, b"other ", 1.0)
    assert await bench.append(b"mine") == len(b"other mine")
    assert await bench.raw.journal(KEY, 0, 99) == b"other mine"
    assert bench.store.counted() == {"get": 2, "append": 2}


async def test_what_another_replica_appends_meanwhile_may_end_inside_a_character(bench: Bench) -> None:
    bench.store.before_append = lambda: bench.raw.append(KEY, 0, "é".encode()[:1], 1.0)
    with pytest.raises(InvalidUtf8) as refused:
        await bench.append(b"mine")
    assert refused.value.members == {"expected_offset": 1}


@pytest.mark.parametrize("same", [False, True])
async def test_an_append_at_an_offset_that_another_replica_appends_at_meanwhile(bench: Bench, same: bool) -> None:
    await bench.append(b"once ")
    bench.store.counted()
    bench.store.before_append = lambda: bench.raw.append(KEY, 5, b"read" if same else b"more", 1.0)
    if same:
        assert await bench.append(b"read", 5) == 9
    else:
        with pytest.raises(ContentConflict) as refused:
            await bench.append(b"read", 5)
        assert refused.value.members == {"expected_offset": 9}
    assert bench.store.counted() == {"get": 1, "append": 1}


async def test_a_record_without_its_open_bytes_costs_one_journal_read(bench: Bench) -> None:
    """As those that the version before wrote."""
    await bench.raw.delete(KEY)
    await bench.raw.create(SessionRecord(KEY, 1.0, 1.0, "tiny", "f00d", open_bytes=None))
    assert await bench.append(b"once ") == 5
    assert bench.store.counted() == {"get": 1, "journal": 1, "append": 1}
    assert await bench.append(b"read") == 9
    assert bench.store.counted() == {"get": 1, "append": 1}


@pytest.mark.parametrize("at_offset", [False, True])
async def test_what_comes_between_the_pieces_of_a_body_ends_it_and_its_rest_goes_on_with_its_document(
    bench: Bench, at_offset: bool
) -> None:
    body, end = b"a" * (PIECE_BYTES_MAX + 1), 5 + PIECE_BYTES_MAX

    async def other() -> None:
        await bench.raw.append(KEY, end, b"b", 1.0, document="other")

    async def before_the_first() -> None:
        bench.store.before_append = other

    await bench.append(b"once ")
    bench.store.before_append = before_the_first
    with pytest.raises(ContentConflict if at_offset else OffsetMismatch) as refused:
        await bench.append(body, 5 if at_offset else None, "mine")
    assert refused.value.members == {"expected_offset": end + 1}
    await bench.append(body[-1:], end + 1 if at_offset else None, "mine")
    assert await bench.marks() == [(5, "mine"), (end, "other"), (end + 1, "mine")]
    assert await bench.append(body[-1:]) == end + 3
    assert len(await bench.marks()) == 3
