"""A store whose failures are counted by operation, and whose heavier steps are spans of a trace."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from server.observability import tracing
from server.observability.metrics import Metrics
from server.observability.request_notes import note
from server.store.base import (
    CHECKPOINTS_KEPT,
    Appended,
    DamagedValue,
    Lease,
    Mark,
    Recovery,
    Redaction,
    SessionKey,
    SessionRecord,
    Snapshot,
    Store,
    StoredCheckpoint,
    StoredPart,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

Result = TypeVar("Result")


class InstrumentedStore:
    """The same store, with metrics and spans."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self.durability = store.durability
        self.shared = store.shared
        self._store = store
        self._metrics = metrics

    async def append(
        self,
        key: SessionKey,
        offset: int,
        piece: bytes,
        at: float,
        repeats: bool = True,
        document: str | None = None,
    ) -> Appended:
        with tracing.span("store.append") as span:
            appended = await self._counted("append", self._store.append(key, offset, piece, at, repeats, document))
            span.set_attribute("onceread.accepted_bytes", appended.accepted_bytes)
        note(accepted_bytes=appended.accepted_bytes)
        return appended

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        with tracing.span("store.load") as span:
            recovery = await self._counted("recover", self._store.recover(key, count))
            span.set_attribute("onceread.offset", recovery.record.read_bytes)
            span.set_attribute("onceread.accepted_bytes", recovery.record.accepted_bytes)
        return recovery

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        with tracing.span("store.checkpoint") as span:
            try:
                await self._counted("checkpoint", self._store.checkpoint(lease, checkpoint, at))
            except StoreUnavailable:
                raise
            except StoreError as error:
                self._metrics.checkpoints_refused.labels(reason=_snake(type(error).__name__)).inc()
                raise
            span.set_attribute("onceread.offset", checkpoint.offset)
            span.set_attribute("onceread.version", checkpoint.version)
            span.set_attribute("onceread.checkpoint_bytes", len(checkpoint.value))

    async def create(
        self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None, source: SessionKey | None = None
    ) -> None:
        await self._counted("create", self._store.create(record, checkpoint, source))

    async def get(self, key: SessionKey) -> SessionRecord:
        return await self._counted("get", self._store.get(key))

    async def list_sessions(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        return await self._counted("list_sessions", self._store.list_sessions(tenant, limit, after))

    async def delete(self, key: SessionKey) -> None:
        await self._counted("delete", self._store.delete(key))

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        return await self._counted("journal", self._store.journal(key, offset, limit))

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        return await self._counted("lease", self._store.lease(key, holder, seconds, ask))

    async def renew(self, lease: Lease, seconds: float) -> None:
        await self._counted("renew", self._store.renew(lease, seconds))

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        return await self._counted("wanted", self._store.wanted(leases))

    async def release(self, lease: Lease) -> None:
        await self._counted("release", self._store.release(lease))

    async def load(self, key: SessionKey, parts: Sequence[StoredPart]) -> list[bytes]:
        with tracing.span("store.load_parts") as span:
            contents = await self._counted("load", self._store.load(key, parts))
            span.set_attribute("onceread.parts", len(parts))
        return contents

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        return await self._counted("keep_snapshot", self._store.keep_snapshot(key, name, lineage, checkpoint, at))

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        return await self._counted("snapshots", self._store.snapshots(key))

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        return await self._counted("load_snapshot", self._store.load_snapshot(key, name))

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        await self._counted("drop_snapshot", self._store.drop_snapshot(key, name))

    async def rewind(
        self,
        record: SessionRecord,
        checkpoint: StoredCheckpoint,
        lineage: str,
        at: float,
        marks: tuple[Mark, ...] = (),
    ) -> SessionRecord:
        return await self._counted("rewind", self._store.rewind(record, checkpoint, lineage, at, marks))

    async def redact(self, record: SessionRecord, redaction: Redaction, lineage: str, at: float) -> SessionRecord:
        return await self._counted("redact", self._store.redact(record, redaction, lineage, at))

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        return await self._counted("rebuild", self._store.rebuild(record, model, fingerprint, lineage, at))

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        return await self._counted("unread", self._store.unread(bytes_min))

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        await self._counted("quarantine", self._store.quarantine(key, reason, at))

    async def touch(self, key: SessionKey, at: float) -> None:
        await self._counted("touch", self._store.touch(key, at))

    async def revise(self, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
        return await self._counted("revise", self._store.revise(key, change, at))

    async def count(self, tenant: str) -> int:
        return await self._counted("count", self._store.count(tenant))

    async def stored_bytes(self, tenant: str) -> int:
        return await self._counted("stored_bytes", self._store.stored_bytes(tenant))

    async def expire(self, at: float) -> list[SessionKey]:
        return await self._counted("expire", self._store.expire(at))

    async def ready(self) -> None:
        await self._counted("ready", self._store.ready())

    async def close(self) -> None:
        await self._counted("close", self._store.close())

    async def _counted(self, op: str, call: Awaitable[Result]) -> Result:
        try:
            return await call
        except (StoreUnavailable, StoreFull, DamagedValue):
            self._metrics.store_errors.labels(op=op).inc()
            raise
        except StoreError:
            # What the contract refuses is an answer, not an error.
            raise
        except Exception:
            self._metrics.store_errors.labels(op=op).inc()
            raise


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
