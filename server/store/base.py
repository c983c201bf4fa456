"""The store's contract: what every store promises about journals, checkpoints and session records.

A store moves bytes: what is inside a memory is opaque to it.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Protocol

# Errors and values are part of the contract, so they can be imported from here.
# isort: off
from server.store.errors import (
    CharacterCut as CharacterCut,
    ContentConflict as ContentConflict,
    DamagedValue as DamagedValue,
    LeaseHeld as LeaseHeld,
    LeaseLost as LeaseLost,
    OffsetMismatch as OffsetMismatch,
    SessionExpired as SessionExpired,
    SessionMissing as SessionMissing,
    SessionTaken as SessionTaken,
    SnapshotMissing as SnapshotMissing,
    SnapshotTaken as SnapshotTaken,
    StaleCheckpoint as StaleCheckpoint,
    StoreError as StoreError,
    StoreFull as StoreFull,
    StoreUnavailable as StoreUnavailable,
    TooManyDocuments as TooManyDocuments,
    TooManySnapshots as TooManySnapshots,
)
from server.store.parts import (
    Part as Part,
    Pool as Pool,
    StoredPart as StoredPart,
)
from server.store.values import (
    Appended as Appended,
    CheckpointInfo as CheckpointInfo,
    Lease as Lease,
    Mark as Mark,
    NOTHING_READ as NOTHING_READ,
    Range as Range,
    Recovery as Recovery,
    Redaction as Redaction,
    SessionKey as SessionKey,
    SessionRecord as SessionRecord,
    Snapshot as Snapshot,
    StoredCheckpoint as StoredCheckpoint,
)
# isort: on

PIECE_BYTES_MAX = 256 * 1024
CHECKPOINTS_KEPT = 2
REPEATS_KEPT = 1024
SNAPSHOTS_MAX = 64
DOCUMENTS_MAX = 4096
LEASE_SECONDS = 10.0
# For this long a session that expired is reported as expired, and not as missing.
TOMBSTONE_SECONDS = 24 * 3600.0
# This much text stays in the journal even if a checkpoint covers it: the next append may complete its last character.
JOURNAL_BYTES_KEPT = 3


class Store(Protocol):
    """Stores sessions. Every method is one atomic, durable step: when it returns, its effect survives a crash.

    `durability` says which kind of crash, `shared` whether other processes may use the same sessions. Every method that
    names a session raises `SessionMissing` when it does not exist, and `SessionExpired` when it has expired.
    """

    durability: str
    shared: bool

    async def create(
        self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None, source: SessionKey | None = None
    ) -> None:
        """Creates a session; `SessionTaken` when its key is in use.

        With a checkpoint the session starts with that memory, in the same step, and its journal starts at the memory's
        offset. The record's accepted_bytes, read_bytes, version, tokens, segments, memory_bytes and both chains must
        equal the checkpoint's, otherwise `ValueError`. The record's marks are those of all text that the memory has
        read. Parts that the session `source`, of the same tenant, has stored are shared with it: they stay as long as
        either session needs them.
        """

    async def get(self, key: SessionKey) -> SessionRecord:
        """The session's record; `DamagedValue`."""

    async def list_sessions(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        """A tenant's sessions, newest created first (ties by id, descending); only those after the session `after`."""

    async def delete(self, key: SessionKey) -> None:
        """Deletes the session, its journal, its checkpoints and its snapshots, or the tombstone of an expired one."""

    async def append(
        self,
        key: SessionKey,
        offset: int,
        piece: bytes,
        at: float,
        repeats: bool = True,
        document: str | None = None,
    ) -> Appended:
        """Appends `piece` (1 to PIECE_BYTES_MAX bytes) to the accepted text.

        An `offset` equal to the accepted bytes appends. Beyond them: `OffsetMismatch`. Before them, the overlapping
        part of `piece` is compared with the accepted text: different bytes are a `ContentConflict`; equal bytes are
        recognised, and only the rest is appended; where neither the journal nor the digests of the last REPEATS_KEPT
        pieces can decide, `OffsetMismatch`. Without `repeats` every offset before the end is an `OffsetMismatch`: the
        caller knows that it has not sent these bytes before.
        `at` becomes updated_at.

        What is appended belongs to the `document` of this name, "" for none; by default to that of the text before it.
        A mark is added in the same step where the name differs. `CharacterCut` where the text before it ends inside a
        character, `TooManyDocuments` beyond DOCUMENTS_MAX marks. Bytes that are only recognised add no mark.
        """

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        """At most `limit` accepted bytes from `offset` on; empty at the end.

        `OffsetMismatch` beyond the end, `StaleCheckpoint` where the journal is trimmed, `DamagedValue`.
        """

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        """Takes the lease for `seconds`; `LeaseHeld` while another holder has it.

        With `ask` that holder finds in `wanted` that another replica asks for the session.
        """

    async def renew(self, lease: Lease, seconds: float) -> None:
        """Extends the lease to `seconds` from now; `LeaseLost` when a later lease was given."""

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        """The sessions of these leases that another replica asks for, and those whose lease is lost."""

    async def release(self, lease: Lease) -> None:
        """Releases the lease; does nothing when it is lost already."""

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        """Stores a checkpoint, moves the record's read state to it and trims, in one atomic step.

        A part that a memory of the session has is not stored again, here and wherever a memory is stored.
        `StaleCheckpoint` unless the lease is the latest one, version is the record's + 1 and
        read_bytes <= offset <= accepted_bytes. Trimming keeps the newest CHECKPOINTS_KEPT checkpoints and the journal
        after the oldest of them (all of it while there are fewer), but always the last JOURNAL_BYTES_KEPT bytes, and
        the whole journal of a session with `keep_text`.
        """

    async def load(self, key: SessionKey, parts: Sequence[StoredPart]) -> list[bytes]:
        """The contents of parts that a memory of this session names; `DamagedValue`.

        A part is missing, too, where the session has changed since: ask for the memory again.
        """

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        """The undamaged state from which a reader continues; damaged checkpoints are left out and named.

        At most `count` undamaged checkpoints are fetched, the newest ones. Their parts are stored ones, not loaded yet.
        """

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        """Stores a memory under a name, independent of the checkpoints; needs no lease. `at` becomes updated_at.

        `SnapshotTaken` when the name is in use, `TooManySnapshots` beyond SNAPSHOTS_MAX. `StaleCheckpoint` when the
        session's lineage is not `lineage`, when the offset is beyond the accepted text, or when the journal shows
        that the text before the offset has another chain. The snapshot's fingerprint is the record's. Version and read
        state do not change.
        """

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        """The session's snapshots, the newest first."""

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        """The memory of this snapshot, its parts not loaded yet; `SnapshotMissing`, `DamagedValue`."""

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        """Deletes the snapshot; `SnapshotMissing`."""

    async def rewind(
        self,
        record: SessionRecord,
        checkpoint: StoredCheckpoint,
        lineage: str,
        at: float,
        marks: tuple[Mark, ...] = (),
    ) -> SessionRecord:
        """Sets the session back to the checkpoint, with its end of text and its counts; returns the new record.

        `StaleCheckpoint` unless the session's lineage is the `record`'s and the checkpoint's version is the session's
        + 1. The session's lineage becomes `lineage`, so that a replica that has it resident notices. Its quarantine,
        its lease and its other checkpoints end; snapshots stay. The journal is kept up to the offset if the session
        keeps its text, the journal covers the offset and, by its chain, starts with the text that the memory has read.
        Otherwise the journal and the digests of its pieces are deleted, and it starts at the offset. `marks` are those
        of all text that the memory has read. `at` becomes updated_at.
        """

    async def redact(self, record: SessionRecord, redaction: Redaction, lineage: str, at: float) -> SessionRecord:
        """Removes text from the session for certain, in one atomic step; returns the new record.

        `StaleCheckpoint` unless the session's lineage is the `record`'s, and the redaction's checkpoint ends where the
        accepted text does, with the session's version + 1, and unless the session's snapshots are those that follow and
        those that are kept. The checkpoint takes the place of all
        checkpoints, each memory of `snapshots` that of the snapshot of its name. In the journal of a session that keeps
        its text, every byte in the ranges becomes a newline, and the chain of the text changes accordingly; any other
        journal is deleted. Digests of deleted bytes, and of all pieces of a deleted journal, are deleted too. The
        marks in the ranges become marks of no document. The session's lineage becomes `lineage`; its lease ends.
        When this returns, no file of the store has the deleted bytes in the clear.
        """

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        """Marks the whole text as unread, to be read again with these weights; returns the new record.

        `StaleCheckpoint` unless the session's lineage is the `record`'s and its text is kept from the beginning. The
        session's version grows by one, its lineage becomes `lineage`. Its quarantine, its lease and its checkpoints
        end; journal and snapshots stay. `at` becomes updated_at.
        """

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        """The sessions of all tenants with at least `bytes_min` (1 or more) bytes of text that no checkpoint covers.

        Quarantined and damaged sessions are left out.
        """

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        """Excludes the session from reading and from answers, for this reason."""

    async def touch(self, key: SessionKey, at: float) -> None:
        """Records that the session was used, which restarts its time to live."""

    async def revise(self, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
        """Changes `metadata` (a new dict), `ttl_seconds` (None: it never expires), or both; returns the new record.

        Any other name is a `ValueError`. `at` becomes updated_at, and the time to live restarts.
        """

    async def count(self, tenant: str) -> int:
        """How many sessions the tenant has; a shared store may count one that is being created or deleted."""

    async def stored_bytes(self, tenant: str) -> int:
        """How many bytes the tenant's undamaged sessions take: kept text, checkpoints and snapshots.

        A part that several memories share is counted once.
        """

    async def expire(self, at: float) -> list[SessionKey]:
        """Deletes the sessions that have expired, and returns them.

        They raise `SessionExpired` for TOMBSTONE_SECONDS, and `SessionMissing` afterwards.
        """

    async def ready(self) -> None:
        """Returns when the store can be used; raises `StoreUnavailable`."""

    async def close(self) -> None:
        """Finishes the operations in progress and releases all resources."""


def digest(value: bytes) -> bytes:
    """SHA-256 of a stored value, kept beside it."""
    return sha256(value).digest()
