"""UploadService: appends bodies to a session's text by offset, in pieces, each durable before it is acknowledged.

An append costs two calls of the store, its record and the append itself, and one more for each further piece.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from weakref import WeakValueDictionary

from server.ingest.readers import SessionReaders
from server.sessions import errors
from server.sessions.pieces import OPEN_BYTES_MAX, Passage, TextCheck, pieces
from server.sessions.registry import SessionRegistry
from server.settings import Settings
from server.store.base import (
    Appended,
    ContentConflict,
    OffsetMismatch,
    SessionKey,
    SessionRecord,
    StaleCheckpoint,
    Store,
)

USAGE_SECONDS = 10.0


@dataclass(frozen=True)
class TextState:
    """The result of an append: how far the text is durable and how far it has been read, and a receipt."""

    accepted_bytes: int
    read_bytes: int
    tokens: int
    replayed: bool = False
    receipt: str = ""


class UploadService:
    def __init__(self, store: Store, readers: SessionReaders, registry: SessionRegistry, settings: Settings) -> None:
        self._store = store
        self._readers = readers
        self._registry = registry
        self._settings = settings
        self._ends: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()
        self._usage: dict[str, tuple[float, int]] = {}

    async def append(
        self, key: SessionKey, offset: int | None, body: AsyncIterator[Passage], receipt: str | None = None
    ) -> TextState:
        """Makes the body durable piece by piece from `offset` on (None: the end); it is read in the background.

        What was durable before a failure stays durable, and the error names how far that is. Bodies without an
        offset are not interleaved: the next one waits with its first piece until the one before has ended. What
        another replica appends between two pieces ends the body with `OffsetMismatch` or `ContentConflict`, so a body
        that names no document lies in one document.
        `TextRolledBack` when the store has lost text that the `receipt` was given for.
        """
        record = await self._registry.readable(key, receipt)
        if offset is not None and offset > record.accepted_bytes:
            raise _mismatch(record.accepted_bytes, offset)
        await self._must_fit(key.tenant)
        arriving = pieces(body)
        async with aclosing(arriving):
            first = await anext(arriving, None)
            if first is None:
                return self._state(record, False)
            if offset is not None:
                return await self._append_at(record, offset, first, arriving)
            async with self._ends.setdefault(key, asyncio.Lock()):
                return await self._append_at_end(record, first, arriving)

    async def wait_read(self, key: SessionKey) -> TextState:
        """Returns when the text that is accepted now has been read."""
        record = await self._registry.present(key)
        await self._readers.reach(record)
        return self._state(await self._store.get(key), False)

    async def _append_at(
        self, record: SessionRecord, offset: int, first: Passage, following: AsyncIterator[Passage]
    ) -> TextState:
        """Appends from `offset` on; what was accepted before comes again, and the store compares it.

        `record` may be older than the text: from its end on the body is checked, and what was accepted since is
        compared too.
        """
        text = TextCheck(await self._open_bytes(record), record.accepted_bytes - offset)
        position, replayed = offset, True
        async for piece in _chained(first, following):
            await self._room(record)
            _check(text, piece, record.accepted_bytes)
            appended = await self._append_piece(record.key, position, piece, repeats=True)
            position, record = position + len(piece.data), appended.record
            replayed = replayed and appended.replayed
            self._readers.wake(record)
        return self._state(record, replayed)

    async def _append_at_end(
        self, record: SessionRecord, first: Passage, following: AsyncIterator[Passage]
    ) -> TextState:
        """Appends where the text ends when the turn of this body comes; the rest follows the first piece."""
        record, text = await self._append_first(record, first)
        async for piece in following:
            await self._room(record)
            _check(text, piece, record.accepted_bytes)
            record = (await self._append_piece(record.key, record.accepted_bytes, piece, repeats=False)).record
            self._readers.wake(record)
        return self._state(record, False)

    async def _append_first(self, record: SessionRecord, piece: Passage) -> tuple[SessionRecord, TextCheck]:
        """Appends at the end of the text, which other replicas may have moved on since the record was read."""
        while True:
            text = TextCheck(await self._open_bytes(record))
            await self._room(record)
            try:
                _check(text, piece, record.accepted_bytes)
                appended = await self._store.append(
                    record.key, record.accepted_bytes, piece.data, time.time(), False, piece.document
                )
            except OffsetMismatch:
                record = await self._store.get(record.key)
            except errors.InvalidUtf8:
                newest = await self._store.get(record.key)
                if newest.accepted_bytes == record.accepted_bytes:
                    raise
                record = newest
            else:
                self._readers.wake(appended.record)
                return appended.record, text

    async def _room(self, record: SessionRecord) -> None:
        """Returns when there is room for more unread text; `Draining` when the server shuts down first."""
        await self._readers.room(record.key, self._settings.backlog_bytes)
        if self._readers.stopping:
            accepted = record.accepted_bytes
            raise errors.Draining(
                f"the text is durable up to offset {accepted}; continue from there", expected_offset=accepted
            )

    async def _must_fit(self, tenant: str) -> None:
        """`QuotaExceeded` when the tenant's sessions have reached their bytes; measured every USAGE_SECONDS."""
        limit = self._settings.tenant_stored_bytes_max
        if limit is None:
            return
        looked_at, stored_bytes = self._usage.get(tenant, (-USAGE_SECONDS, 0))
        if time.monotonic() - looked_at >= USAGE_SECONDS or stored_bytes >= limit:
            stored_bytes = await self._store.stored_bytes(tenant)
            self._usage[tenant] = (time.monotonic(), stored_bytes)
        if stored_bytes >= limit:
            raise errors.QuotaExceeded(
                f"{stored_bytes} of {limit} bytes are stored; delete sessions or snapshots first"
            )

    async def _append_piece(self, key: SessionKey, position: int, piece: Passage, repeats: bool) -> Appended:
        try:
            return await self._store.append(key, position, piece.data, time.time(), repeats, piece.document)
        except OffsetMismatch as error:
            raise _mismatch(error.accepted_bytes, position) from None
        except ContentConflict as error:
            raise errors.ContentConflict(
                f"other bytes are stored from offset {position} on; the text is durable up to {error.accepted_bytes}",
                expected_offset=error.accepted_bytes,
            ) from None

    async def _open_bytes(self, record: SessionRecord) -> bytes | None:
        """What the text ends with of a character that is not complete, or None where that is not known any more.

        Records of earlier versions do not say: then the last bytes of the journal do.
        """
        if record.open_bytes is not None:
            return record.open_bytes
        start = max(0, record.accepted_bytes - OPEN_BYTES_MAX)
        try:
            return await self._store.journal(record.key, start, record.accepted_bytes - start)
        except (StaleCheckpoint, OffsetMismatch):
            # Trimmed; or the session was rewound or created anew, which the append finds out.
            return None

    def _state(self, record: SessionRecord, replayed: bool) -> TextState:
        view = self._registry.view(record)
        receipt = self._registry.receipt(record)
        return TextState(record.accepted_bytes, view.read_bytes, view.tokens, replayed, receipt)


async def _chained(first: Passage, following: AsyncIterator[Passage]) -> AsyncIterator[Passage]:
    yield first
    async for piece in following:
        yield piece


def _check(text: TextCheck, piece: Passage, accepted: int) -> None:
    try:
        text.check(piece.data)
    except errors.InvalidUtf8 as error:
        error.members["expected_offset"] = accepted
        raise


def _mismatch(accepted: int, position: int) -> errors.OffsetMismatch:
    return errors.OffsetMismatch(
        f"the append starts at offset {position} and the text ends at {accepted}; continue from {accepted}",
        expected_offset=accepted,
    )
