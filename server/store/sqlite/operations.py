"""The store's operations as reads and writes of rows.

Every function runs within one transaction: a failure is raised, and the caller rolls back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import apsw

from server.store import rules
from server.store.base import (
    CHECKPOINTS_KEPT,
    Appended,
    DamagedValue,
    OffsetMismatch,
    Recovery,
    SessionKey,
    SessionRecord,
    StoredCheckpoint,
    StoredPart,
)
from server.store.manifest import Manifest
from server.store.sqlite import blobs, journal, lenders, memories, parts, sessions


def create(
    connection: apsw.Connection,
    record: SessionRecord,
    first: StoredCheckpoint | None = None,
    source: SessionKey | None = None,
) -> None:
    if sessions.exists(connection, record.key):
        raise rules.taken(record.key)
    # Rows that remain of a session whose own row was lost to damage must not become part of a new one.
    _forget(connection, record.key)
    sessions.remove_tombstone(connection, record.key)
    trimmed = rules.trimmed_marks(record, record.accepted_bytes)
    manifest = Manifest(trimmed, record.accepted_bytes)
    if first is not None:
        manifest, memory = memories.begin(connection, trimmed, first, source)
        blobs.keep_checkpoint(connection, record.key, memory.kept, memory.value)
    sessions.add(connection, manifest)


def delete(connection: apsw.Connection, key: SessionKey) -> None:
    if sessions.exists(connection, key):
        _forget(connection, key)
    elif sessions.has_expired(connection, key):
        sessions.remove_tombstone(connection, key)
    else:
        raise rules.missing(key)


def append(
    connection: apsw.Connection,
    key: SessionKey,
    offset: int,
    piece: bytes,
    at: float,
    repeats: bool = True,
    document: str | None = None,
) -> Appended:
    manifest = sessions.load(connection, key)
    accepted = manifest.record.accepted_bytes
    known, new = rules.placed(accepted, offset, piece, repeats)
    if known:
        journal.recognise(connection, manifest, offset, known)
    if new:
        journal.keep(connection, key, accepted, new)
    grown = rules.grown(manifest.record, new, at, document)
    sessions.save(connection, replace(manifest, record=grown))
    return Appended(grown, replayed=not new)


def read_journal(connection: apsw.Connection, key: SessionKey, offset: int, limit: int) -> bytes:
    manifest = sessions.load(connection, key)
    accepted = manifest.record.accepted_bytes
    if offset > accepted:
        raise OffsetMismatch(accepted)
    if offset < manifest.journal_offset:
        raise rules.trimmed(offset, manifest.journal_offset)
    return journal.read(connection, key, offset, min(offset + limit, accepted))


def checkpoint(
    connection: apsw.Connection, key: SessionKey, newest: StoredCheckpoint, at: float, check: Callable[[], None]
) -> None:
    """`check` refuses a lease that is not the latest one; it is called inside the transaction."""
    manifest = sessions.load(connection, key)
    check()
    rules.check_follows(manifest.record, newest)
    before, memory = memories.roots(connection, manifest), memories.keep_parts(connection, manifest, newest)
    blobs.keep_checkpoint(connection, key, memory.kept, memory.value)
    checkpoints = (*manifest.checkpoints, memory.kept)[-CHECKPOINTS_KEPT:]
    blobs.trim_checkpoints(connection, key, checkpoints[0].info.version)
    journal_offset = manifest.journal_offset
    if len(checkpoints) == CHECKPOINTS_KEPT:
        begin = rules.trimmed_to(manifest.record, manifest.journal_offset, checkpoints[0].info.offset)
        journal_offset = journal.trim(connection, key, begin)
    moved = rules.trimmed_marks(rules.moved(manifest.record, newest, at), journal_offset)
    changed = replace(manifest, record=moved, journal_offset=journal_offset, checkpoints=checkpoints)
    memories.save(connection, before, changed)


def recover(connection: apsw.Connection, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
    manifest = sessions.load(connection, key)
    undamaged: list[StoredCheckpoint] = []
    damaged: list[str] = []
    for kept in reversed(manifest.checkpoints):
        if len(undamaged) == count:
            break
        try:
            undamaged.append(blobs.load_checkpoint(connection, key, kept))
        except DamagedValue as error:
            damaged.append(str(error))
    journal_offset = journal.gapless_from(connection, manifest)
    if journal_offset > manifest.journal_offset:
        damaged.append(f"the journal of session {key.id!r} has a gap before offset {journal_offset}")
    return Recovery(manifest.record, tuple(undamaged), journal_offset, tuple(damaged))


def quarantine(connection: apsw.Connection, key: SessionKey, reason: str, at: float) -> None:
    manifest = sessions.load(connection, key)
    sessions.save(connection, replace(manifest, record=replace(manifest.record, quarantined=reason, updated_at=at)))


def touch(connection: apsw.Connection, key: SessionKey, at: float) -> None:
    manifest = sessions.load(connection, key)
    sessions.save(connection, replace(manifest, record=rules.used(manifest.record, at)))


def revise(connection: apsw.Connection, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
    manifest = sessions.load(connection, key)
    revised = rules.revised(manifest.record, change, at)
    sessions.save(connection, replace(manifest, record=revised))
    return revised


def expire(connection: apsw.Connection, at: float) -> list[SessionKey]:
    expired = []
    for manifest in sessions.perhaps_expired(connection, at):
        if rules.is_expired(manifest.record, at):
            expired.append(manifest.record.key)
        else:
            # A damaged hint: saving the manifest repairs it.
            sessions.save(connection, manifest)
    # After all repairs: a session that is deleted returns its loans, which changes other manifests.
    for key in expired:
        _forget(connection, key)
        sessions.add_tombstone(connection, key, at)
    memories.return_orphaned(connection)
    sessions.clear_tombstones(connection, at)
    return expired


def unread(connection: apsw.Connection, bytes_min: int) -> list[SessionRecord]:
    found = sessions.perhaps_unread(connection, bytes_min)
    return [manifest.record for manifest in found if rules.is_unread(manifest.record, bytes_min)]


def stored_bytes(connection: apsw.Connection, tenant: str) -> int:
    return sessions.stored_bytes(connection, tenant) + lenders.stored_bytes(connection, tenant)


def fetch_parts(connection: apsw.Connection, key: SessionKey, some: Sequence[StoredPart]) -> list[object]:
    """The values of parts, not checked yet; `DamagedValue` where one is in a pool that does not lend to the session."""
    if not memories.may_load(connection, key, {part.pool for part in some}):
        raise DamagedValue(f"the parts of session {key.id!r} are not those of its memories")
    return parts.fetch(connection, key.tenant, some)


def _forget(connection: apsw.Connection, key: SessionKey) -> None:
    memories.forget(connection, key)
    sessions.remove(connection, key)
    journal.remove(connection, key)
    blobs.remove_checkpoints(connection, key)
    blobs.remove_snapshots(connection, key)
