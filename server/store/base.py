"""The store's contract: what every store promises about journals, checkpoints and session records.

It moves bytes; it knows neither torch, nor what a memory is, nor the web.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Protocol

from server.store.text_hash import EMPTY_CHAIN

# The errors are part of the contract: whoever uses it finds all of it here.
# isort: off
from server.store.errors import (
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
    TooManySnapshots as TooManySnapshots,
)
# isort: on

PIECE_BYTES_MAX = 256 * 1024
CHECKPOINTS_KEPT = 2
REPEATS_KEPT = 1024
SNAPSHOTS_MAX = 64
LEASE_SECONDS = 10.0
# So long it is known of a session that its time was over, and not that it never was.
TOMBSTONE_SECONDS = 24 * 3600.0
# So much text stays in the journal whatever covers it: the next append may complete a character that it ends inside.
JOURNAL_BYTES_KEPT = 3


class SessionKey(NamedTuple):
    """Names a session; the tenant is part of every key, so tenants can not meet."""

    tenant: str
    id: str


class Lease(NamedTuple):
    """The right to read a session and to checkpoint it; of two, the one with the higher epoch holds."""

    key: SessionKey
    holder: str
    epoch: int


class CheckpointInfo(NamedTuple):
    """What a memory covers: the text up to `offset`, which has this chain; its final tokens and its segments.

    `version` grows by one with every checkpoint of a session; 0 is the memory that has read nothing.
    """

    version: int = 0
    offset: int = 0
    tokens: int = 0
    segments: int = 0
    memory_bytes: int = 0
    chain: str = EMPTY_CHAIN


NOTHING_READ = CheckpointInfo()


@dataclass(frozen=True)
class SessionRecord:
    """What the store knows of a session: offsets count UTF-8 bytes, times are Unix seconds.

    `lineage` tells a session from an earlier one of its name. `chain` is that of the accepted text,
    `info` that of the newest checkpoint. `open_bytes` are the 0 to 3 bytes at the end of the accepted text
    that begin a UTF-8 character which is not complete yet, None where they are not known. A session that is not used
    for `ttl_seconds` ends at `expires_at`. The journal of one that keeps its text (`keep_text`) is never trimmed.
    """

    key: SessionKey
    created_at: float
    updated_at: float
    model: str
    fingerprint: str
    metadata: dict[str, str] = field(default_factory=dict)
    accepted_bytes: int = 0
    info: CheckpointInfo = NOTHING_READ
    quarantined: str | None = None
    lineage: str = ""
    chain: str = EMPTY_CHAIN
    ttl_seconds: float | None = None
    expires_at: float | None = None
    keep_text: bool = False
    open_bytes: bytes | None = b""

    @property
    def read_bytes(self) -> int:
        """The offset up to which the newest checkpoint covers the text."""
        return self.info.offset

    @property
    def version(self) -> int:
        return self.info.version


@dataclass(frozen=True, eq=False)
class StoredCheckpoint:
    """One memory as bytes, and what it covers. `value` is opaque here."""

    info: CheckpointInfo
    value: bytes

    def __eq__(self, other: object) -> bool:
        """Whether version, counts and bytes are equal; chains are compared by rules of their own."""
        if not isinstance(other, StoredCheckpoint):
            return NotImplemented
        mine, its = self.info._replace(chain=""), other.info._replace(chain="")
        return (mine, self.value) == (its, other.value)

    def __hash__(self) -> int:
        return hash((self.info._replace(chain=""), self.value))

    @property
    def version(self) -> int:
        return self.info.version

    @property
    def offset(self) -> int:
        return self.info.offset


class Snapshot(NamedTuple):
    """What is known of a memory that is kept under a name, and of which weights it is."""

    name: str
    created_at: float
    info: CheckpointInfo
    fingerprint: str
    value_bytes: int


@dataclass(frozen=True)
class Appended:
    """The answer to an append: how far the text is durable, and whether the bytes were there already.

    `record` is the session's once they were kept.
    """

    record: SessionRecord
    replayed: bool

    @property
    def accepted_bytes(self) -> int:
        return self.record.accepted_bytes


@dataclass(frozen=True)
class Recovery:
    """What is sound of a session: its record and its undamaged checkpoints, newest first.

    `journal_offset` is the lowest offset from which the journal is still kept without a gap;
    `damaged` says in words what was found unsound and left out.
    """

    record: SessionRecord
    checkpoints: tuple[StoredCheckpoint, ...]
    journal_offset: int
    damaged: tuple[str, ...] = ()


class Store(Protocol):
    """Keeps sessions. Every method is one atomic, durable step: when it returns, it survives a crash.

    `durability` says what kind of crash, `shared` whether other processes may use the same sessions. Wherever a session
    is meant that there is not, `SessionMissing` is raised, or `SessionExpired` where its time was over.
    """

    durability: str
    shared: bool

    async def create(self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None) -> None:
        """Keeps a new session; `SessionTaken` when its key is in use.

        With a checkpoint it begins with that memory, in the same step, and its journal at the memory's offset: the
        record's accepted_bytes, read_bytes, version, tokens, segments, memory_bytes and both chains are the
        checkpoint's, or it is a `ValueError`.
        """

    async def get(self, key: SessionKey) -> SessionRecord:
        """The session's record; `DamagedValue`."""

    async def list_sessions(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        """A tenant's sessions, newest created first (ties by id, descending), those behind `after`."""

    async def delete(self, key: SessionKey) -> None:
        """Forgets the session, its journal, its checkpoints and its snapshots, and that it ever expired."""

    async def append(self, key: SessionKey, offset: int, piece: bytes, at: float, repeats: bool = True) -> Appended:
        """Keeps `piece` (1 to PIECE_BYTES_MAX bytes) behind the accepted text.

        An `offset` equal to the accepted bytes appends. Beyond them: `OffsetMismatch`. Before them, the part of
        `piece` that overlaps is compared with what was accepted: other bytes are a `ContentConflict`; the same bytes
        are recognised and only what goes beyond is appended; where neither the journal nor the digests of the last
        REPEATS_KEPT pieces can tell, `OffsetMismatch`. Without `repeats` an offset before the end is an
        `OffsetMismatch`: the sender knows that it never sent it.
        `at` becomes updated_at.
        """

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        """At most `limit` accepted bytes from `offset` on; empty at the end.

        `OffsetMismatch` beyond the end, `StaleCheckpoint` where the journal is trimmed, `DamagedValue`.
        """

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        """The lease, for so long unless it is renewed; `LeaseHeld` while another holder has it.

        With `ask` that holder is told that the session is wanted elsewhere.
        """

    async def renew(self, lease: Lease, seconds: float) -> None:
        """Lets the lease run from now on; `LeaseLost` when a later one was given."""

    async def wanted(self, leases: Sequence[Lease]) -> set[SessionKey]:
        """The sessions among those leased that another replica asks for, and those whose lease is lost."""

    async def release(self, lease: Lease) -> None:
        """Lets go of the lease; of one that is lost already, nothing."""

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        """Keeps a checkpoint, moves the record's read state to it and trims, in one atomic step.

        Refused as `StaleCheckpoint` unless the lease is the latest one, version is the record's + 1 and
        read_bytes <= offset <= accepted_bytes. CHECKPOINTS_KEPT are kept, and the journal behind the
        oldest of them (behind offset 0 until there are so many), but always the last JOURNAL_BYTES_KEPT, and of a
        session that keeps its text all.
        """

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        """What is sound, for a reader to go on from; damaged checkpoints are left out and named.

        At most `count` of the sound checkpoints, the newest ones, are fetched.
        """

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        """Keeps a memory under a name, whatever becomes of the checkpoints; needs no lease. `at` becomes updated_at.

        `SnapshotTaken` when the name is used, `TooManySnapshots` beyond SNAPSHOTS_MAX. `StaleCheckpoint` when the
        session's lineage is not `lineage`, when the offset is beyond the accepted text, or when the journal tells
        that the text before it has another chain. The fingerprint is the record's. Version and read state stay.
        """

    async def snapshots(self, key: SessionKey) -> list[Snapshot]:
        """The session's snapshots, the newest first."""

    async def load_snapshot(self, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        """The memory that was kept under the name; `SnapshotMissing`, `DamagedValue`."""

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        """Forgets the snapshot; `SnapshotMissing`."""

    async def rewind(
        self, record: SessionRecord, checkpoint: StoredCheckpoint, lineage: str, at: float
    ) -> SessionRecord:
        """Makes the session what the checkpoint says, from its text's end to its counts; the record from then on.

        `StaleCheckpoint` unless the session's lineage is the `record`'s and the checkpoint's version is the session's
        + 1. The session's lineage becomes `lineage`, so that whoever has it at hand finds out; its quarantine, its
        lease and its checkpoints end; snapshots stay. Where it keeps its text, and its journal reaches the offset and
        begins with the memory's own text (by its chain), that stays up to the offset. Otherwise the journal and what
        is remembered of its pieces go, and it begins at the offset. `at` becomes updated_at.
        """

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        """Has the whole text read again from its beginning, under these weights; the record from then on.

        `StaleCheckpoint` unless the session's lineage is the `record`'s, and where the text is not kept from its
        beginning. The session's version grows by one, its lineage becomes `lineage`; its quarantine, its lease and
        its checkpoints end; journal and snapshots stay. `at` becomes updated_at.
        """

    async def unread(self, bytes_min: int) -> list[SessionRecord]:
        """The sound sessions of all tenants with at least `bytes_min` (1 or more) of text that no checkpoint covers."""

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        """Marks the session as not to be read or answered from, and says why."""

    async def touch(self, key: SessionKey, at: float) -> None:
        """Notes that the session was used, so that its time begins anew."""

    async def revise(self, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
        """Changes `metadata` (a new dict), `ttl_seconds` (None: for ever), or both; the record from then on.

        Whatever else is named is a `ValueError`. `at` becomes updated_at, and the session's time begins anew.
        """

    async def count(self, tenant: str) -> int:
        """How many sessions the tenant has; a shared store may count one that is just being made or forgotten."""

    async def stored_bytes(self, tenant: str) -> int:
        """How many bytes the tenant's sound sessions take: kept text, checkpoints and snapshots."""

    async def expire(self, at: float) -> list[SessionKey]:
        """Forgets the sessions whose time is over; `SessionExpired` is told of them for TOMBSTONE_SECONDS."""

    async def ready(self) -> None:
        """Returns when the store can be used; raises `StoreUnavailable`."""

    async def close(self) -> None:
        """Finishes what was begun and lets go of everything held."""


def digest(value: bytes) -> bytes:
    """SHA-256 of a stored value, kept beside it."""
    return sha256(value).digest()
