"""The rows of sessions: each holds the record, and what else must be stored for the session to be whole.

It knows neither the journal's bytes nor the checkpoints' values, only where they must lie.
"""

from typing import Any

import apsw

from server.store import rules
from server.store.base import DamagedValue, SessionKey, SessionRecord
from server.store.manifest import Manifest, decode
from server.store.sqlite import tombstones
from server.store.sqlite.checksum import matches, seal


def add(connection: apsw.Connection, entry: Manifest) -> None:
    record = entry.record
    value = entry.encode()
    connection.execute(
        "INSERT INTO session (tenant, id, created_at, seal, entry) VALUES (?, ?, ?, ?, ?)",
        (*record.key, record.created_at, _seal(record.key, record.created_at, value), value),
    )


def save(connection: apsw.Connection, entry: Manifest) -> None:
    record = entry.record
    value = entry.encode()
    connection.execute(
        "UPDATE session SET seal = ?, entry = ? WHERE tenant = ? AND id = ?",
        (_seal(record.key, record.created_at, value), value, *record.key),
    )


def load(connection: apsw.Connection, key: SessionKey) -> Manifest:
    # Cast, here and wherever rows are read: damage can change a value's type, and text need not decode.
    row = connection.execute(
        "SELECT CAST(created_at AS REAL), CAST(seal AS BLOB), CAST(entry AS BLOB) FROM session "
        "WHERE tenant = ? AND id = ?",
        key,
    ).fetchone()
    if row is None:
        raise rules.expired(key) if tombstones.exists(connection, key) else rules.missing(key)
    return _opened(key, *row)


def exists(connection: apsw.Connection, key: SessionKey) -> bool:
    # A damaged session is still there: its name is taken, and it can be deleted.
    found = connection.execute("SELECT 1 FROM session WHERE tenant = ? AND id = ?", key).fetchone()
    return found is not None


def page(connection: apsw.Connection, tenant: str, limit: int, after: str | None) -> list[SessionRecord]:
    """At most `limit` records, newest created first, behind the session `after`."""
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
        _opened(SessionKey(tenant, id.decode(errors="replace")), created_at, sealed, value).record
        for id, created_at, sealed, value in rows
    ]


def sound(connection: apsw.Connection, tenant: str | None = None) -> list[Manifest]:
    """The undamaged entries of a tenant, or of all."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT CAST(tenant AS BLOB), CAST(id AS BLOB), CAST(created_at AS REAL), CAST(seal AS BLOB), "
        "CAST(entry AS BLOB) FROM session WHERE ?1 IS NULL OR tenant = ?1",
        (tenant,),
    ).fetchall()
    entries = []
    for owner, id, created_at, sealed, value in rows:
        key = SessionKey(owner.decode(errors="replace"), id.decode(errors="replace"))
        if matches(sealed, "session", key, (created_at,), value):
            entries.append(decode(value))
    return entries


def count(connection: apsw.Connection, tenant: str) -> int:
    found: int = connection.execute("SELECT count(*) FROM session WHERE tenant = ?", (tenant,)).get
    return found


def remove(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM session WHERE tenant = ? AND id = ?", key)


def _seal(key: SessionKey, created_at: float, value: bytes) -> bytes:
    return seal("session", key, (float(created_at),), value)


def _opened(key: SessionKey, created_at: float, sealed: bytes, value: bytes) -> Manifest:
    if not matches(sealed, "session", key, (created_at,), value):
        raise DamagedValue(f"the record of session {key.id!r}")
    return decode(value)
