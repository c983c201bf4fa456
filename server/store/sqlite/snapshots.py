"""The rows of snapshots: memories as bytes, each sealed to its session, its name and all that its mark says.

It does not know what the bytes mean, nor which names are still wanted; that the session's entry tells.
"""

from typing import Any

import apsw

from server.store.base import DamagedValue, SessionKey, StoredCheckpoint
from server.store.manifest import SnapshotInfo
from server.store.sqlite.checksum import matches, seal


def keep(connection: apsw.Connection, key: SessionKey, snapshot: SnapshotInfo, value: bytes) -> None:
    # What damage left under a name that the entry does not have must not stand in its way.
    connection.execute(
        "REPLACE INTO snapshot (tenant, id, name, seal, value) VALUES (?, ?, ?, ?, ?)",
        (*key, snapshot.name, seal("snapshot", key, snapshot, value), value),
    )


def load(connection: apsw.Connection, key: SessionKey, snapshot: SnapshotInfo) -> StoredCheckpoint:
    """The memory of which the session's entry says that it is there."""
    row: tuple[Any, Any] | None = connection.execute(
        "SELECT CAST(seal AS BLOB), CAST(value AS BLOB) FROM snapshot WHERE tenant = ? AND id = ? AND name = ?",
        (*key, snapshot.name),
    ).fetchone()
    if row is None or not matches(row[0], "snapshot", key, snapshot, row[1]):
        raise DamagedValue(f"snapshot {snapshot.name!r} of session {key.id!r}")
    return snapshot.mark.checkpoint(row[1])


def drop(connection: apsw.Connection, key: SessionKey, name: str) -> None:
    connection.execute("DELETE FROM snapshot WHERE tenant = ? AND id = ? AND name = ?", (*key, name))


def remove(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM snapshot WHERE tenant = ? AND id = ?", key)
