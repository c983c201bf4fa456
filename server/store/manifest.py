"""What a store keeps of a session beside its journal and its memories: the record, and where the rest must lie.

It knows neither where an entry is kept nor how it is sealed.
"""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from server.store import rules
from server.store.base import SessionKey, SessionRecord, Snapshot, StoredCheckpoint


class CheckpointInfo(NamedTuple):
    """All of a kept checkpoint but its value; `attempt` tells where that lies when the version alone does not."""

    version: int
    offset: int
    tokens: int
    segments: int
    memory_bytes: int
    chain: str
    attempt: str = ""
    value_bytes: int = 0

    @classmethod
    def of(cls, checkpoint: StoredCheckpoint, attempt: str = "") -> "CheckpointInfo":
        return cls(
            checkpoint.version,
            checkpoint.offset,
            checkpoint.tokens,
            checkpoint.segments,
            checkpoint.memory_bytes,
            checkpoint.chain,
            attempt,
            len(checkpoint.value),
        )

    def checkpoint(self, value: bytes) -> StoredCheckpoint:
        return StoredCheckpoint(
            self.version, self.offset, value, self.tokens, self.segments, self.memory_bytes, self.chain
        )


class SnapshotInfo(NamedTuple):
    """All of a snapshot but its value: its name, and what the session was when it was kept."""

    name: str
    created_at: float
    model: str
    fingerprint: str
    lineage: str
    mark: CheckpointInfo

    @classmethod
    def of(cls, record: SessionRecord, name: str, created_at: float, mark: CheckpointInfo) -> "SnapshotInfo":
        return cls(name, created_at, record.model, record.fingerprint, record.lineage, mark)

    @property
    def snapshot(self) -> Snapshot:
        mark = self.mark
        return Snapshot(
            self.name,
            self.created_at,
            mark.version,
            mark.offset,
            mark.tokens,
            mark.segments,
            mark.memory_bytes,
            self.fingerprint,
            mark.value_bytes,
        )


class LineageSpan(NamedTuple):
    """From which offset on the text was appended to the session under which lineage."""

    offset: int
    lineage: str


@dataclass(frozen=True)
class Manifest:
    """A record, the offset from which its journal is kept, its checkpoints and its snapshots, oldest first.

    All under one seal, so that a lost value is found as surely as a changed one. A store that seals text to its lineage
    keeps `stretches` where not all of it is of the record's: one more with each rewind that leaves text behind.
    """

    record: SessionRecord
    journal_offset: int
    marks: tuple[CheckpointInfo, ...] = ()
    snapshots: tuple[SnapshotInfo, ...] = ()
    stretches: tuple[LineageSpan, ...] = ()

    @property
    def memories(self) -> tuple[CheckpointInfo, ...]:
        """The marks of all values that belong to the session."""
        return (*self.marks, *(snapshot.mark for snapshot in self.snapshots))

    @property
    def stored_bytes(self) -> int:
        kept_text_bytes = self.record.accepted_bytes - self.journal_offset
        return kept_text_bytes + sum(mark.value_bytes for mark in self.memories)

    def named(self, name: str) -> SnapshotInfo:
        """The snapshot of this name; `SnapshotMissing`."""
        for snapshot in self.snapshots:
            if snapshot.name == name:
                return snapshot
        raise rules.snapshot_missing(name)

    def stretched(self, begin: int, lineage: str) -> tuple[LineageSpan, ...]:
        """The stretches once the text from `begin` on is of another lineage."""
        before = self.stretches or (LineageSpan(0, self.record.lineage),)
        return (*(stretch for stretch in before if stretch.offset < begin), LineageSpan(begin, lineage))

    def lineage_at(self, offset: int) -> str:
        """The lineage under which the text from this offset on was appended."""
        under = [stretch.lineage for stretch in self.stretches if stretch.offset <= offset]
        return under[-1] if under else self.record.lineage

    def encode(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), default=bytes.hex).encode()


def decode(value: bytes) -> Manifest:
    entry = json.loads(value)
    record = entry["record"]
    # Records from before there were open bytes do not tell them.
    opened = record.get("open_bytes")
    record |= {"key": SessionKey(*record["key"]), "open_bytes": None if opened is None else bytes.fromhex(opened)}
    return Manifest(
        record=SessionRecord(**record),
        journal_offset=entry["journal_offset"],
        marks=tuple(CheckpointInfo(*mark) for mark in entry["marks"]),
        # Entries from before there were snapshots have neither.
        snapshots=tuple(
            SnapshotInfo._make((*told, CheckpointInfo(*mark))) for *told, mark in entry.get("snapshots", ())
        ),
        stretches=tuple(LineageSpan(*stretch) for stretch in entry.get("stretches", ())),
    )
