"""The registry of readers: one for each resident session, found by key, started when there is text, evicted by use."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator

from model.weights import LoadedModel
from server.engine.engine import Engine
from server.engine.fair_semaphore import FairSemaphore
from server.ingest.backlog import Backlog
from server.ingest.checkpointer import Checkpointer, CheckpointPolicy
from server.ingest.errors import ReaderDropped, ReaderStopped, ReadingFailed
from server.ingest.lease_manager import LeaseManager
from server.ingest.memories import Memories
from server.ingest.reader_state import State
from server.ingest.session_cache import SessionCache
from server.ingest.session_progress import MemorySource, Progress, Reached
from server.ingest.session_reader import SessionReader
from server.ingest.shared import Shared
from server.ingest.text_reader import TextReader
from server.observability.metrics import Metrics
from server.settings import Settings
from server.store.base import SessionKey, SessionMissing, SessionRecord, Store

log = logging.getLogger(__name__)

# Memories may be so small that `resident_bytes` does not bound their number.
RESIDENT_SESSIONS_MAX = 65_536


class SessionReaders:
    """Keeps the memory of every session up with its accepted text."""

    def __init__(self, store: Store, engine: Engine, loaded: LoadedModel, settings: Settings, metrics: Metrics) -> None:
        policy = CheckpointPolicy(
            settings.checkpoint_segments, settings.checkpoint_seconds, settings.checkpoint_bytes_per_second
        )
        self._store = store
        self._engine = engine
        self._places = FairSemaphore(settings.reading_sessions_max)
        self.memories = Memories(store, engine, loaded)
        self._shared = Shared(
            store,
            TextReader(engine, loaded, metrics),
            Checkpointer(store, self.memories, metrics, policy),
            policy,
            self._places,
            LeaseManager(store, settings.lease_seconds),
            settings.idle_seconds,
        )
        self._cache: SessionCache[SessionKey, SessionReader] = SessionCache(
            settings.resident_bytes, RESIDENT_SESSIONS_MAX
        )
        # The newest sessions that the model failed at, by their lineage; reading has not begun again since.
        self._failed: dict[SessionKey, str] = {}
        self.backlog = Backlog()
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether the server is shutting down: no more text is read."""
        return self._stopping

    @property
    def queued(self) -> int:
        """How many sessions wait for a place to be read in."""
        return self._places.waiting

    def __iter__(self) -> Iterator[SessionReader]:
        return iter(self._cache)

    @property
    def resident(self) -> int:
        """How many sessions have a reader."""
        return len(self._cache)

    @property
    def resident_bytes(self) -> int:
        return self._cache.size_bytes

    @property
    def unstored_seconds(self) -> float:
        """How long the oldest memory that is not stored has waited for it."""
        since = [reader.unstored_since for reader in self._cache.pinned if reader.unstored_since is not None]
        return time.monotonic() - min(since) if since else 0.0

    def find(self, key: SessionKey) -> SessionReader | None:
        """The session's reader, which counts as used."""
        return self._cache.use(key)

    def has_failed(self, record: SessionRecord) -> bool:
        """Whether the model failed when the session was last read here: only a request has it tried again."""
        return self._failed.get(record.key) == record.lineage

    def wake(self, record: SessionRecord, ask: bool = True) -> SessionReader:
        """Reads the session up to its accepted text; with `ask`, the lease is asked for if another replica holds it."""
        self._failed.pop(record.key, None)
        reader = self._cache.use(record.key)
        if reader is None or reader.progress.lineage != record.lineage:
            if reader is not None:
                self._remove(reader)
            reader = SessionReader(record, self._shared, self)
            self._cache.put(record.key, reader)
            self.backlog.add(record.key.tenant, reader.progress)
        self._cache.pin(record.key)
        reader.wake(record, ask)
        if not reader.running:
            self.ended(reader)
        return reader

    async def reach(self, record: SessionRecord) -> Reached:
        """The session's state once it covers the accepted text.

        Raises `MemoryDamaged`, `SessionMissing`, `ReaderStopped`, or the store's failure.
        """
        if (found := self._cache.use(record.key)) is not None and not found.progress.follows(record):
            await self._verify(found, record)
        reader = self.wake(record)
        resident = reader.progress.read is not None
        while not reader.progress.covers(record):
            if reader.progress.contradicts(record):
                await self._verify(reader, record)
            if not reader.running:
                if isinstance(reader.failure, ReaderDropped):
                    await self._must_exist(record)
                elif reader.failure is not None:
                    raise reader.failure
                if self._stopping:
                    raise ReaderStopped("the server is shutting down before the text was read")
                reader = self.wake(record)
            # The reader may be another one by now.
            if not reader.progress.covers(record):
                await reader.change()
        assert reader.progress.read is not None
        source = MemorySource("device", 0.0) if resident else MemorySource("store", reader.restore_seconds)
        return Reached(reader.progress.read, reader.progress.version, source)

    async def room(self, key: SessionKey, unread_bytes_max: int) -> None:
        """Returns when the tenant has room for more text, or this session is not being read, or at shutdown."""
        while not self.backlog.has_room(key.tenant, unread_bytes_max) and not self._stopping:
            reader = self._cache.use(key)
            if reader is None or not reader.running:
                return
            await reader.change()

    async def forget(self, reader: SessionReader) -> None:
        """Drops a session's memory and ends its reader; callers that wait for it ask the store again."""
        self._remove(reader)
        await reader.ended()

    async def close(self) -> None:
        """Stops reading at the next step, stores every memory that is not stored yet, and returns."""
        self._stopping = True
        self._engine.halt_reading()
        for reader in self:
            reader.notify()
        await asyncio.gather(*(reader.ended() for reader in self))

    def progressed(self, reader: SessionReader, before: Progress) -> None:
        if self._cache.peek(reader.key) is not reader:
            return
        self.backlog.remove(reader.key.tenant, before)
        self.backlog.add(reader.key.tenant, reader.progress)
        self._cache.hold(reader.key, reader.progress.blocks)
        self._trim()

    def ended(self, reader: SessionReader) -> None:
        if self._cache.peek(reader.key) is not reader:
            return
        if reader.state is State.FAILED or (reader.state is State.STOPPED and reader.progress.read is None):
            # Without a memory there is nothing to keep.
            self._remove(reader)
            if isinstance(reader.failure, ReadingFailed):
                self._failed[reader.key] = reader.progress.lineage
                if len(self._failed) > RESIDENT_SESSIONS_MAX:
                    del self._failed[next(iter(self._failed))]
        elif reader.state is State.STOPPED:
            self._cache.unpin(reader.key)
            self._trim()

    def _remove(self, reader: SessionReader) -> None:
        if self._cache.peek(reader.key) is reader:
            self._cache.pop(reader.key)
            self._leave(reader)

    def _trim(self) -> None:
        for evicted in self._cache.trim():
            self._leave(evicted)

    def _leave(self, reader: SessionReader) -> None:
        self.backlog.remove(reader.key.tenant, reader.progress)
        reader.drop()

    async def _verify(self, reader: SessionReader, record: SessionRecord) -> None:
        """Drops the resident state if the store has another text: it was rolled back, or it is another session."""
        if reader.progress.contradicts(record) or not reader.progress.follows(await self._store.get(record.key)):
            log.warning("the text that was read of a session is not the text in the store: it is read again")
            await self.forget(reader)

    async def _must_exist(self, record: SessionRecord) -> None:
        """Raises `SessionMissing` unless the store still has this very session."""
        if (await self._store.get(record.key)).lineage != record.lineage:
            raise SessionMissing("the session was deleted while its text was read")
