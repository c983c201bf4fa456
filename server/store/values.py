"""The values that a store keeps and gives: sessions, journals' ends, checkpoints, snapshots, leases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from server.store.parts import DIGEST_BYTES, PART_BYTES_MAX, Part
from server.store.text_hash import EMPTY_CHAIN


class SessionKey(NamedTuple):
    """Names a session. The tenant is part of every key, so no tenant can reach another's sessions."""

    tenant: str
    id: str


class Lease(NamedTuple):
    """The right to read a session and to checkpoint it; of two leases, the one with the higher epoch is valid."""

    key: SessionKey
    holder: str
    epoch: int


class CheckpointInfo(NamedTuple):
    """What a memory covers: the text up to `offset`, which has this chain, as this many final tokens and segments.

    `version` grows by one with every checkpoint of a session; 0 is the memory that has read nothing.
    """

    version: int = 0
    offset: int = 0
    tokens: int = 0
    segments: int = 0
    memory_bytes: int = 0
    chain: str = EMPTY_CHAIN


NOTHING_READ = CheckpointInfo()


class Mark(NamedTuple):
    """The text from `offset` on, up to the next mark, belongs to the document of this name; "" is no document."""

    offset: int
    name: str


@dataclass(frozen=True)
class SessionRecord:
    """A session's metadata and progress. Offsets count UTF-8 bytes, times are Unix seconds.

    `lineage` distinguishes a session from an earlier one of the same name. `chain` is the chain of the accepted text,
    `info` is the newest checkpoint's. `open_bytes` are the 0 to 3 bytes at the end of the accepted text that begin
    an incomplete UTF-8 character, None where they are unknown. A session that is not used for `ttl_seconds` expires at
    `expires_at`. The journal of a session with `keep_text` is never trimmed. `marks` say where in the text documents
    begin or go on, in order; those that lie before the journal are left out, except the last, and counted in
    `marks_trimmed`. Text in front of the first mark of all belongs to no document.
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
    marks: tuple[Mark, ...] = ()
    marks_trimmed: int = 0

    @property
    def read_bytes(self) -> int:
        """The offset up to which the newest checkpoint covers the text."""
        return self.info.offset

    @property
    def version(self) -> int:
        return self.info.version


@dataclass(frozen=True, eq=False)
class StoredCheckpoint:
    """One memory as bytes, and what it covers: its head, opaque here, and its parts in order."""

    info: CheckpointInfo
    value: bytes
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        for part in self.parts:
            if len(part.digest) != DIGEST_BYTES or not 1 <= part.size <= PART_BYTES_MAX:
                raise ValueError(f"a part has a SHA-256 and 1 to {PART_BYTES_MAX} bytes, not {part.size}: split it")

    def __eq__(self, other: object) -> bool:
        """Whether version, counts and content are equal. Chains are not compared: `rules.check_chain` does that."""
        return isinstance(other, StoredCheckpoint) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[object, ...]:
        return self.info._replace(chain=""), self.value, tuple(part.digest for part in self.parts)

    @property
    def version(self) -> int:
        return self.info.version

    @property
    def offset(self) -> int:
        return self.info.offset


class Range(NamedTuple):
    """The bytes of a text from `begin` up to `end`."""

    begin: int
    end: int


@dataclass(frozen=True)
class Redaction:
    """What stays of a session's memories without the text in some ranges, which are in order and do not overlap.

    `checkpoint` has read all of the text. `snapshots` are the memories of the snapshots that follow, by name, and
    `kept` the names of those that stay. The chains of all memories are those of the text before it is redacted.
    """

    ranges: tuple[Range, ...]
    checkpoint: StoredCheckpoint
    snapshots: Mapping[str, StoredCheckpoint] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


class Snapshot(NamedTuple):
    """Describes a memory that is kept under a name; `fingerprint` identifies the weights that made it."""

    name: str
    created_at: float
    info: CheckpointInfo
    fingerprint: str
    value_bytes: int


@dataclass(frozen=True)
class Appended:
    """The answer to an append: the session's record after it, and whether all of its bytes were stored before."""

    record: SessionRecord
    replayed: bool

    @property
    def accepted_bytes(self) -> int:
        return self.record.accepted_bytes


@dataclass(frozen=True)
class Recovery:
    """The undamaged parts of a session: its record and its checkpoints, newest first.

    `journal_offset` is the lowest offset from which the journal has no gap.
    `damaged` describes what was found damaged and left out.
    """

    record: SessionRecord
    checkpoints: tuple[StoredCheckpoint, ...]
    journal_offset: int
    damaged: tuple[str, ...] = ()
