"""SnapshotService: copies of a memory (forks, snapshots, exported files) and the ways back to them.

A memory is a value, so a copy is the same value stored under another name.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from model.checkpoint import Checkpoint, CheckpointError, ForeignCheckpoint, documents_of, export, load
from model.documents import DOCUMENTS_MAX, NAME_BYTES_MAX, Document
from model.memory import UnsoundMemory
from model.tokenizer import InvalidText
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.ingest.readers import SessionReaders
from server.ingest.session_progress import Reached, ReadState
from server.sessions import errors
from server.sessions.registry import NewSession, SessionRegistry, SessionView
from server.store.base import (
    DamagedValue,
    Mark,
    SessionKey,
    SessionRecord,
    Snapshot,
    SnapshotTaken,
    StaleCheckpoint,
    Store,
    StoredCheckpoint,
    TooManySnapshots,
)
from server.store.rules import branched_lineage
from server.store.text_hash import EMPTY_CHAIN, extended

ATTEMPTS = 10


class SnapshotService:
    def __init__(
        self,
        store: Store,
        readers: SessionReaders,
        registry: SessionRegistry,
        engine: Engine,
        loaded: LoadedModel,
    ) -> None:
        self._store = store
        self._readers = readers
        self._registry = registry
        self._engine = engine
        self._loaded = loaded
        self._memories = readers.memories

    async def fork(self, source: SessionKey, snapshot: str | None, new: NewSession) -> SessionView:
        """A new session with the source's memory, as of everything acknowledged before now or as of a snapshot."""
        record = await self._registry.present(source)
        if snapshot is None:
            record, reached = await self._now(source)
            start = await self._memories.encode(reached.read, 1)
        else:
            found, start = await self._store.load_snapshot(source, snapshot)
            self._registry.must_belong(found.fingerprint)
        metadata = record.metadata if new.metadata is None else new.metadata
        start = replace(start, info=start.info._replace(version=1))
        marks = _marks(documents_of(start.value))
        return await self._registry.create(source.tenant, replace(new, metadata=metadata), start, marks, source)

    async def take(self, key: SessionKey, name: str) -> Snapshot:
        """Keeps the memory as of everything acknowledged before now, under a name."""
        record, reached = await self._now(key)
        value = await self._memories.encode(reached.read, max(reached.version, record.version, 1))
        try:
            return await self._store.keep_snapshot(key, name, record.lineage, value, time.time())
        except SnapshotTaken:
            raise errors.SnapshotExists(f"a snapshot named {name} exists; choose another name, or delete it") from None
        except TooManySnapshots as error:
            raise errors.QuotaExceeded(str(error)) from None

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        await self._registry.present(key)
        return await self._store.snapshots(key)

    async def snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, Checkpoint]:
        """A snapshot, and the state that it keeps."""
        await self._registry.present(key)
        found, value = await self._store.load_snapshot(key, name)
        self._registry.must_belong(found.fingerprint)
        return found, await self._opened(key, name, value)

    async def drop(self, key: SessionKey, name: str) -> None:
        await self._registry.present(key)
        await self._store.drop_snapshot(key, name)

    async def restore(self, key: SessionKey, name: str) -> SessionView:
        """Back to a snapshot: what came after it is forgotten."""
        record = await self._registry.present(key)
        found, value = await self._store.load_snapshot(key, name)
        for fingerprint in (record.fingerprint, found.fingerprint):
            self._registry.must_belong(fingerprint)
        state = await self._opened(key, name, value)
        marks = _marks(state.documents)

        async def rewind(record: SessionRecord) -> SessionRecord:
            start = replace(value, info=value.info._replace(version=record.version + 1))
            return await self._store.rewind(record, start, _branched(record), time.time(), marks)

        return await self._moved(key, rewind)

    async def rebuild(self, key: SessionKey) -> SessionView:
        """Reads the kept text again from its beginning, with this server's weights."""

        async def again(record: SessionRecord) -> SessionRecord:
            if not record.keep_text:
                raise errors.TextNotKept(
                    "the session does not keep its text; create one with keep_text and send the text to it"
                )
            name, fingerprint = self._loaded.name, self._loaded.fingerprint
            return await self._store.rebuild(record, name, fingerprint, _branched(record), time.time())

        return await self._moved(key, again)

    async def exported(self, key: SessionKey) -> tuple[SessionRecord, int, bytes]:
        """The record, and the memory as of everything acknowledged before now: its offset, and a safetensors file."""
        record, reached = await self._now(key)
        state = reached.read.state
        on_host = replace(state, memory=await self._engine.to_host(state.memory))
        return record, state.offset, await asyncio.to_thread(export, on_host, self._loaded.fingerprint)

    async def imported(self, key: SessionKey, file: bytes) -> SessionView:
        """A new session with the memory in `file`, which is validated as a whole before a byte is used."""
        try:
            state = await asyncio.to_thread(self._checked, file)
        except ForeignCheckpoint as error:
            self._registry.must_belong(error.found)
            raise
        except CheckpointError as error:
            raise errors.InvalidMemoryFile(f"the file is not a valid memory: {error}; export it again") from None
        # The text that it was read from is not in the file: its hash begins with the file itself.
        start = await self._memories.encode(ReadState(state, extended(EMPTY_CHAIN, file)), 1)
        return await self._registry.create(key.tenant, NewSession(key.id), start, _marks(state.documents))

    @property
    def file_bytes_max(self) -> int:
        """The largest file that a valid memory can have."""
        model = self._loaded.model
        return model.memory_bytes_max + 8 * model.config.segment_tokens + DOCUMENTS_MAX * NAME_BYTES_MAX + (1 << 20)

    async def _now(self, key: SessionKey) -> tuple[SessionRecord, Reached]:
        """The record, and the state as of everything acknowledged before now."""
        record = await self._registry.readable(key)
        return record, await self._readers.reach(record)

    async def _moved(self, key: SessionKey, move: Callable[[SessionRecord], Awaitable[SessionRecord]]) -> SessionView:
        """The session once `move` has changed its record; tried again when the reader's checkpoint came first."""
        for _ in range(ATTEMPTS):
            record = await self._registry.present(key)
            try:
                moved = await move(record)
            except StaleCheckpoint:
                continue
            if (reader := self._readers.find(key)) is not None:
                await self._readers.forget(reader)
            self._readers.wake(moved)
            return self._registry.view(moved)
        raise errors.Overloaded("the reader's checkpoints come faster than the change; send the request again")

    async def _opened(self, key: SessionKey, name: str, snapshot: StoredCheckpoint) -> Checkpoint:
        try:
            return await self._memories.open(key, snapshot)
        except CheckpointError as error:
            raise DamagedValue(f"snapshot {name} of session {key.id!r} ({error})") from error

    def _checked(self, file: bytes) -> Checkpoint:
        """The state in an imported file; `CheckpointError` where no text could have led to it."""
        state, config = load(file, self._loaded.fingerprint, self._memories.initial), self._loaded.model.config
        try:
            self._loaded.model.must_be_of_a_text(state.memory)
        except UnsoundMemory as error:
            raise CheckpointError(str(error)) from error
        if not all(0 <= token < config.vocab_size for token in state.tail):
            raise CheckpointError("the tail has token ids outside of the vocabulary")
        if len(state.tail) >= config.segment_tokens:
            raise CheckpointError("the tail is as long as a segment")
        # Where a document begins behind other text, one to `segment_tokens` tokens close the text before it.
        closed = self._loaded.model.document_fill is not None
        closings = sum(part.offset > 0 for part in state.documents) if closed else 0
        fill_tokens = state.segments * config.segment_tokens + len(state.tail) - state.tokens
        if not closings <= fill_tokens <= closings * config.segment_tokens:
            raise CheckpointError("the counts of tokens, segments and documents do not agree")
        # A token has at least one byte.
        if state.offset < state.tokens + len(state.pending):
            raise CheckpointError("the offset is less than its tokens have bytes")
        try:
            self._loaded.tokenizer.flush(state.pending)
        except InvalidText as error:
            raise CheckpointError(f"the pending bytes are {error}") from None
        return state


def _marks(documents: Sequence[Document]) -> tuple[Mark, ...]:
    return tuple(Mark(part.offset, part.name) for part in documents)


def _branched(record: SessionRecord) -> str:
    return branched_lineage(record.lineage, secrets.token_hex(8))
