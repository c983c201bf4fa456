"""The store's contract: what every store promises about journals, checkpoints and session records.

It moves bytes; it knows neither torch, nor what a memory is, nor the web.
"""

import builtins
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple, Protocol

from server.store.chain import EMPTY_CHAIN

PIECE_BYTES_MAX = 256 * 1024
CHECKPOINTS_KEPT = 2
REPEATS_KEPT = 1024
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


@dataclass(frozen=True)
class SessionRecord:
    """What the store knows of a session: offsets count UTF-8 bytes, times are Unix seconds.

    `lineage` tells a session from an earlier one of its name. `chain` is that of the accepted text,
    `read_chain` that of its first `read_bytes`. A session that is not used for `ttl_seconds` ends at `expires_at`.
    """

    key: SessionKey
    created_at: float
    updated_at: float
    model: str
    fingerprint: str
    metadata: dict[str, str] = field(default_factory=dict)
    accepted_bytes: int = 0
    read_bytes: int = 0
    tokens: int = 0
    segments: int = 0
    memory_bytes: int = 0
    version: int = 0
    quarantined: str | None = None
    lineage: str = ""
    chain: str = EMPTY_CHAIN
    read_chain: str = EMPTY_CHAIN
    ttl_seconds: float | None = None
    expires_at: float | None = None

    def updated(self, **changes: object) -> "SessionRecord":
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class StoredCheckpoint:
    """One memory as bytes, the offset that it covers, and the chain of the text before it.

    `version` grows by one with every checkpoint of a session. `value` is opaque here.
    """

    version: int
    offset: int
    value: bytes
    tokens: int = 0
    segments: int = 0
    memory_bytes: int = 0
    chain: str = field(default=EMPTY_CHAIN, compare=False)


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


class StoreError(Exception):
    """Any refusal or failure of a store.

    StoreError
     ├── SessionMissing      no such session of this tenant
     ├── SessionExpired      there was one, and its time was over
     ├── SessionTaken        a session of this name exists
     ├── OffsetMismatch      the text does not end where the append starts; carries accepted_bytes
     ├── ContentConflict     other bytes lie at that offset; carries accepted_bytes
     ├── StaleCheckpoint     version, offset, text or lease do not follow from what is stored
     ├── LeaseHeld           another replica reads the session; carries holder
     ├── LeaseLost           the lease has run out and somebody else may have taken it
     ├── DamagedValue        a checksum does not match; carries what
     ├── StoreFull           no room to keep what was sent; nothing was kept
     └── StoreUnavailable    the store can not be reached or used now
    """


class SessionMissing(StoreError):
    pass


class SessionExpired(StoreError):
    pass


class SessionTaken(StoreError):
    pass


class StaleCheckpoint(StoreError):
    pass


class LeaseHeld(StoreError):
    def __init__(self, holder: str) -> None:
        super().__init__(f"the session is read by {holder}")
        self.holder = holder


class LeaseLost(StoreError):
    pass


class StoreFull(StoreError):
    pass


class StoreUnavailable(StoreError):
    pass


class DamagedValue(StoreError):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what} does not match its checksum")
        self.what = what


class OffsetMismatch(StoreError):
    def __init__(self, accepted_bytes: int) -> None:
        super().__init__(f"the text ends at offset {accepted_bytes}")
        self.accepted_bytes = accepted_bytes


class ContentConflict(StoreError):
    def __init__(self, accepted_bytes: int) -> None:
        super().__init__("other bytes are stored at this offset")
        self.accepted_bytes = accepted_bytes


class Store(Protocol):
    """Keeps sessions. Every method is one atomic, durable step: when it returns, it survives a crash.

    `durability` says what kind of crash, `shared` whether other processes may use the same sessions. Wherever a session
    is meant that there is not, `SessionMissing` is raised, or `SessionExpired` where its time was over.
    """

    durability: str
    shared: bool

    async def create(self, record: SessionRecord) -> None:
        """Keeps a new session; `SessionTaken` when its key is in use."""

    async def get(self, key: SessionKey) -> SessionRecord:
        """The session's record; `DamagedValue`."""

    async def list(self, tenant: str, limit: int, after: str | None = None) -> list[SessionRecord]:
        """A tenant's sessions, newest created first (ties by id, descending), those behind `after`."""

    async def delete(self, key: SessionKey) -> None:
        """Forgets the session, its journal and its checkpoints, and that it ever expired."""

    async def append(
        self, key: SessionKey, offset: int | None, piece: bytes, at: float, repeats: bool = True
    ) -> Appended:
        """Keeps `piece` (1 to PIECE_BYTES_MAX bytes) behind the accepted text.

        `offset` None, or equal to the accepted bytes, appends. Beyond them: `OffsetMismatch`. Before them,
        the part of `piece` that overlaps is compared with what was accepted: other bytes are a
        `ContentConflict`; the same bytes are recognised and only what goes beyond is appended; where
        neither the journal nor the digests of the last REPEATS_KEPT pieces can tell, `OffsetMismatch`. Without
        `repeats` whatever lies before the end is an `OffsetMismatch`: the sender knows that it never sent it.
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
        oldest of them (behind offset 0 until there are so many), but always the last JOURNAL_BYTES_KEPT.
        """

    async def recover(self, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
        """What is sound, for a reader to go on from; damaged checkpoints are left out and named.

        At most `count` of the sound checkpoints, the newest ones, are fetched.
        """

    async def unread(self, bytes_min: int) -> "builtins.list[SessionRecord]":
        """The sound sessions of all tenants with at least `bytes_min` (1 or more) of text that no checkpoint covers."""

    async def quarantine(self, key: SessionKey, reason: str, at: float) -> None:
        """Marks the session as not to be read or answered from, and says why."""

    async def touch(self, key: SessionKey, at: float) -> None:
        """Notes that the session was used, so that its time begins anew."""

    async def expire(self, at: float) -> "builtins.list[SessionKey]":
        """Forgets the sessions whose time is over; `SessionExpired` is told of them for TOMBSTONE_SECONDS."""

    async def ready(self) -> None:
        """Returns when the store can be used; raises `StoreUnavailable`."""

    async def close(self) -> None:
        """Finishes what was begun and lets go of everything held."""


def digest(value: bytes) -> bytes:
    """SHA-256 of a stored value, kept beside it."""
    return sha256(value).digest()
