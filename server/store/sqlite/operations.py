"""What each promise of the contract means for the rows; every function runs within one transaction.

It knows neither threads nor commits: a failure is raised, and whoever called undoes what was begun.
"""

from collections.abc import Callable, Mapping
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
)
from server.store.manifest import CheckpointInfo, Manifest
from server.store.sqlite import checkpoints, journal, sessions, snapshots, tombstones


def create(connection: apsw.Connection, record: SessionRecord, first: StoredCheckpoint | None = None) -> None:
    if sessions.exists(connection, record.key):
        raise rules.taken(record.key)
    # Where damage lost a session's row, what it left behind must not become part of a new one.
    _forget(connection, record.key)
    tombstones.remove(connection, record.key)
    marks: tuple[CheckpointInfo, ...] = ()
    if first is not None:
        marks = (CheckpointInfo.of(first),)
        checkpoints.keep(connection, record.key, marks[0], first.value)
    sessions.add(connection, Manifest(record, record.accepted_bytes, marks))


def delete(connection: apsw.Connection, key: SessionKey) -> None:
    if sessions.exists(connection, key):
        _forget(connection, key)
    elif tombstones.exists(connection, key):
        tombstones.remove(connection, key)
    else:
        raise rules.missing(key)


def append(
    connection: apsw.Connection, key: SessionKey, offset: int, piece: bytes, at: float, repeats: bool = True
) -> Appended:
    entry = sessions.load(connection, key)
    accepted = entry.record.accepted_bytes
    known, new = rules.placed(accepted, offset, piece, repeats)
    if known:
        journal.recognise(connection, entry, offset, known)
    if new:
        journal.keep(connection, key, accepted, new)
    grown = rules.grown(entry.record, new, at)
    sessions.save(connection, replace(entry, record=grown))
    return Appended(grown, replayed=not new)


def read_journal(connection: apsw.Connection, key: SessionKey, offset: int, limit: int) -> bytes:
    entry = sessions.load(connection, key)
    accepted = entry.record.accepted_bytes
    if offset > accepted:
        raise OffsetMismatch(accepted)
    if offset < entry.journal_offset:
        raise rules.trimmed(offset, entry.journal_offset)
    return journal.read(connection, key, offset, min(offset + limit, accepted))


def checkpoint(
    connection: apsw.Connection, key: SessionKey, newest: StoredCheckpoint, at: float, check: Callable[[], None]
) -> None:
    """`check` refuses a lease that is not the latest one when the turn has come."""
    entry = sessions.load(connection, key)
    check()
    rules.check_follows(entry.record, newest)
    mark = CheckpointInfo.of(newest)
    checkpoints.keep(connection, key, mark, newest.value)
    marks = (*entry.marks, mark)[-CHECKPOINTS_KEPT:]
    checkpoints.trim(connection, key, marks[0].version)
    journal_offset = entry.journal_offset
    if len(marks) == CHECKPOINTS_KEPT:
        begin = rules.trimmed_to(entry.record, entry.journal_offset, marks[0].offset)
        journal_offset = journal.trim(connection, key, begin)
    moved = rules.moved(entry.record, newest, at)
    sessions.save(connection, replace(entry, record=moved, journal_offset=journal_offset, marks=marks))


def recover(connection: apsw.Connection, key: SessionKey, count: int = CHECKPOINTS_KEPT) -> Recovery:
    entry = sessions.load(connection, key)
    sound: list[StoredCheckpoint] = []
    damaged: list[str] = []
    for mark in reversed(entry.marks):
        if len(sound) == count:
            break
        try:
            sound.append(checkpoints.load(connection, key, mark))
        except DamagedValue as error:
            damaged.append(str(error))
    journal_offset = journal.gapless_from(connection, entry)
    if journal_offset > entry.journal_offset:
        damaged.append(f"the journal of session {key.id!r} has a gap before offset {journal_offset}")
    return Recovery(entry.record, tuple(sound), journal_offset, tuple(damaged))


def quarantine(connection: apsw.Connection, key: SessionKey, reason: str, at: float) -> None:
    entry = sessions.load(connection, key)
    sessions.save(connection, replace(entry, record=entry.record.updated(quarantined=reason, updated_at=at)))


def touch(connection: apsw.Connection, key: SessionKey, at: float) -> None:
    entry = sessions.load(connection, key)
    sessions.save(connection, replace(entry, record=rules.used(entry.record, at)))


def revise(connection: apsw.Connection, key: SessionKey, change: Mapping[str, object], at: float) -> SessionRecord:
    entry = sessions.load(connection, key)
    revised = rules.revised(entry.record, change, at)
    sessions.save(connection, replace(entry, record=revised))
    return revised


def expire(connection: apsw.Connection, at: float) -> list[SessionKey]:
    over = [entry.record.key for entry in sessions.sound(connection) if rules.is_over(entry.record, at)]
    for key in over:
        _forget(connection, key)
        tombstones.set_up(connection, key, at)
    tombstones.clear(connection, at)
    return over


def unread(connection: apsw.Connection, bytes_min: int) -> list[SessionRecord]:
    return [entry.record for entry in sessions.sound(connection) if rules.is_unread(entry.record, bytes_min)]


def stored_bytes(connection: apsw.Connection, tenant: str) -> int:
    return sum(entry.stored_bytes for entry in sessions.sound(connection, tenant))


def _forget(connection: apsw.Connection, key: SessionKey) -> None:
    sessions.remove(connection, key)
    journal.remove(connection, key)
    checkpoints.remove(connection, key)
    snapshots.remove(connection, key)
