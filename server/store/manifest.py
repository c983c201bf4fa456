"""The manifest: everything that a store keeps of a session except its text and its memories, as one value."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from server.store import rules
from server.store.base import CheckpointInfo, Mark, Pool, SessionKey, SessionRecord, Snapshot, StoredCheckpoint
from server.store.parts import Root, decode_root


class KeptCheckpoint(NamedTuple):
    """A stored memory without its root; `attempt` completes the root's key where the version is not enough.

    `value_bytes` is the size of the encoded root, `parts` how many parts it names.
    """

    info: CheckpointInfo
    attempt: str = ""
    value_bytes: int = 0
    parts: int = 0

    @property
    def place(self) -> tuple[str | int, ...]:
        """All fields as one row: how it is stored, and what the value's checksum or seal covers."""
        # Memories that were stored before there were parts keep their place.
        parts = (self.parts,) if self.parts else ()
        return (*self.info, self.attempt, self.value_bytes, *parts)

    def root(self, value: bytes) -> Root:
        """The root in its undamaged bytes."""
        return decode_root(value) if self.parts else Root(value)

    def checkpoint(self, value: bytes) -> StoredCheckpoint:
        root = self.root(value)
        return StoredCheckpoint(self.info, root.head, root.parts)

    @classmethod
    def at(cls, place: Sequence[Any]) -> "KeptCheckpoint":
        fields = len(CheckpointInfo._fields)
        return cls(CheckpointInfo(*place[:fields]), *place[fields:])


class Loan(NamedTuple):
    """Parts of this session that a fork of it needs; `kept` is a root that names them.

    It is returned when the borrower needs none of them any more, and when there is no such session.
    """

    borrower: Pool
    at: float
    kept: KeptCheckpoint

    @property
    def place(self) -> tuple[object, ...]:
        """All fields as one row: how it is stored, and what the value's checksum or seal covers."""
        return (*self.borrower, self.at, self.kept.place)

    @classmethod
    def from_place(cls, place: Sequence[Any]) -> "Loan":
        id, lineage, at, kept = place
        return cls(Pool(id, lineage), at, KeptCheckpoint.at(kept))


class SnapshotInfo(NamedTuple):
    """A snapshot without its value: its name, and the session's model, weights and lineage when it was stored."""

    name: str
    created_at: float
    model: str
    fingerprint: str
    lineage: str
    kept: KeptCheckpoint

    @classmethod
    def of(cls, record: SessionRecord, name: str, created_at: float, kept: KeptCheckpoint) -> "SnapshotInfo":
        return cls(name, created_at, record.model, record.fingerprint, record.lineage, kept)

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self.name, self.created_at, self.kept.info, self.fingerprint, self.kept.value_bytes)

    @property
    def place(self) -> tuple[object, ...]:
        """All fields as one row: how it is stored, and what the value's checksum or seal covers."""
        *facts, kept = self
        return (*facts, kept.place)


class LineageSpan(NamedTuple):
    """The lineage under which the text from `offset` on was appended."""

    offset: int
    lineage: str


@dataclass(frozen=True)
class Manifest:
    """A record, the offset from which its journal is kept, its checkpoints and its snapshots, oldest first.

    It is one value under one checksum or seal, so that a lost part is detected as surely as a changed one. A store that
    binds text to its lineage keeps `spans` where some of the text has another lineage than the record: every rewind
    that keeps text adds one. `lent` and `borrowed` are about parts that forks share: what forks of this session need
    of its pool, and the pools of which this session needs parts. `parts_bytes` is the size of the parts in its pool.
    """

    record: SessionRecord
    journal_offset: int
    checkpoints: tuple[KeptCheckpoint, ...] = ()
    snapshots: tuple[SnapshotInfo, ...] = ()
    spans: tuple[LineageSpan, ...] = ()
    lent: tuple[Loan, ...] = ()
    borrowed: tuple[Pool, ...] = ()
    parts_bytes: int = 0

    @property
    def pool(self) -> Pool:
        """Where the parts live that this session stores."""
        return pool_of(self.record)

    @property
    def memories(self) -> tuple[KeptCheckpoint, ...]:
        """The session's checkpoints and snapshots."""
        return (*self.checkpoints, *(snapshot.kept for snapshot in self.snapshots))

    @property
    def stored_bytes(self) -> int:
        kept_text_bytes = self.record.accepted_bytes - self.journal_offset
        return kept_text_bytes + self.parts_bytes + sum(kept.value_bytes for kept in self.memories)

    def named(self, name: str) -> SnapshotInfo:
        """The snapshot of this name; `SnapshotMissing`."""
        for snapshot in self.snapshots:
            if snapshot.name == name:
                return snapshot
        raise rules.snapshot_missing(name)

    def spans_from(self, begin: int, lineage: str) -> tuple[LineageSpan, ...]:
        """The spans after a rewind: the text from `begin` on gets this lineage."""
        before = self.spans or (LineageSpan(0, self.record.lineage),)
        return (*(span for span in before if span.offset < begin), LineageSpan(begin, lineage))

    def lineage_at(self, offset: int) -> str:
        """The lineage under which the text from this offset on was appended."""
        under = [span.lineage for span in self.spans if span.offset <= offset]
        return under[-1] if under else self.record.lineage

    def encode(self) -> bytes:
        """As JSON, in the stored format of every version: the record as one flat object, the rest as rows."""
        record = asdict(self.record)
        version, offset, tokens, segments, memory_bytes, chain = record.pop("info")
        record |= {"version": version, "read_bytes": offset, "tokens": tokens, "segments": segments}
        record |= {"memory_bytes": memory_bytes, "read_chain": chain}
        manifest = {
            "record": record,
            "journal_offset": self.journal_offset,
            "marks": [kept.place for kept in self.checkpoints],
            "snapshots": [snapshot.place for snapshot in self.snapshots],
            "stretches": self.spans,
            "lent": [loan.place for loan in self.lent],
            "borrowed": self.borrowed,
            "parts_bytes": self.parts_bytes,
        }
        return json.dumps(manifest, sort_keys=True, separators=(",", ":"), default=bytes.hex).encode()


def decode(value: bytes) -> Manifest:
    """Decodes a manifest of any version: the first ones had no snapshots, spans, open bytes, parts and documents."""
    manifest = json.loads(value)
    record = manifest["record"]
    names = ("version", "read_bytes", "tokens", "segments", "memory_bytes", "read_chain")
    info = CheckpointInfo(*(record.pop(name) for name in names))
    opened = record.get("open_bytes")
    record["marks"] = tuple(Mark(*mark) for mark in record.get("marks", ()))
    record |= {"key": SessionKey(*record["key"]), "open_bytes": None if opened is None else bytes.fromhex(opened)}
    return Manifest(
        record=SessionRecord(**record, info=info),
        journal_offset=manifest["journal_offset"],
        checkpoints=tuple(KeptCheckpoint.at(place) for place in manifest["marks"]),
        snapshots=tuple(
            SnapshotInfo._make((*facts, KeptCheckpoint.at(place))) for *facts, place in manifest.get("snapshots", ())
        ),
        spans=tuple(LineageSpan(*span) for span in manifest.get("stretches", ())),
        lent=tuple(Loan.from_place(place) for place in manifest.get("lent", ())),
        borrowed=tuple(Pool(*pool) for pool in manifest.get("borrowed", ())),
        parts_bytes=manifest.get("parts_bytes", 0),
    )


def pool_of(record: SessionRecord) -> Pool:
    """Where the parts live that this session stores; a restore or a rebuild does not change it."""
    return Pool(record.key.id, rules.lineage_root(record.lineage))
