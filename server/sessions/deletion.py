"""DeletionService: removes a document from a session for certain, from its memories and from the store's files."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from model import documents
from model.checkpoint import documents_of
from model.weights import LoadedModel
from server.ingest.readers import SessionReaders
from server.ingest.session_progress import ReadState
from server.sessions import errors
from server.sessions.documents import DocumentService
from server.sessions.registry import SessionRegistry
from server.sessions.snapshots import ATTEMPTS, SnapshotService
from server.store.base import (
    Range,
    Redaction,
    SessionKey,
    SessionRecord,
    SnapshotMissing,
    StaleCheckpoint,
    Store,
    StoredCheckpoint,
)
from server.store.rules import branched_lineage


@dataclass(frozen=True)
class Deleted:
    """What was deleted: where it stood in the text, and which snapshots do not have it any more, or still have it."""

    record: SessionRecord
    name: str
    ranges: tuple[Range, ...]
    tokens: int
    followed: tuple[str, ...]
    kept: tuple[str, ...]
    receipt: str


class _Following(NamedTuple):
    """Snapshots without the document, by name; the names of those that keep it, and of those that never had it."""

    followed: Mapping[str, StoredCheckpoint]
    kept: tuple[str, ...]
    others: tuple[str, ...]


class DeletionService:
    def __init__(
        self,
        store: Store,
        readers: SessionReaders,
        registry: SessionRegistry,
        listing: DocumentService,
        snapshots: SnapshotService,
        loaded: LoadedModel,
    ) -> None:
        self._store = store
        self._readers = readers
        self._registry = registry
        self._listing = listing
        self._snapshots = snapshots
        self._loaded = loaded

    async def delete(self, key: SessionKey, name: str, follow: bool) -> Deleted:
        """Deletes a document once all text acknowledged before now was read; with `follow`, from snapshots too.

        `DocumentMissing`, `NotForgettable`, `ReadingBehind`; `Overloaded` where text is appended all the time.
        """
        for _ in range(ATTEMPTS):
            record, read = await self._listing.reached(key)
            state = read.state
            ranges = tuple(Range(*range_) for range_ in documents.ranges_of(state.documents, name))
            if not ranges:
                raise errors.DocumentMissing("the session has no document of this name; list its documents")
            if state.documents[-1].name == name and record.open_bytes:
                raise errors.InvalidUtf8("the document ends inside a character; send the rest of it first")
            checkpoint = await self._without(read, name, record.version + 1)
            try:
                followed, kept, others = await self._following(key, name, follow)
            except SnapshotMissing:
                # Dropped while it was looked at.
                continue
            redaction = Redaction(ranges, checkpoint, followed, (*kept, *others))
            lineage = branched_lineage(record.lineage, secrets.token_hex(8))
            try:
                redacted = await self._store.redact(record, redaction, lineage, time.time())
            except StaleCheckpoint:
                continue
            if (reader := self._readers.find(key)) is not None:
                await self._readers.forget(reader)
            tokens = sum(part.tokens for part in state.documents if part.name == name)
            receipt = self._registry.receipt(redacted)
            return Deleted(redacted, name, ranges, tokens, tuple(followed), kept, receipt)
        raise errors.Overloaded("text is appended faster than the document can be deleted; send the request again")

    async def _following(self, key: SessionKey, name: str, follow: bool) -> _Following:
        """What happens to each snapshot; only the head of one that does not change is looked at."""
        followed, kept, others = dict[str, StoredCheckpoint](), list[str](), list[str]()
        for snapshot in await self._store.snapshots(key):
            found, stored = await self._store.load_snapshot(key, snapshot.name)
            if not documents.ranges_of(documents_of(stored.value), name):
                others.append(snapshot.name)
            elif not follow:
                kept.append(snapshot.name)
            else:
                _, state = await self._snapshots.snapshot(key, snapshot.name)
                read = ReadState(state, found.info.chain)
                followed[snapshot.name] = await self._without(read, name, found.info.version)
        return _Following(followed, tuple(kept), tuple(others))

    async def _without(self, read: ReadState, name: str, version: int) -> StoredCheckpoint:
        """The state without the document, as it is stored."""
        state = read.state
        memory = self._loaded.model.without(state.memory, documents.ranges_of(state.documents, name))
        if memory is None:
            raise errors.NotForgettable(
                "the memory of this model mixes all that it has read, and cannot forget one document; delete the "
                "session, and send its other documents to a new one"
            )
        return await self._readers.memories.encode(ReadState(state.without(name, memory), read.chain), version)
