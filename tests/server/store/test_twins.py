"""The SQLite and the Redis store give the same answers as the in-memory store, for random calls in random order.

Dicts of the appended texts, and of the document of each of their bytes, check all three, so that they cannot agree on
a wrong text.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from server.store import open_store
from server.store.base import Appended, Mark, SessionKey, SessionRecord, Snapshot, Store, StoreError
from server.store.in_memory import MemoryStore
from testing.redis_servers import RedisServer
from tests.server.store.conftest import keys_file
from tests.server.store.samples import acknowledged, beginning, checkpoint, keep, read, record

KEYS = [SessionKey("acme", "a"), SessionKey("acme", "b"), SessionKey("other", "a")]

keys = st.sampled_from(KEYS)
texts = st.text("ab", min_size=1, max_size=6).map(str.encode)
places = st.floats(0, 1)
names = st.sampled_from(["x", "y"])
documents = st.sampled_from([None, None, "", "Emma", "第一章"])


def marks_of(owners: list[str]) -> tuple[Mark, ...]:
    """The marks of a text of whose bytes these are the documents."""
    before = ["", *owners]
    return tuple(Mark(at, name) for at, name in enumerate(owners) if name != before[at])


async def outcome(operation: Coroutine[Any, Any, object]) -> object:
    """The operation's result, or its error as type, message and attributes."""
    try:
        return await operation
    except (StoreError, ValueError) as error:
        return type(error).__name__, str(error), vars(error)


