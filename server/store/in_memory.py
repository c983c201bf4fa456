"""The store that keeps everything in this process, for tests and trials. Its content is lost when the process ends."""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

from server.store import rules, text_hash
from server.store.base import (
    CHECKPOINTS_KEPT,
    REPEATS_KEPT,
    TOMBSTONE_SECONDS,
    Appended,
    ContentConflict,
    Lease,
    OffsetMismatch,
    Recovery,
    SessionKey,
    SessionRecord,
    Snapshot,
    StoredCheckpoint,
    digest,
)
from server.store.local_leases import Leases
from server.store.manifest import KeptCheckpoint, SnapshotInfo


@dataclass(frozen=True)
class Piece:
    offset: int
    value: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.value)


@dataclass(frozen=True)
class Repeat:
    """The digest of a piece, by which it is recognised once its bytes are trimmed."""

    offset: int
    end: int
    digest: bytes


@dataclass
class Session:
    record: SessionRecord
    journal_offset: int
    journal: list[Piece] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    checkpoints: list[StoredCheckpoint] = field(default_factory=list)
    snapshots: dict[str, tuple[Snapshot, StoredCheckpoint]] = field(default_factory=dict)

    @property
    def text(self) -> bytes:
        """The accepted text from the journal's start on."""
        return b"".join(piece.value for piece in self.journal)

    @property
    def stored_bytes(self) -> int:
        memories = [*self.checkpoints, *(checkpoint for _, checkpoint in self.snapshots.values())]
        return len(self.text) + sum(len(memory.value) for memory in memories)

    def chain_at(self, offset: int) -> str | None:
        """The chain of the accepted text's first `offset` bytes; None where the journal is trimmed."""
        kept_bytes = offset - self.journal_offset
        return text_hash.shortened(self.record.chain, self.text[kept_bytes:]) if kept_bytes >= 0 else None

    def recognise(self, offset: int, known: bytes) -> None:
        """Returns when `known` equals the text accepted at `offset`, and raises otherwise."""
        end = offset + len(known)
        seen = set[int]()
        for piece in self.journal:
            for at in range(max(offset, piece.offset), min(end, piece.end)):
                if known[at - offset] != piece.value[at - piece.offset]:
                    raise ContentConflict(self.record.accepted_bytes)
                seen.add(at)
        for repeat in self.repeats:
            if offset <= repeat.offset < self.journal_offset and repeat.end <= end:
                if digest(known[repeat.offset - offset : repeat.end - offset]) != repeat.digest:
                    raise ContentConflict(self.record.accepted_bytes)
                seen.update(range(repeat.offset, repeat.end))
        if len(seen) < len(known):
            raise OffsetMismatch(self.record.accepted_bytes)

    def keep(self, value: bytes) -> None:
        piece = Piece(self.record.accepted_bytes, value)
        self.journal.append(piece)
        self.repeats.append(Repeat(piece.offset, piece.end, digest(value)))
        del self.repeats[:-REPEATS_KEPT]

    def trim(self) -> None:
        del self.checkpoints[:-CHECKPOINTS_KEPT]
        if len(self.checkpoints) == CHECKPOINTS_KEPT:
            oldest = rules.trimmed_to(self.record, self.journal_offset, self.checkpoints[0].offset)
            self.journal = [piece for piece in self.journal if piece.end > oldest]
            self.journal_offset = min([oldest, *(piece.offset for piece in self.journal)])

    def cut(self, offset: int) -> None:
        """Deletes the text after `offset`, as if it had never been appended."""
        begin = max([self.journal_offset, *(piece.offset for piece in self.journal if piece.offset <= offset)])
        left = self.text[begin - self.journal_offset : offset - self.journal_offset]
        self.journal = [piece for piece in self.journal if piece.offset < begin]
        self.repeats = [repeat for repeat in self.repeats if repeat.offset < begin]
        if left:
            self.journal.append(Piece(begin, left))
            self.repeats.append(Repeat(begin, offset, digest(left)))


class MemoryStore:
    """The contract in plain Python. No method awaits before it ends, which makes each one atomic step."""

    durability = "volatile"
    shared = False

    def __init__(self) -> None:
        self._sessions: dict[SessionKey, Session] = {}
        self._tombstones: dict[SessionKey, float] = {}
        self._leases = Leases()
        self._closed = False

    async def create(self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None) -> None:
        rules.check_new(record, checkpoint)
        if record.key in self._open():
            raise rules.taken(record.key)
        session = Session(deepcopy(record), journal_offset=record.accepted_bytes)
        session.checkpoints = [] if checkpoint is None else [checkpoint]
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

    async def append(self, key: SessionKey, offset: int, piece: bytes, at: float, repeats: bool = True) -> Appended:
        rules.check_piece(offset, piece)
        session = self._session(key)
        accepted = session.record.accepted_bytes
        known, new = rules.placed(accepted, offset, piece, repeats)
        session.recognise(offset, known)
        if new:
            session.keep(new)
        session.record = rules.grown(session.record, new, at)
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
        session.checkpoints.append(checkpoint)
        session.record = rules.moved(session.record, checkpoint, at)
        session.trim()

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        session = self._session(key)
        newest_first = tuple(reversed(session.checkpoints))[:count]
        return Recovery(deepcopy(session.record), newest_first, session.journal_offset)

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        session = self._session(key)
        rules.check_snapshot(session.record, session.snapshots, name, lineage, checkpoint.offset)
        rules.check_chain(session.chain_at(checkpoint.offset), checkpoint)
        kept = SnapshotInfo.of(session.record, name, at, KeptCheckpoint.of(checkpoint))
        session.snapshots[name] = kept.snapshot, checkpoint
        session.record = rules.used(session.record, at)
        return kept.snapshot

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        return [snapshot for snapshot, _ in reversed(self._session(key).snapshots.values())]

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        if name not in (snapshots := self._session(key).snapshots):
            raise rules.snapshot_missing(name)
        return snapshots[name]

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        await self.load_snapshot(key, name)
        del self._session(key).snapshots[name]

    async def rewind(
        self, record: SessionRecord, checkpoint: StoredCheckpoint, lineage: str, at: float
    ) -> SessionRecord:
        session = self._session(record.key)
        rules.check_rewind(session.record, checkpoint, record.lineage)
        keeps_text = rules.keeps_text(session.record, session.journal_offset, checkpoint.offset)
        if keeps_text and session.chain_at(checkpoint.offset) == checkpoint.info.chain:
            session.cut(checkpoint.offset)
        else:
            session.journal, session.repeats, session.journal_offset = [], [], checkpoint.offset
        session.record = rules.rewound(session.record, checkpoint, lineage, at)
        session.checkpoints = [checkpoint]
        self._leases.end(record.key)
        return deepcopy(session.record)

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        session = self._session(record.key)
        rules.check_rebuild(session.record, session.journal_offset, record.lineage)
        session.record = rules.rebuilt(session.record, model, fingerprint, lineage, at)
        session.checkpoints = []
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
        return sum(session.stored_bytes for key, session in self._open().items() if key.tenant == tenant)

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
