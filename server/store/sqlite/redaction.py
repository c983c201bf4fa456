"""A redaction as reads and writes of rows, within one transaction."""

from collections.abc import Callable
from dataclasses import replace

import apsw

from server.store import redaction as rules_of_redaction
from server.store import rules
from server.store.base import Redaction, SessionRecord
from server.store.manifest import SnapshotInfo
from server.store.sqlite import blobs, journal, memories, sessions


def redact(
    connection: apsw.Connection,
    record: SessionRecord,
    redaction: Redaction,
    lineage: str,
    at: float,
    end_lease: Callable[[], None],
) -> SessionRecord:
    key = record.key
    manifest = sessions.load(connection, key)
    names = [snapshot.name for snapshot in manifest.snapshots]
    rules_of_redaction.check(manifest.record, redaction, names, record.lineage)
    before = memories.roots(connection, manifest)
    kept_text, journal_offset = list[tuple[int, bytes]](), manifest.record.accepted_bytes
    if manifest.record.keep_text:
        kept_text, journal_offset = journal.blank(connection, manifest, redaction.ranges), manifest.journal_offset
    else:
        journal.remove(connection, key)
    redacted, redaction = rules_of_redaction.redacted(manifest.record, redaction, kept_text, lineage, at)
    checkpoint = memories.keep_parts(connection, manifest, redaction.checkpoint)
    followed = {name: memories.keep_parts(connection, manifest, each) for name, each in redaction.snapshots.items()}
    blobs.remove_checkpoints(connection, key)
    blobs.keep_checkpoint(connection, key, checkpoint.kept, checkpoint.value)
    snapshots = list[SnapshotInfo]()
    for snapshot in manifest.snapshots:
        if memory := followed.get(snapshot.name):
            snapshot = snapshot._replace(kept=memory.kept)
            blobs.keep_snapshot(connection, key, snapshot, memory.value)
        snapshots.append(snapshot)
    changed = replace(
        manifest,
        record=rules.trimmed_marks(redacted, journal_offset),
        journal_offset=journal_offset,
        checkpoints=(checkpoint.kept,),
        snapshots=tuple(snapshots),
    )
    memories.save(connection, before, changed)
    end_lease()
    return changed.record
