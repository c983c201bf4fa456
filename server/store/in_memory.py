"""The store that keeps everything in this process, for tests and trials. Its content is lost when the process ends."""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

from server.store import redaction as redaction_rules
from server.store import rules
from server.store.base import (
    CHECKPOINTS_KEPT,
    TOMBSTONE_SECONDS,
    Appended,
    Lease,
    Mark,
    OffsetMismatch,
    Recovery,
    Redaction,
    SessionKey,
    SessionRecord,
    Snapshot,
    StoredCheckpoint,
)
from server.store.in_memory_session import HeldPart, Session
from server.store.local_leases import Leases
from server.store.manifest import SnapshotInfo
from server.store.parts import StoredPart


class MemoryStore:
    """The contract in plain Python. No method awaits before it ends, which makes each one atomic step."""

    durability = "volatile"
    shared = False

    def __init__(self) -> None:
        self._sessions: dict[SessionKey, Session] = {}
        self._tombstones: dict[SessionKey, float] = {}
        self._leases = Leases()
        self._closed = False

    async def create(
        self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None, source: SessionKey | None = None
    ) -> None:
        rules.check_new(record, checkpoint)
        if record.key in self._open():
            raise rules.taken(record.key)
        record = rules.trimmed_marks(record, record.accepted_bytes)
        session = Session(deepcopy(record), journal_offset=record.accepted_bytes)
        if checkpoint is not None:
            first = session.memory(checkpoint, None if source is None else self._session(source))
            session.checkpoints = [first]
            session.borrow(first)
        self._open()[record.key] = session
        self._tombstones.pop(record.key, None)

    async def get(self, key: SessionKey) -> SessionRecord:
        return deepcopy(self._session(key).record)

    async def list_sessions(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        rules.check_window(0, limit)
        records = [session.record for session in self._open().values() if session.record.key.tenant == tenant]
        if after is not None:
            last = self._session(SessionKey(tenant, after)).record
            records = [record for record in records if _age(record) < _age(last)]
        return deepcopy(sorted(records, key=_age, reverse=True)[:limit])

    async def delete(self, key: SessionKey) -> None:
        if self._tombstones.pop(key, None) is None:
            self._session(key)
            self._forget(key)

    async def append(
        self,
        key: SessionKey,
        offset: int,
        piece: bytes,
        at: float,
        repeats: bool = True,
        document: str | None = None,
    ) -> Appended:
        rules.check_piece(offset, piece)
        session = self._session(key)
        accepted = session.record.accepted_bytes
        known, new = rules.placed(accepted, offset, piece, repeats)
        session.recognise(offset, known)
        grown = rules.grown(session.record, new, at, document)
        if new:
            session.keep(new)
        session.record = grown
        return Appended(deepcopy(session.record), replayed=not new)

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        rules.check_window(offset, limit)
        session = self._session(key)
        if offset > session.record.accepted_bytes:
            raise OffsetMismatch(session.record.accepted_bytes)
        if offset < session.journal_offset:
            raise rules.trimmed(offset, session.journal_offset)
        return session.text[offset - session.journal_offset :][:limit]

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        self._session(key)
        return self._leases.take(key, holder, seconds, ask, time.time())

    async def renew(self, lease: Lease, seconds: float) -> None:
        self._session(lease.key)
        self._leases.renew(lease, seconds, time.time())

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        self._open()
        return {lease.key for lease in leases if self._leases.is_wanted(lease)}

    async def release(self, lease: Lease) -> None:
        self._open()
        self._leases.release(lease)

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        session = self._session(lease.key)
        self._leases.check(lease)
        rules.check_follows(session.record, checkpoint)
        session.checkpoints.append(session.memory(checkpoint))
        session.record = rules.moved(session.record, checkpoint, at)
        session.trim()
        session.record = rules.trimmed_marks(session.record, session.journal_offset)
        session.give_back()

    async def load(self, key: SessionKey, parts: Sequence[StoredPart]) -> list[bytes]:
        held = {(part.pool, part.digest): part for part in self._session(key).parts}
        return [_held(held.get((part.pool, part.digest)), part) for part in parts]

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        session = self._session(key)
        newest_first = tuple(memory.checkpoint for memory in reversed(session.checkpoints))[:count]
        return Recovery(deepcopy(session.record), newest_first, session.journal_offset)

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        session = self._session(key)
        rules.check_snapshot(session.record, session.snapshots, name, lineage, checkpoint.offset)
        rules.check_chain(session.chain_at(checkpoint.offset), checkpoint)
        memory = session.memory(checkpoint)
        kept = SnapshotInfo.of(session.record, name, at, memory.kept)
        session.snapshots[name] = kept.snapshot, memory
        session.record = rules.used(session.record, at)
        return kept.snapshot

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        return [snapshot for snapshot, _ in reversed(self._session(key).snapshots.values())]

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        if name not in (snapshots := self._session(key).snapshots):
            raise rules.snapshot_missing(name)
        snapshot, memory = snapshots[name]
        return snapshot, memory.checkpoint

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        await self.load_snapshot(key, name)
        del self._session(key).snapshots[name]
        self._session(key).give_back()

    async def rewind(
        self,
        record: SessionRecord,
        checkpoint: StoredCheckpoint,
        lineage: str,
        at: float,
        marks: tuple[Mark, ...] = (),
    ) -> SessionRecord:
        session = self._session(record.key)
        rules.check_rewind(session.record, checkpoint, record.lineage, marks)
        keeps_text = rules.keeps_text(session.record, session.journal_offset, checkpoint.offset)
        if keeps_text and session.chain_at(checkpoint.offset) == checkpoint.info.chain:
            session.cut(checkpoint.offset)
        else:
            session.journal, session.repeats, session.journal_offset = [], [], checkpoint.offset
        memory = session.memory(checkpoint)
        rewound = rules.rewound(session.record, checkpoint, lineage, at, marks)
        session.record = rules.trimmed_marks(rewound, session.journal_offset)
        session.checkpoints = [memory]
        session.give_back()
        self._leases.end(record.key)
        return deepcopy(session.record)

    async def redact(self, record: SessionRecord, redaction: Redaction, lineage: str, at: float) -> SessionRecord:
        session = self._session(record.key)
        redaction_rules.check(session.record, redaction, session.snapshots.keys(), record.lineage)
        if session.record.keep_text:
            kept = [*session.blank(redaction.ranges)]
        else:
            kept, session.journal, session.repeats = [], [], []
            session.journal_offset = session.record.accepted_bytes
        redacted, redaction = redaction_rules.redacted(session.record, redaction, kept, lineage, at)
        session.record = rules.trimmed_marks(redacted, session.journal_offset)
        session.checkpoints = [session.memory(redaction.checkpoint)]
        for name, checkpoint in redaction.snapshots.items():
            snapshot, memory = session.snapshots[name][0], session.memory(checkpoint)
            kept_now = snapshot._replace(info=memory.kept.info, value_bytes=memory.kept.value_bytes)
            session.snapshots[name] = kept_now, memory
        session.give_back()
        self._leases.end(record.key)
        return deepcopy(session.record)

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        session = self._session(record.key)
        rules.check_rebuild(session.record, session.journal_offset, record.lineage)
        session.record = rules.rebuilt(session.record, model, fingerprint, lineage, at)
        session.checkpoints = []
        session.give_back()
        self._leases.end(record.key)
        return deepcopy(session.record)

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        records = [session.record for session in self._open().values()]
        return deepcopy([record for record in records if rules.is_unread(record, bytes_min)])

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        session = self._session(key)
        session.record = replace(session.record, quarantined=reason, updated_at=at)

    async def touch(self, key: SessionKey, at: float) -> None:
        session = self._session(key)
        session.record = rules.used(session.record, at)

    async def revise(self, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
        session = self._session(key)
        session.record = rules.revised(session.record, deepcopy(change), at)
        return deepcopy(session.record)

    async def count(self, tenant: str) -> int:
        return sum(key.tenant == tenant for key in self._open())

    async def stored_bytes(self, tenant: str) -> int:
        sessions = [session for key, session in self._open().items() if key.tenant == tenant]
        parts = {(part.pool, part.digest): part.size for session in sessions for part in session.parts}
        heads = sum(memory.kept.value_bytes for session in sessions for memory in session.memories)
        return sum(len(session.text) for session in sessions) + heads + sum(parts.values())

    async def expire(self, at: float) -> list[SessionKey]:
        expired = [key for key, session in self._open().items() if rules.is_expired(session.record, at)]
        for key in expired:
            self._forget(key)
            self._tombstones[key] = at + TOMBSTONE_SECONDS
        self._tombstones = {key: until for key, until in self._tombstones.items() if until > at}
        return expired

    async def ready(self) -> None:
        self._open()

    async def close(self) -> None:
        self._closed = True

    def _open(self) -> dict[SessionKey, Session]:
        if self._closed:
            raise rules.closed()
        return self._sessions

    def _session(self, key: SessionKey) -> Session:
        session = self._open().get(key)
        if session is None:
            raise rules.expired(key) if key in self._tombstones else rules.missing(key)
        return session

    def _forget(self, key: SessionKey) -> None:
        del self._sessions[key]
        self._leases.forget(key)


def _age(record: SessionRecord) -> tuple[float, str]:
    return record.created_at, record.key.id


def _held(part: HeldPart | None, wanted: StoredPart) -> bytes:
    return wanted.content() if part is None else part.value
