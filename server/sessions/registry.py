"""SessionRegistry: creates, lists, changes and deletes a tenant's sessions, and checks that one can be used."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from model.weights import LoadedModel
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.sessions import errors
from server.sessions.receipts import BadReceipt, Receipts
from server.settings import Settings
from server.store.base import Mark, SessionKey, SessionRecord, SessionTaken, Store, StoredCheckpoint, StoreFull
from server.store.rules import begun, expired, is_expired, lineage_root, used


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
class NewSession:
    """What a request to create a session sets; without an `id` the server generates one."""

    id: str | None = None
    metadata: dict[str, str] | None = None
    ttl_seconds: float | None = None
    keep_text: bool = False


class SessionRegistry:
    def __init__(
        self,
        store: Store,
        readers: SessionReaders,
        loaded: LoadedModel,
        settings: Settings,
        metrics: Metrics,
        receipts: Receipts,
    ) -> None:
        self._store = store
        self._readers = readers
        self._loaded = loaded
        self._settings = settings
        self._metrics = metrics
        self._receipts = receipts

    async def create(
        self,
        tenant: str,
        new: NewSession,
        start: StoredCheckpoint | None = None,
        marks: tuple[Mark, ...] = (),
        source: SessionKey | None = None,
    ) -> SessionView:
        """A new session, empty, or with the memory that `start` holds, of a text with these `marks`.

        The memory's parts are shared with the session `source`.
        """
        await self._must_fit(tenant)
        now = time.time()
        key = SessionKey(tenant, new.id or f"sess_{secrets.token_hex(12)}")
        ttl_seconds = self._settings.session_ttl_seconds if new.ttl_seconds is None else new.ttl_seconds
        record = SessionRecord(
            key,
            now,
            now,
            self._loaded.name,
            self._loaded.fingerprint,
            new.metadata or {},
            lineage=secrets.token_hex(8),
            ttl_seconds=ttl_seconds,
            keep_text=new.keep_text,
        )
        if start is not None:
            record = replace(begun(record, start), marks=marks)
        record = used(record, now)
        try:
            await self._store.create(record, start, source)
        except SessionTaken:
            raise errors.SessionExists(f"a session named {key.id} exists; choose another id or use it") from None
        return self.view(record)

    async def get(self, key: SessionKey, receipt: str | None = None) -> SessionView:
        return self.view(await self.present(key, receipt))

    async def page(self, tenant: str, limit: int, after: str | None) -> tuple[list[SessionView], bool]:
        """At most `limit` sessions, and whether there are more."""
        records = await self._store.list_sessions(tenant, limit + 1, after)
        return [self.view(record) for record in records[:limit]], len(records) > limit

    async def revise(self, key: SessionKey, change: Mapping[str, object]) -> SessionView:
        """Changes metadata or time to live; a time to live of None means no expiry."""
        await self.present(key)
        return self.view(await self._store.revise(key, change, time.time()))

    async def delete(self, key: SessionKey) -> None:
        # Looked up first: while the store answers, another session of this name may be created.
        reader = self._readers.find(key)
        await self._store.delete(key)
        if reader is not None:
            await self._readers.forget(reader)

    async def present(self, key: SessionKey, receipt: str | None = None) -> SessionRecord:
        """The session's record; `SessionExpired` also where the store has not swept the session yet.

        `TextRolledBack` when the store has lost text that the `receipt` was given for.
        """
        record = await self._store.get(key)
        if is_expired(record, time.time()):
            raise expired(key)
        self._honour(record, receipt)
        return record

    async def readable(self, key: SessionKey, receipt: str | None = None) -> SessionRecord:
        """The record of a session that can be read and answered from; `SessionQuarantined`, `FingerprintMismatch`."""
        record = await self.present(key)
        if record.quarantined:
            raise errors.SessionQuarantined(
                f"its stored memory is damaged ({record.quarantined}); restore a snapshot, or delete the session and "
                "send its text again"
            )
        self.must_belong(record.fingerprint)
        self._honour(record, receipt)
        return record

    def must_belong(self, fingerprint: str) -> None:
        """`FingerprintMismatch` for a memory of other weights than this server's."""
        if fingerprint != self._loaded.fingerprint:
            raise errors.FingerprintMismatch(
                f"the memory was made with weights {fingerprint[:12]}, this server has "
                f"{self._loaded.fingerprint[:12]}; serve those weights, rebuild a session that keeps its text, or send "
                "the text to a new session",
                session_fingerprint=fingerprint,
                server_fingerprint=self._loaded.fingerprint,
            )

    async def use(self, record: SessionRecord) -> None:
        """Extends the expiry of a session with a time to live; written only once a tenth of it has passed.

        A full store may not be able to keep that: the question is answered all the same.
        """
        ttl_seconds, expires_at, now = record.ttl_seconds, record.expires_at, time.time()
        if ttl_seconds is not None and expires_at is not None and expires_at - now < 0.9 * ttl_seconds:
            with suppress(StoreFull):
                await self._store.touch(record.key, now)

    def view(self, record: SessionRecord) -> SessionView:
        reader = self._readers.find(record.key)
        state = reader.progress.state if reader else None
        if reader and state and reader.progress.follows(record) and state.offset >= record.read_bytes:
            version = max(reader.progress.version, record.version)
            return SessionView(record, state.offset, state.tokens, state.segments, state.memory.nbytes, version)
        read_bytes = record.read_bytes
        if record.accepted_bytes - read_bytes < self._loaded.model.config.segment_tokens:
            # A token has at least one byte: what is left is a tail, and the memory covers the rest.
            read_bytes = record.accepted_bytes
        info = record.info
        return SessionView(record, read_bytes, info.tokens, info.segments, info.memory_bytes, info.version)

    def receipt(self, record: SessionRecord) -> str:
        return self._receipts.give(record)

    async def _must_fit(self, tenant: str) -> None:
        """`QuotaExceeded` when the tenant has as many sessions as it may have."""
        limit = self._settings.tenant_sessions_max
        if limit is not None and await self._store.count(tenant) >= limit:
            raise errors.QuotaExceeded(f"the tenant has {limit} sessions, its limit; delete one first")

    def _honour(self, record: SessionRecord, token: str | None) -> None:
        """`TextRolledBack` when the store lacks what this receipt says was durable."""
        if token is None:
            return
        try:
            receipt = self._receipts.read(record.key, token)
        except BadReceipt as error:
            raise errors.InvalidField(f"the receipt is not valid: {error}", param="Onceread-Receipt") from None
        same = lineage_root(receipt.lineage) == lineage_root(record.lineage)
        if not same or record.accepted_bytes < receipt.offset:
            self._metrics.text_rolled_back.inc()
            survived = record.accepted_bytes if same else 0
            raise errors.TextRolledBack(
                f"the store has lost text that was acknowledged up to offset {receipt.offset}; what survived ends at "
                f"{survived}: send the text again from there",
                expected_offset=survived,
            )
        if record.lineage != receipt.lineage and record.version < receipt.version:
            self._metrics.text_rolled_back.inc()
            raise errors.TextRolledBack(
                "the store has lost that the session was restored, or that a document was deleted, after this receipt "
                "was given: do it again",
                expected_offset=record.accepted_bytes,
            )
        if record.lineage == receipt.lineage and _chain_at(record, receipt.offset) not in (receipt.chain, None):
            self._metrics.text_rolled_back.inc()
            raise errors.ContentConflict(
                f"other text than this receipt's was accepted before offset {receipt.offset}; use a new session",
                expected_offset=record.accepted_bytes,
            )


def _chain_at(record: SessionRecord, offset: int) -> str | None:
    """The hash of the text up to an offset, which the record has for the accepted and for the read text."""
    return {record.accepted_bytes: record.chain, record.read_bytes: record.info.chain}.get(offset)
