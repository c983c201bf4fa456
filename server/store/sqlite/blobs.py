"""The rows of memories as bytes: checkpoints by version, snapshots by name. The session's manifest says which exist."""

from typing import Any

import apsw

from server.store.base import DamagedValue, SessionKey, StoredCheckpoint
from server.store.manifest import CheckpointInfo, SnapshotInfo
from server.store.sqlite.checksum import checksum, matches


def keep_checkpoint(connection: apsw.Connection, key: SessionKey, info: CheckpointInfo, value: bytes) -> None:
    connection.execute(
        "INSERT INTO checkpoint (tenant, id, version, seal, value) VALUES (?, ?, ?, ?, ?)",
        (*key, info.version, checksum("checkpoint", key, info, value), value),
    )


def keep_snapshot(connection: apsw.Connection, key: SessionKey, info: SnapshotInfo, value: bytes) -> None:
    # What damage left under a name that the manifest does not have must not stand in its way.
    connection.execute(
        "REPLACE INTO snapshot (tenant, id, name, seal, value) VALUES (?, ?, ?, ?, ?)",
        (*key, info.name, checksum("snapshot", key, info, value), value),
    )


def load_checkpoint(connection: apsw.Connection, key: SessionKey, info: CheckpointInfo) -> StoredCheckpoint:
    """The checkpoint that the manifest names; `DamagedValue`."""
    row: tuple[Any, Any] | None = connection.execute(
        "SELECT CAST(seal AS BLOB), CAST(value AS BLOB) FROM checkpoint WHERE tenant = ? AND id = ? AND version = ?",
        (*key, info.version),
    ).fetchone()
    if row is None or not matches(row[0], "checkpoint", key, info, row[1]):
        raise DamagedValue(f"checkpoint {info.version} of session {key.id!r}")
    return info.checkpoint(row[1])


def load_snapshot(connection: apsw.Connection, key: SessionKey, info: SnapshotInfo) -> StoredCheckpoint:
    """The snapshot that the manifest names; `DamagedValue`."""
    row: tuple[Any, Any] | None = connection.execute(
        "SELECT CAST(seal AS BLOB), CAST(value AS BLOB) FROM snapshot WHERE tenant = ? AND id = ? AND name = ?",
        (*key, info.name),
    ).fetchone()
    if row is None or not matches(row[0], "snapshot", key, info, row[1]):
        raise DamagedValue(f"snapshot {info.name!r} of session {key.id!r}")
    return info.mark.checkpoint(row[1])


def trim_checkpoints(connection: apsw.Connection, key: SessionKey, version: int) -> None:
    """Deletes the checkpoints before `version`."""
    connection.execute("DELETE FROM checkpoint WHERE tenant = ? AND id = ? AND version < ?", (*key, version))


def drop_snapshot(connection: apsw.Connection, key: SessionKey, name: str) -> None:
    connection.execute("DELETE FROM snapshot WHERE tenant = ? AND id = ? AND name = ?", (*key, name))


def remove_checkpoints(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM checkpoint WHERE tenant = ? AND id = ?", key)


def remove_snapshots(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM snapshot WHERE tenant = ? AND id = ?", key)