class Twins(RuleBasedStateMachine):
    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.addresses = {"sqlite": f"sqlite:///{self.folder.name}", "redis": self.redis.url}
        self.redis.command("FLUSHALL")
        self.stores = {name: self.opened(name) for name in self.addresses}
        self.memory = MemoryStore()
        self.uploads: dict[SessionKey, bytes] = {}
        self.owners: dict[SessionKey, list[str]] = {}
        self.kept: dict[tuple[SessionKey, str], bytes] = {}
        self.clock = 0.0

    def opened(self, name: str) -> Store:
        return self.runner.run(open_store(self.addresses[name], keys_file(Path(self.folder.name))))

    def both(self, ask: Callable[[Store], Coroutine[Any, Any, object]]) -> object:
        of_memory = self.runner.run(outcome(ask(self.memory)))
        for name, store in self.stores.items():
            assert self.runner.run(outcome(ask(store))) == of_memory, name
        return of_memory

    def now(self) -> float:
        self.clock += 1
        return self.clock

    def sought(self, key: SessionKey) -> SessionRecord:
        """The session's record, or that of a session that does not exist."""
        return self.runner.run(self.memory.get(key)) if key in self.uploads else record(key.id, key.tenant)

    def forget(self, key: SessionKey) -> None:
        self.uploads.pop(key, None)
        self.kept = {place: text for place, text in self.kept.items() if place[0] != key}

    @rule(key=keys, created_at=st.sampled_from([1.0, 2.0]), keep_text=st.booleans())
    def create(self, key: SessionKey, created_at: float, keep_text: bool) -> None:
        new = replace(record(key.id, key.tenant, created_at), keep_text=keep_text, lineage=str(self.now()))
        if self.both(lambda store: store.create(new)) is None:
            self.uploads[key], self.owners[key] = b"", []

    @rule(key=keys, source=keys, part=places, keep_text=st.booleans())
    def fork(self, key: SessionKey, source: SessionKey, part: float, keep_text: bool) -> None:
        text = self.uploads.get(source, b"")
        text = text[: round(part * len(text))]
        memory = read(text, int(self.now()))
        owners = self.owners.get(source, [])[: len(text)]
        new = replace(beginning(record(key.id, key.tenant), memory), keep_text=keep_text, lineage=str(self.clock))
        new = replace(new, marks=marks_of(owners))
        if self.both(lambda store: store.create(new, memory)) is None:
            self.uploads[key], self.owners[key] = text, owners

    @rule(key=keys)
    def delete(self, key: SessionKey) -> None:
        self.both(lambda store: store.delete(key))
        self.forget(key)

    @rule(key=keys, name=names, part=places, other=st.booleans())
    def keep_snapshot(self, key: SessionKey, name: str, part: float, other: bool) -> None:
        text = self.uploads.get(key, b"")
        text = text[: round(part * len(text))] + b"x" * other
        memory, at, lineage = read(text, int(self.now())), self.clock, self.sought(key).lineage
        if isinstance(self.both(lambda store: store.keep_snapshot(key, name, lineage, memory, at)), Snapshot):
            self.kept[key, name] = text

    @rule(key=keys, name=names)
    def load_snapshot(self, key: SessionKey, name: str) -> None:
        answer = self.both(lambda store: store.load_snapshot(key, name))
        if (key, name) in self.kept:
            text = self.kept[key, name]
            assert isinstance(answer, tuple)
            assert answer[1] == read(text, answer[1].info.version)

    @rule(key=keys, name=names)
    def drop_snapshot(self, key: SessionKey, name: str) -> None:
        self.both(lambda store: store.drop_snapshot(key, name))
        self.kept.pop((key, name), None)

    @rule(key=keys, name=names)
    def go_back(self, key: SessionKey, name: str) -> None:
        """Rewinds to a snapshot's text, even if the session's text has changed since."""
        self.rewind(key, self.kept.get((key, name), b"other"), 1)

    @rule(key=keys, part=places, version=st.sampled_from([0, 1, 1, 2]))
    def go_back_a_part(self, key: SessionKey, part: float, version: int) -> None:
        text = self.uploads.get(key, b"")
        self.rewind(key, text[: round(part * len(text))], version)

    def rewind(self, key: SessionKey, text: bytes, version: int) -> None:
        now, at = self.sought(key), self.now()
        memory = read(text, now.version + version)
        # A memory of other text may have other documents.
        own = self.uploads.get(key, b"").startswith(text)
        owners = self.owners.get(key, [])[: len(text)] if own else ["other"] * len(text)
        marks = marks_of(owners)
        if isinstance(self.both(lambda store: store.rewind(now, memory, str(at), at, marks)), SessionRecord):
            self.uploads[key], self.owners[key] = text, owners

    @rule(key=keys)
    def rebuild(self, key: SessionKey) -> None:
        now, at = self.sought(key), self.now()
        self.both(lambda store: store.rebuild(now, "model", str(at), str(at), at))

    @rule(key=keys, metadata=st.none() | st.just({"a": "b"}), ttl_seconds=st.sampled_from([None, 1.0, 5.0, 0.0]))
    def revise(self, key: SessionKey, metadata: dict[str, str] | None, ttl_seconds: float | None) -> None:
        at = self.now()
        change: dict[str, object] = {} if metadata is None else {"metadata": metadata}
        if ttl_seconds != 0.0:
            change["ttl_seconds"] = ttl_seconds
        self.both(lambda store: store.revise(key, change, at))

    @rule(key=keys, piece=texts, document=documents)
    def append(self, key: SessionKey, piece: bytes, document: str | None) -> None:
        self.send(key, len(self.uploads.get(key, b"")), piece, document)

    @rule(key=keys, low=places, high=places, more=st.binary(max_size=3), document=documents)
    def append_again(self, key: SessionKey, low: float, high: float, more: bytes, document: str | None) -> None:
        text = self.uploads.get(key, b"")
        first, last = sorted((round(low * len(text)), round(high * len(text))))
        self.send(key, first, text[first:last] + more, document)

    @rule(key=keys, offset=st.integers(-1, 40), piece=texts)
    def append_anywhere(self, key: SessionKey, offset: int, piece: bytes) -> None:
        self.send(key, offset, piece)

    def send(self, key: SessionKey, offset: int, piece: bytes, document: str | None = None) -> None:
        at = self.now()
        answer = self.both(lambda store: store.append(key, offset, piece, at, document=document))
        if isinstance(answer, Appended):
            text = self.uploads[key]
            assert text[offset : offset + len(piece)] == piece[: len(text) - offset]
            self.uploads[key] = text + piece[len(text) - offset :]
            owners = self.owners[key]
            name = (owners[-1] if owners else "") if document is None else document
            self.owners[key] = owners + [name] * (len(self.uploads[key]) - len(text))
            assert acknowledged(answer) == (len(self.uploads[key]), self.uploads[key] == text)

    @rule(key=keys, ahead=places)
    def checkpoint(self, key: SessionKey, ahead: float) -> None:
        if key in self.uploads:
            kept = self.runner.run(self.memory.get(key))
            offset = kept.read_bytes + round(ahead * (kept.accepted_bytes - kept.read_bytes))
            at = self.now()
            answer = self.both(lambda store: keep(store, key, checkpoint(kept.version + 1, offset), at))
            assert answer is None

    @rule(key=keys, version=st.integers(0, 4), offset=st.integers(0, 40))
    def checkpoint_anywhere(self, key: SessionKey, version: int, offset: int) -> None:
        at = self.now()
        self.both(lambda store: keep(store, key, checkpoint(version, offset), at))

    @rule(key=keys, offset=st.integers(-1, 40), limit=st.integers(-1, 40))
    def journal(self, key: SessionKey, offset: int, limit: int) -> None:
        answer = self.both(lambda store: store.journal(key, offset, limit))
        if isinstance(answer, bytes):
            assert answer == self.uploads[key][offset : offset + limit]

    @rule(key=keys, reason=st.text(max_size=3))
    def quarantine(self, key: SessionKey, reason: str) -> None:
        at = self.now()
        self.both(lambda store: store.quarantine(key, reason, at))

    @rule(limit=st.integers(-1, 3), after=st.sampled_from([None, "a", "b", "c"]))
    def list_sessions(self, limit: int, after: str | None) -> None:
        self.both(lambda store: store.list_sessions("acme", limit, after))

    @rule(bytes_min=st.integers(1, 20))
    def unread(self, bytes_min: int) -> None:
        async def found(store: Store) -> object:
            return sorted(await store.unread(bytes_min), key=lambda record: record.key)

        self.both(found)

    @rule(key=keys)
    def touch(self, key: SessionKey) -> None:
        at = self.now()
        self.both(lambda store: store.touch(key, at))

    @rule(key=keys, ttl_seconds=st.sampled_from([1.0, 5.0]))
    def create_for_a_time(self, key: SessionKey, ttl_seconds: float) -> None:
        mortal = replace(
            record(key.id, key.tenant, self.now()), ttl_seconds=ttl_seconds, expires_at=self.clock + ttl_seconds
        )
        if self.both(lambda store: store.create(mortal)) is None:
            self.uploads[key], self.owners[key] = b"", []

    @rule()
    def expire(self) -> None:
        at = self.now()

        async def expired(store: Store) -> object:
            return sorted(await store.expire(at))

        over = self.both(expired)
        assert isinstance(over, list)
        for key in over:
            self.forget(key)

    @rule()
    def compare_all(self) -> None:
        for tenant in ("acme", "other"):
            assert self.both(lambda store, tenant=tenant: store.count(tenant)) == sum(  # type: ignore[misc]
                key.tenant == tenant for key in self.uploads
            )
            self.both(lambda store, tenant=tenant: store.stored_bytes(tenant))  # type: ignore[misc]
        for key in KEYS:
            self.both(lambda store, key=key: store.get(key))  # type: ignore[misc]
            self.both(lambda store, key=key: store.recover(key))  # type: ignore[misc]
            self.both(lambda store, key=key: store.snapshots(key))  # type: ignore[misc]
            if key in self.uploads:
                kept_from = self.runner.run(self.memory.recover(key)).journal_offset
                kept = self.both(lambda store, key=key, low=kept_from: store.journal(key, low, 999))  # type: ignore[misc]
                assert kept == self.uploads[key][kept_from:]
                self.must_be_marked(key, kept_from)

    def must_be_marked(self, key: SessionKey, kept_from: int) -> None:
        """The marks name the document of each byte from there on, and of the last byte, and no earlier ones."""
        found, whole = self.runner.run(self.memory.get(key)), marks_of(self.owners[key])
        assert len(found.marks) + found.marks_trimmed == len(whole)
        assert found.marks == whole[len(whole) - len(found.marks) :]
        assert sum(mark.offset < kept_from for mark in whole) - found.marks_trimmed <= 1 or found.keep_text
        assert not found.marks_trimmed or found.marks[0].offset <= kept_from

    @rule()
    def reopen(self) -> None:
        for name in self.stores:
            self.runner.run(self.stores[name].close())
            self.stores[name] = self.opened(name)

    def teardown(self) -> None:
        self.compare_all()
        self.reopen()
        self.compare_all()
        for store in self.stores.values():
            self.runner.run(store.close())
        self.runner.close()
        self.folder.cleanup()


@pytest.fixture(scope="module", autouse=True)
def redis(redis_server: RedisServer) -> None:
    Twins.redis = redis_server


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=25, stateful_step_count=30, deadline=None, database=None)
