"""The rows of sessions, and the tombstones of those that expired.

A session's row holds its manifest under a checksum, and hints: indexed columns by which the sweep finds the expired and
the unread sessions without decoding every manifest. The manifest decides. Hints are recomputed when the file is opened.
The manifest's column is named `entry`.
"""

from typing import Any

import apsw

from server.store import rules
from server.store.base import (
    TOMBSTONE_SECONDS,
    DamagedValue,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
)
from server.store.manifest import Manifest, decode
from server.store.sqlite.checksum import checksum, matches


def add(connection: apsw.Connection, manifest: Manifest) -> None:
    record = manifest.record
    value = manifest.encode()
    row_checksum = _checksum(record.key, record.created_at, value)
    connection.execute(
        "INSERT INTO session (tenant, id, created_at, expires_at, unread_bytes, stored_bytes, seal, entry) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*record.key, record.created_at, *_hints(manifest), row_checksum, value),
    )


def save(connection: apsw.Connection, manifest: Manifest) -> None:
    record = manifest.record
    value = manifest.encode()
    row_checksum = _checksum(record.key, record.created_at, value)
    connection.execute(
        "UPDATE session SET expires_at = ?, unread_bytes = ?, stored_bytes = ?, seal = ?, entry = ? "
        "WHERE tenant = ? AND id = ?",
        (*_hints(manifest), row_checksum, value, *record.key),
    )


def load(connection: apsw.Connection, key: SessionKey) -> Manifest:
    # CAST, here and wherever rows are read: damage can change a value's type, and text may not decode.
    row = connection.execute(
        "SELECT CAST(created_at AS REAL), CAST(seal AS BLOB), CAST(entry AS BLOB) FROM session "
        "WHERE tenant = ? AND id = ?",
        key,
    ).fetchone()
    if row is None:
        raise rules.expired(key) if has_expired(connection, key) else rules.missing(key)
    return _decoded(key, *row)


def perhaps(connection: apsw.Connection, key: SessionKey) -> Manifest | None:
    """The session's manifest, None where it is damaged or missing."""
    try:
        return load(connection, key)
    except (DamagedValue, SessionMissing, SessionExpired):
        return None


def exists(connection: apsw.Connection, key: SessionKey) -> bool:
    # A damaged session is still there: its name is taken, and it can be deleted.
    found = connection.execute("SELECT 1 FROM session WHERE tenant = ? AND id = ?", key).fetchone()
    return found is not None


def page(connection: apsw.Connection, tenant: str, limit: int, after: str | None) -> list[SessionRecord]:
    """At most `limit` records after the session `after`, newest created first."""
    behind, place = "", tuple[float | str, ...]()
    if after is not None:
        behind = "AND (created_at, id) < (?, ?)"
        place = (load(connection, SessionKey(tenant, after)).record.created_at, after)
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT CAST(id AS BLOB), CAST(created_at AS REAL), CAST(seal AS BLOB), CAST(entry AS BLOB) FROM session "
        f"WHERE tenant = ? {behind} ORDER BY created_at DESC, id DESC LIMIT ?",
        (tenant, *place, limit),
    ).fetchall()
    return [
        _decoded(SessionKey(tenant, id.decode(errors="replace")), created_at, stored_checksum, value).record
        for id, created_at, stored_checksum, value in rows
    ]


def perhaps_expired(connection: apsw.Connection, at: float) -> list[Manifest]:
    """The undamaged sessions whose hint says that they have expired."""
    return _hinted(connection, "expires_at <= ?", at)


def perhaps_unread(connection: apsw.Connection, bytes_min: int) -> list[Manifest]:
    """The undamaged sessions whose hint says that at least `bytes_min` of their text are unread."""
    return _hinted(connection, "unread_bytes >= ?", bytes_min)


def stored_bytes(connection: apsw.Connection, tenant: str) -> int:
    """The sum of the hints of a tenant's sessions."""
    found: int | None = connection.execute("SELECT sum(stored_bytes) FROM session WHERE tenant = ?", (tenant,)).get
    return found or 0


def renew_hints(connection: apsw.Connection) -> None:
    """Recomputes every session's hints from its manifest; those of a damaged session become NULL."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT rowid, CAST(tenant AS BLOB), CAST(id AS BLOB), CAST(created_at AS REAL), CAST(seal AS BLOB), "
        "CAST(entry AS BLOB) FROM session"
    ).fetchall()
    hints = [(rowid, *_hints(_undamaged(*row))) for rowid, *row in rows]
    connection.executemany(
        "UPDATE session SET expires_at = ?2, unread_bytes = ?3, stored_bytes = ?4 WHERE rowid = ?1 "
        "AND (expires_at IS NOT ?2 OR unread_bytes IS NOT ?3 OR stored_bytes IS NOT ?4)",
        hints,
    )


def count(connection: apsw.Connection, tenant: str) -> int:
    found: int = connection.execute("SELECT count(*) FROM session WHERE tenant = ?", (tenant,)).get
    return found


def remove(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM session WHERE tenant = ? AND id = ?", key)


def add_tombstone(connection: apsw.Connection, key: SessionKey, at: float) -> None:
    connection.execute("REPLACE INTO tombstone (tenant, id, until) VALUES (?, ?, ?)", (*key, at + TOMBSTONE_SECONDS))


def has_expired(connection: apsw.Connection, key: SessionKey) -> bool:
    found = connection.execute("SELECT 1 FROM tombstone WHERE tenant = ? AND id = ?", key).fetchone()
    return found is not None


def remove_tombstone(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM tombstone WHERE tenant = ? AND id = ?", key)


def clear_tombstones(connection: apsw.Connection, at: float) -> None:
    """Deletes the tombstones that have expired themselves."""
    connection.execute("DELETE FROM tombstone WHERE until <= ?", (at,))


def _hints(manifest: Manifest | None) -> tuple[float | None, int | None, int | None]:
    """What the sweep selects by: expires_at, unread_bytes (None in quarantine) and stored_bytes."""
    if manifest is None:
        return None, None, None
    record = manifest.record
    unread_bytes = record.accepted_bytes - record.read_bytes if record.quarantined is None else None
    return record.expires_at, unread_bytes, manifest.stored_bytes


def _hinted(connection: apsw.Connection, condition: str, bound: float) -> list[Manifest]:
    """The oldest first; the plus keeps SQLite from walking the table in that order instead of taking the index."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT CAST(tenant AS BLOB), CAST(id AS BLOB), CAST(created_at AS REAL), CAST(seal AS BLOB), "
        f"CAST(entry AS BLOB) FROM session WHERE {condition} ORDER BY +rowid",
        (bound,),
    ).fetchall()
    return [manifest for row in rows if (manifest := _undamaged(*row)) is not None]


def _undamaged(
    tenant: bytes | None, id: bytes | None, created_at: float, stored_checksum: bytes, value: bytes
) -> Manifest | None:
    """The manifest of a row, unless it is damaged."""
    if tenant is None or id is None:
        return None
    key = SessionKey(tenant.decode(errors="replace"), id.decode(errors="replace"))
    return decode(value) if matches(stored_checksum, "session", key, (created_at,), value) else None


def _checksum(key: SessionKey, created_at: float, value: bytes) -> bytes:
    return checksum("session", key, (float(created_at),), value)


def _decoded(key: SessionKey, created_at: float, stored_checksum: bytes, value: bytes) -> Manifest:
    if not matches(stored_checksum, "session", key, (created_at,), value):
        raise DamagedValue(f"the record of session {key.id!r}")
    return decode(value)
