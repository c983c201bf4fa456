"""What the promises about snapshots and ways back to them mean for the rows, each within one transaction.

It knows neither threads nor commits, nor how a session's text grows.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import apsw

from server.store import rules
from server.store.base import PIECE_BYTES_MAX, DamagedValue, SessionKey, SessionRecord, Snapshot, StoredCheckpoint
from server.store.manifest import KeptCheckpoint, Manifest, SnapshotInfo
from server.store.sqlite import blobs, journal, sessions
from server.store.text_hash import shortened

# So much text is looked at in one transaction: others have their turns between.
LOOKED_AT_BYTES = 4 * PIECE_BYTES_MAX


class Known(NamedTuple):
    """An offset, and the chain of the accepted text before it."""

    offset: int
    chain: str


def look_back(connection: apsw.Connection, key: SessionKey, offset: int, known: Known | None) -> Known | None:
    """What is known nearer to `offset` from behind than `known`, or to begin with; None where no journal tells.

    What is found by and by holds together: the text of a lineage only grows. Whoever uses it looks at the lineage.
    """
    entry = sessions.load(connection, key)
    record = entry.record
    if not entry.journal_offset <= offset <= record.accepted_bytes:
        return None
    if known is None:
        ends = [Known(record.read_bytes, record.info.chain), Known(record.accepted_bytes, record.chain)]
        ends += [Known(kept.info.offset, kept.info.chain) for kept in entry.checkpoints]
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
    """`known_chain` is that of the lineage's text at the memory's offset, where the journal can tell."""
    entry = sessions.load(connection, key)
    record, names = entry.record, (snapshot.name for snapshot in entry.snapshots)
    rules.check_snapshot(record, names, name, lineage, checkpoint.offset)
    rules.check_chain(known_chain, checkpoint)
    kept = SnapshotInfo.of(record, name, at, KeptCheckpoint.of(checkpoint))
    blobs.keep_snapshot(connection, key, kept, checkpoint.value)
    used = rules.used(record, at)
    sessions.save(connection, replace(entry, record=used, snapshots=(*entry.snapshots, kept)))
    return kept.snapshot


def list_snapshots(connection: apsw.Connection, key: SessionKey) -> list[Snapshot]:
    return [kept.snapshot for kept in reversed(sessions.load(connection, key).snapshots)]


def load_snapshot(connection: apsw.Connection, key: SessionKey, name: str) -> tuple[Snapshot, StoredCheckpoint]:
    kept = sessions.load(connection, key).named(name)
    return kept.snapshot, blobs.load_snapshot(connection, key, kept)


def drop_snapshot(connection: apsw.Connection, key: SessionKey, name: str) -> None:
    entry = sessions.load(connection, key)
    dropped = entry.named(name)
    blobs.drop_snapshot(connection, key, name)
    left = tuple(kept for kept in entry.snapshots if kept != dropped)
    sessions.save(connection, replace(entry, snapshots=left))


def rewind(
    connection: apsw.Connection,
    record: SessionRecord,
    checkpoint: StoredCheckpoint,
    lineage: str,
    at: float,
    known_chain: str | None,
    end_lease: Callable[[], None],
) -> SessionRecord:
    """`known_chain` is that of the record's text at the memory's offset, where the journal can tell."""
    key = record.key
    entry = sessions.load(connection, key)
    rules.check_rewind(entry.record, checkpoint, record.lineage)
    kept = KeptCheckpoint.of(checkpoint)
    blobs.remove_checkpoints(connection, key)
    blobs.keep_checkpoint(connection, key, kept, checkpoint.value)
    journal_offset = checkpoint.offset
    if known_chain == checkpoint.info.chain and _cut(connection, entry, checkpoint.offset):
        journal_offset = entry.journal_offset
    else:
        journal.remove(connection, key)
    rewound = rules.rewound(entry.record, checkpoint, lineage, at)
    sessions.save(connection, replace(entry, record=rewound, journal_offset=journal_offset, checkpoints=(kept,)))
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
    entry = sessions.load(connection, record.key)
    rules.check_rebuild(entry.record, entry.journal_offset, record.lineage)
    blobs.remove_checkpoints(connection, record.key)
    rebuilt = rules.rebuilt(entry.record, model, fingerprint, lineage, at)
    sessions.save(connection, replace(entry, record=rebuilt, checkpoints=()))
    end_lease()
    return rebuilt


def _cut(connection: apsw.Connection, entry: Manifest, offset: int) -> bool:
    """Whether the journal keeps the session's text up to `offset`, and nothing else from now on."""
    if not rules.keeps_text(entry.record, entry.journal_offset, offset):
        return False
    try:
        journal.cut(connection, entry, offset)
    except DamagedValue:
        return False
    return True
