"""The use cases in plain words: create, append, ask, list, delete.

It knows sessions and what may be done with them, and nothing of HTTP or threads.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from weakref import WeakValueDictionary

from model.weights import LoadedModel
from server import errors
from server.asking import Asking, Standpoint
from server.engine import Engine
from server.pieces import TextCheck, pieces
from server.reading import Reading
from server.receipts import BadReceipt, Receipts
from server.settings import Settings
from server.store.contract import (
    Appended,
    ContentConflict,
    OffsetMismatch,
    SessionKey,
    SessionRecord,
    SessionTaken,
    StaleCheckpoint,
    Store,
)
from server.store.rules import expired, is_over, used
from server.telemetry import Telemetry


@dataclass(frozen=True)
class SessionView:
    """A session as it is now: what is stored, and how far reading has come beyond that."""

    record: SessionRecord
    read_bytes: int
    tokens: int
    segments: int
    memory_bytes: int
    version: int

    @property
    def status(self) -> str:
        if self.record.quarantined:
            return "quarantined"
        return "reading" if self.read_bytes < self.record.accepted_bytes else "idle"


@dataclass(frozen=True)
class TextState:
    """The answer to an append: how far the text is durable, and how far it has been read; a receipt for it."""

    accepted_bytes: int
    read_bytes: int
    tokens: int
    replayed: bool = False
    receipt: str = ""


class Library:
    """Sessions of all tenants: their texts go in by offset, questions are answered from their memories."""

    def __init__(
        self,
        store: Store,
        reading: Reading,
        engine: Engine,
        loaded: LoadedModel,
        settings: Settings,
        telemetry: Telemetry,
        receipts: Receipts,
    ) -> None:
        self._store, self._reading, self._engine = store, reading, engine
        self._loaded, self._settings, self._telemetry, self._receipts = loaded, settings, telemetry, receipts
        self._ends: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()
        self.asking = Asking(engine, loaded, telemetry)
        self.draining = False

    @property
    def durability(self) -> str:
        """What acknowledged text survives."""
        return self._store.durability

    async def create(
        self, tenant: str, id_: str | None, metadata: dict[str, str], ttl_seconds: float | None = None
    ) -> SessionView:
        now = time.time()
        key = SessionKey(tenant, id_ or f"sess_{secrets.token_hex(12)}")
        new = SessionRecord(key, now, now, self._loaded.name, self._loaded.fingerprint, metadata)
        record = used(new.updated(lineage=secrets.token_hex(8), ttl_seconds=ttl_seconds), now)
        try:
            await self._store.create(record)
        except SessionTaken:
            raise errors.SessionExists(f"a session named {key.id} exists; choose another id or use it") from None
        return self._view(record)

    async def get(self, key: SessionKey, receipt: str | None = None) -> SessionView:
        record = await self._present(key)
        await self._honour(record, receipt)
        return self._view(record)

    def receipt(self, record: SessionRecord) -> str:
        return self._receipts.give(record)

    async def page(self, tenant: str, limit: int, after: str | None) -> tuple[list[SessionView], bool]:
        """At most `limit` sessions, and whether there are more."""
        records = await self._store.list(tenant, limit + 1, after)
        return [self._view(record) for record in records[:limit]], len(records) > limit

    async def delete(self, key: SessionKey) -> None:
        # What is at hand now: by the time the store has answered, another may have been created.
        live = self._reading.residents.use(key)
        await self._store.delete(key)
        if live is not None:
            await self._reading.forget(live)

    async def append(
        self, key: SessionKey, offset: int | None, body: AsyncIterator[bytes], receipt: str | None = None
    ) -> TextState:
        """Makes the body durable piece by piece behind `offset` (None: the end); it is read in the background.

        What was durable before a failure stays durable, and the error names how far that is. Bodies without an
        offset follow one another whole: the next waits from its first piece on until the one before has ended. A
        `receipt` is shown that the client has of this text: it is told if the store went back behind it.
        """
        record = await self._readable(key)
        await self._honour(record, receipt)
        if offset is not None and offset > record.accepted_bytes:
            raise _mismatch(record.accepted_bytes, offset)
        arriving = pieces(body)
        async with aclosing(arriving):
            first = await anext(arriving, None)
            if first is None:
                return self._text_state(record, False)
            async with nullcontext() if offset is not None else self._ends.setdefault(key, asyncio.Lock()):
                return await self._append_all(key, offset, first, arriving)

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
        return self._text_state(record, replayed)

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
        if self.draining:
            raise errors.Draining(
                f"the text is durable up to offset {accepted}; go on from there", expected_offset=accepted
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

    async def wait_read(self, key: SessionKey) -> TextState:
        """Returns when the text that is accepted now has been read."""
        record = await self._present(key)
        await self._reading.reach(record)
        return self._text_state(await self._store.get(key), False)

    async def ask(self, key: SessionKey, receipt: str | None = None) -> Standpoint:
        """The memory as of everything acknowledged before now."""
        asked_at = time.perf_counter()
        record = await self._readable(key)
        await self._honour(record, receipt)
        state, live, origin = await self._reading.reach(record)
        await self._use(record)
        return self.asking.standpoint(asked_at, state, max(live.version, record.version), origin)

    async def _use(self, record: SessionRecord) -> None:
        """Begins a mortal session's time anew, written only when some of it is gone."""
        ttl_seconds, expires_at, now = record.ttl_seconds, record.expires_at, time.time()
        if ttl_seconds is not None and expires_at is not None and expires_at - now < 0.9 * ttl_seconds:
            await self._store.touch(record.key, now)

    async def _honour(self, record: SessionRecord, token: str | None) -> None:
        """Refuses with `TextRolledBack` when the store lacks what this receipt says was durable."""
        if token is None:
            return
        try:
            receipt = self._receipts.read(record.key, token)
        except BadReceipt as error:
            raise errors.InvalidField(f"the receipt is not valid: {error}", param="Onceread-Receipt") from None
        same = receipt.lineage == record.lineage
        if not same or record.accepted_bytes < receipt.offset:
            self._telemetry.text_rolled_back.inc()
            survived = record.accepted_bytes if same else 0
            raise errors.TextRolledBack(
                f"the store has lost text that was acknowledged up to offset {receipt.offset}; what survived ends at "
                f"{survived}: send the text again from there",
                expected_offset=survived,
            )
        if self._chain_at(record, receipt.offset) not in (receipt.chain, None):
            self._telemetry.text_rolled_back.inc()
            raise errors.ContentConflict(
                f"other text than this receipt's was accepted before offset {receipt.offset}; use a new session",
                expected_offset=record.accepted_bytes,
            )

    def _chain_at(self, record: SessionRecord, offset: int) -> str | None:
        """The chain of the accepted text at an offset where it is at hand, which it is at its two ends."""
        return {record.accepted_bytes: record.chain, record.read_bytes: record.read_chain}.get(offset)

    def overload(self) -> str | None:
        """Why no more work is taken now, or None."""
        load = self._engine.load()
        if load.answers_waiting >= self._settings.answers_waiting_max:
            return f"{load.answers_waiting} questions are waiting"
        if (behind := self._reading.behind_bytes) >= self._settings.backlog_bytes:
            return f"{behind} bytes of text are waiting to be read"
        return None

    async def _present(self, key: SessionKey) -> SessionRecord:
        """The session's record, unless its time is over, whether that has been noticed in the store or not."""
        record = await self._store.get(key)
        if is_over(record, time.time()):
            raise expired(key)
        return record

    async def _readable(self, key: SessionKey) -> SessionRecord:
        record = await self._present(key)
        if record.quarantined:
            raise errors.SessionQuarantined(
                f"its stored memory is damaged ({record.quarantined}); delete the session and send its text again"
            )
        if record.fingerprint != self._loaded.fingerprint:
            raise errors.FingerprintMismatch(
                f"the session was made with weights {record.fingerprint[:12]}, this server has "
                f"{self._loaded.fingerprint[:12]}; serve those weights, or send the text to a new session",
                session_fingerprint=record.fingerprint,
                server_fingerprint=self._loaded.fingerprint,
            )
        return record

    def _text_state(self, record: SessionRecord, replayed: bool) -> TextState:
        view = self._view(record)
        return TextState(record.accepted_bytes, view.read_bytes, view.tokens, replayed, self.receipt(record))

    def _view(self, record: SessionRecord) -> SessionView:
        live = self._reading.residents.use(record.key)
        state = live.state if live else None
        if live is not None and state is not None and live.follows(record) and state.offset >= record.read_bytes:
            version = max(live.version, record.version)
            return SessionView(record, state.offset, state.tokens, state.segments, state.memory.nbytes, version)
        read_bytes = record.read_bytes
        if record.accepted_bytes - read_bytes < self._loaded.model.config.segment_tokens:
            # A token has at least one byte: what is left is a tail, and the memory knows all the rest.
            read_bytes = record.accepted_bytes
        return SessionView(record, read_bytes, record.tokens, record.segments, record.memory_bytes, record.version)


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
