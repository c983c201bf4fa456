"""UploadService: bodies go behind a session's text by offset, piece by piece, each durable before it is acknowledged.

It knows offsets and durability, and nothing of media types or of how text becomes memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from weakref import WeakValueDictionary

from server.ingest.readers import SessionReaders
from server.sessions import errors
from server.sessions.registry import SessionRegistry
from server.sessions.utf8_pieces import TextCheck, pieces
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
    """The answer to an append: how far the text is durable, and how far it has been read; a receipt for it."""

    accepted_bytes: int
    read_bytes: int
    tokens: int
    replayed: bool = False
    receipt: str = ""


class UploadService:
    def __init__(self, store: Store, reading: SessionReaders, registry: SessionRegistry, settings: Settings) -> None:
        self._store, self._reading, self._registry, self._settings = store, reading, registry, settings
        self._ends: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()
        self._usage: dict[str, tuple[float, int]] = {}

    async def append(
        self, key: SessionKey, offset: int | None, body: AsyncIterator[bytes], receipt: str | None = None
    ) -> TextState:
        """Makes the body durable piece by piece behind `offset` (None: the end); it is read in the background.

        What was durable before a failure stays durable, and the error names how far that is. Bodies without an
        offset follow one another whole: the next waits from its first piece on until the one before has ended. A
        `receipt` is shown that the client has of this text: it is told if the store went back behind it.
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
            async with nullcontext() if offset is not None else self._ends.setdefault(key, asyncio.Lock()):
                return await self._append_all(key, offset, first, arriving)

    async def wait_read(self, key: SessionKey) -> TextState:
        """Returns when the text that is accepted now has been read."""
        record = await self._registry.present(key)
        await self._reading.reach(record)
        return self._state(await self._store.get(key), False)

    async def _append_all(
        self, key: SessionKey, offset: int | None, first: bytes, following: AsyncIterator[bytes]
    ) -> TextState:
        if offset is None:
            record, text = await self._append_at_end(key, first)
            position, replayed = record.accepted_bytes, False
        else:
            record, position, replayed = await self._store.get(key), offset, True
            text = TextCheck(await self._bytes_before(key, position))
            following = _chained(first, following)
        async for piece in following:
            await self._room(key, record.accepted_bytes)
            _check(text, piece, record.accepted_bytes)
            appended = await self._append_piece(key, position, piece, repeats=offset is not None)
            position, record = position + len(piece), appended.record
            replayed = replayed and appended.replayed
            self._reading.wake(record)
        return self._state(record, replayed)

    async def _append_at_end(self, key: SessionKey, piece: bytes) -> tuple[SessionRecord, TextCheck]:
        """Appends where the text ends when its turn comes, whoever else appends to it on other replicas."""
        while True:
            accepted = (await self._store.get(key)).accepted_bytes
            text = TextCheck(await self._bytes_before(key, accepted))
            await self._room(key, accepted)
            _check(text, piece, accepted)
            try:
                appended = await self._store.append(key, accepted, piece, time.time(), repeats=False)
            except OffsetMismatch:
                continue
            self._reading.wake(appended.record)
            return appended.record, text

    async def _room(self, key: SessionKey, accepted: int) -> None:
        """Returns when there is room for more unread text; refused when the server ends meanwhile."""
        await self._reading.room(key, self._settings.backlog_bytes)
        if self._reading.stopping:
            raise errors.Draining(
                f"the text is durable up to offset {accepted}; go on from there", expected_offset=accepted
            )

    async def _must_fit(self, tenant: str) -> None:
        """Refuses more text of a tenant whose sessions take as much room as they may; looked up now and then."""
        limit = self._settings.tenant_stored_bytes_max
        if limit is None:
            return
        looked_at, stored_bytes = self._usage.get(tenant, (-USAGE_SECONDS, 0))
        if time.monotonic() - looked_at >= USAGE_SECONDS or stored_bytes >= limit:
            stored_bytes = await self._store.stored_bytes(tenant)
            self._usage[tenant] = (time.monotonic(), stored_bytes)
        if stored_bytes >= limit:
            raise errors.QuotaExceeded(
                f"what is stored takes {stored_bytes} bytes of the {limit} it may; delete sessions or snapshots first"
            )

    async def _append_piece(self, key: SessionKey, position: int, piece: bytes, repeats: bool) -> Appended:
        try:
            return await self._store.append(key, position, piece, time.time(), repeats)
        except OffsetMismatch as error:
            raise _mismatch(error.accepted_bytes, position) from None
        except ContentConflict as error:
            raise errors.ContentConflict(
                f"other bytes were accepted behind offset {position}; the text is durable up to {error.accepted_bytes}",
                expected_offset=error.accepted_bytes,
            ) from None

    async def _bytes_before(self, key: SessionKey, position: int) -> bytes | None:
        """The bytes before `position` that a character may span, or None where they are not kept any more."""
        start = max(0, position - 3)
        try:
            return await self._store.journal(key, start, position - start)
        except (StaleCheckpoint, OffsetMismatch):
            # Trimmed; or the session is another by now, which the append finds out.
            return None

    def _state(self, record: SessionRecord, replayed: bool) -> TextState:
        view = self._registry.view(record)
        receipt = self._registry.receipt(record)
        return TextState(record.accepted_bytes, view.read_bytes, view.tokens, replayed, receipt)


async def _chained(first: bytes, following: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in following:
        yield piece


def _check(text: TextCheck, piece: bytes, accepted: int) -> None:
    try:
        text.check(piece)
    except errors.InvalidUtf8 as error:
        error.members["expected_offset"] = accepted
        raise


def _mismatch(accepted: int, position: int) -> errors.OffsetMismatch:
    return errors.OffsetMismatch(
        f"the append starts at offset {position} and the text ends at {accepted}; send on from {accepted}",
        expected_offset=accepted,
    )
