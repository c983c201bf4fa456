"""Snapshots, rewinding and rebuilding as reads and writes of rows, each within one transaction."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import apsw

from server.store import rules
from server.store.base import (
    PIECE_BYTES_MAX,
    DamagedValue,
    Mark,
    SessionKey,
    SessionRecord,
    Snapshot,
    StoredCheckpoint,
)
from server.store.manifest import Manifest, SnapshotInfo
from server.store.sqlite import blobs, journal, memories, sessions
from server.store.text_hash import shortened

# At most this much text is read in one transaction, so that other operations run in between.
LOOKED_AT_BYTES = 4 * PIECE_BYTES_MAX


class Known(NamedTuple):
    """An offset, and the chain of the accepted text before it."""

    offset: int
    chain: str


def look_back(connection: apsw.Connection, key: SessionKey, offset: int, known: Known | None) -> Known | None:
    """One step back from `known` towards `offset`; from the nearest known chain when `known` is None.

    Returns None where the journal does not hold that text undamaged. The steps may run in separate transactions,
    because the text of a lineage only grows; the caller checks that the lineage is still the same.
    """
    manifest = sessions.load(connection, key)
    record = manifest.record
    if not manifest.journal_offset <= offset <= record.accepted_bytes:
        return None
    if known is None:
        ends = [Known(record.read_bytes, record.info.chain), Known(record.accepted_bytes, record.chain)]
        ends += [Known(kept.info.offset, kept.info.chain) for kept in manifest.checkpoints]
        known = min(end for end in ends if end.offset >= offset)
    start = max(offset, known.offset - LOOKED_AT_BYTES)
    try:
        text = journal.read(connection, key, start, known.offset) if start < known.offset else b""
    except DamagedValue:
        return None
    return Known(start, shortened(known.chain, text))


def keep_snapshot(
    connection: apsw.Connection,
    key: SessionKey,
    name: str,
    lineage: str,
    checkpoint: StoredCheckpoint,
    at: float,
    known_chain: str | None,
) -> Snapshot:
    """`known_chain` is the chain of the lineage's text at the memory's offset, None if the journal lacks it."""
    manifest = sessions.load(connection, key)
    record, names = manifest.record, (snapshot.name for snapshot in manifest.snapshots)
    rules.check_snapshot(record, names, name, lineage, checkpoint.offset)
    rules.check_chain(known_chain, checkpoint)
    before, memory = memories.roots(connection, manifest), memories.keep_parts(connection, manifest, checkpoint)
    kept = SnapshotInfo.of(record, name, at, memory.kept)
    blobs.keep_snapshot(connection, key, kept, memory.value)
    used = rules.used(record, at)
    memories.save(connection, before, replace(manifest, record=used, snapshots=(*manifest.snapshots, kept)))
    return kept.snapshot


def list_snapshots(connection: apsw.Connection, key: SessionKey) -> list[Snapshot]:
    return [kept.snapshot for kept in reversed(sessions.load(connection, key).snapshots)]


def load_snapshot(connection: apsw.Connection, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
    kept = sessions.load(connection, key).named(name)
    return kept.snapshot, blobs.load_snapshot(connection, key, kept)


def drop_snapshot(connection: apsw.Connection, key: SessionKey, name: str) -> None:
    manifest = sessions.load(connection, key)
    dropped, before = manifest.named(name), memories.roots(connection, manifest)
    blobs.drop_snapshot(connection, key, name)
    left = tuple(kept for kept in manifest.snapshots if kept != dropped)
    memories.save(connection, before, replace(manifest, snapshots=left))


def rewind(
    connection: apsw.Connection,
    record: SessionRecord,
    checkpoint: StoredCheckpoint,
    lineage: str,
    at: float,
    marks: tuple[Mark, ...],
    known_chain: str | None,
    end_lease: Callable[[], None],
) -> SessionRecord:
    """`known_chain` is the chain of the record's text at the memory's offset, None if the journal lacks it."""
    key = record.key
    manifest = sessions.load(connection, key)
    rules.check_rewind(manifest.record, checkpoint, record.lineage, marks)
    before, memory = memories.roots(connection, manifest), memories.keep_parts(connection, manifest, checkpoint)
    blobs.remove_checkpoints(connection, key)
    blobs.keep_checkpoint(connection, key, memory.kept, memory.value)
    journal_offset = checkpoint.offset
    if known_chain == checkpoint.info.chain and _cut(connection, manifest, checkpoint.offset):
        journal_offset = manifest.journal_offset
    else:
        journal.remove(connection, key)
    rewound = rules.rewound(manifest.record, checkpoint, lineage, at, marks)
    rewound = rules.trimmed_marks(rewound, journal_offset)
    changed = replace(manifest, record=rewound, journal_offset=journal_offset, checkpoints=(memory.kept,))
    memories.save(connection, before, changed)
    end_lease()
    return rewound


def rebuild(
    connection: apsw.Connection,
    record: SessionRecord,
    model: str,
    fingerprint: str,
    lineage: str,
    at: float,
    end_lease: Callable[[], None],
) -> SessionRecord:
    manifest = sessions.load(connection, record.key)
    rules.check_rebuild(manifest.record, manifest.journal_offset, record.lineage)
    before = memories.roots(connection, manifest)
    blobs.remove_checkpoints(connection, record.key)
    rebuilt = rules.rebuilt(manifest.record, model, fingerprint, lineage, at)
    memories.save(connection, before, replace(manifest, record=rebuilt, checkpoints=()))
    end_lease()
    return rebuilt


def _cut(connection: apsw.Connection, manifest: Manifest, offset: int) -> bool:
    """Cuts the journal at `offset` where it may stay; whether it did."""
    if not rules.keeps_text(manifest.record, manifest.journal_offset, offset):
        return False
    try:
        journal.cut(connection, manifest, offset)
    except DamagedValue:
        return False
    return True
