"""The service: the use cases in plain words, and whether it takes new work now.

It knows what may be done with sessions, texts, copies and questions, each of which has a file of its own; nothing of
HTTP or threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from model.checkpoint import Checkpoint
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.ingest.reader import Reading
from server.ingest.resident_session import MemorySource
from server.observability.metrics import Metrics
from server.sessions import errors
from server.sessions.answers import AnswerService, QueryContext
from server.sessions.receipts import Receipts
from server.sessions.registry import SessionRegistry
from server.sessions.snapshots import SnapshotService
from server.sessions.uploads import UploadService
from server.settings import Settings
from server.store.base import SessionKey, Store

# How often a question that waits for text of others looks whether it has come.
LOOK_SECONDS = 0.2


class SessionService:
    """Sessions of all tenants: their texts go in by offset, questions are answered from their memories."""

    def __init__(
        self,
        store: Store,
        reading: Reading,
        engine: Engine,
        loaded: LoadedModel,
        settings: Settings,
        metrics: Metrics,
        receipts: Receipts,
    ) -> None:
        self._store, self._reading, self._engine, self._settings = store, reading, engine, settings
        self._nothing = Checkpoint.empty(loaded.model.initial_memory(1))
        self.registry = SessionRegistry(store, reading, loaded, settings, metrics, receipts)
        self.uploads = UploadService(store, reading, self.registry, settings)
        self.snapshots = SnapshotService(store, reading, self.registry, loaded)
        self.answers = AnswerService(engine, loaded, settings.answer_seconds, metrics)
        self.draining = False

    @property
    def durability(self) -> str:
        """What acknowledged text survives."""
        return self._store.durability

    async def ask(
        self, key: SessionKey, receipt: str | None = None, min_offset: int = 0, snapshot: str | None = None
    ) -> QueryContext:
        """The memory as of everything acknowledged before now, and of at least `min_offset`; or that of a snapshot."""
        asked_at = time.perf_counter()
        record = await self.registry.readable(key, receipt)
        if snapshot is not None:
            found, state = await self.snapshots.snapshot(key, snapshot)
            origin = MemorySource("store", time.perf_counter() - asked_at)
            return self.answers.standpoint(asked_at, state, found.version, origin)
        while record.accepted_bytes < min_offset:
            if time.perf_counter() - asked_at > self._settings.answer_seconds or self.draining:
                raise errors.OffsetMismatch(
                    f"the question waited for text up to offset {min_offset}; the text ends at "
                    f"{record.accepted_bytes}: send the rest first",
                    expected_offset=record.accepted_bytes,
                )
            await asyncio.sleep(LOOK_SECONDS)
            record = await self.registry.readable(key, receipt)
        reached, live, origin = await self._reading.reach(record)
        await self.registry.use(record)
        return self.answers.standpoint(asked_at, reached.state, max(live.version, record.version), origin)

    async def remember(self, key: SessionKey, question: str, answer: str) -> None:
        """Puts a question and its answer behind the session's text."""
        await self.uploads.append(key, None, _once(f"\n{question}\n{answer}\n".encode()))

    def without_session(self) -> QueryContext:
        """The memory that has read nothing."""
        return self.answers.standpoint(time.perf_counter(), self._nothing, 0, MemorySource("device", 0.0))

    def overload(self, tenant: str) -> str | None:
        """Why no more work of a tenant is taken now, or None."""
        if not self._engine.has_room(tenant):
            return f"{self._engine.load().answers_waiting} questions are waiting"
        if not self._reading.backlog.has_room(tenant, self._settings.backlog_bytes):
            return f"{self._reading.backlog.behind_bytes} bytes of text are waiting to be read"
        return None


async def _once(text: bytes) -> AsyncIterator[bytes]:
    yield text
