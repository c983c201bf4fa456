"""The rows of checkpoints: memories as bytes, each sealed to its session, version, offset and counts.

It does not know what the bytes mean, nor which versions are still wanted; that the session's entry tells.
"""

from typing import Any

import apsw

from server.store.base import DamagedValue, SessionKey, StoredCheckpoint
from server.store.manifest import CheckpointInfo
from server.store.sqlite.checksum import matches, seal


def keep(connection: apsw.Connection, key: SessionKey, mark: CheckpointInfo, value: bytes) -> None:
    connection.execute(
        "INSERT INTO checkpoint (tenant, id, version, seal, value) VALUES (?, ?, ?, ?, ?)",
        (*key, mark.version, seal("checkpoint", key, mark, value), value),
    )


def load(connection: apsw.Connection, key: SessionKey, mark: CheckpointInfo) -> StoredCheckpoint:
    """The checkpoint of which the session's entry says that it is there."""
    row: tuple[Any, Any] | None = connection.execute(
        "SELECT CAST(seal AS BLOB), CAST(value AS BLOB) FROM checkpoint WHERE tenant = ? AND id = ? AND version = ?",
        (*key, mark.version),
    ).fetchone()
    if row is None or not matches(row[0], "checkpoint", key, mark, row[1]):
        raise DamagedValue(f"checkpoint {mark.version} of session {key.id!r}")
    return mark.checkpoint(row[1])


def trim(connection: apsw.Connection, key: SessionKey, version: int) -> None:
    """Lets go of the checkpoints before `version`."""
    connection.execute("DELETE FROM checkpoint WHERE tenant = ? AND id = ? AND version < ?", (*key, version))


def remove(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM checkpoint WHERE tenant = ? AND id = ?", key)
