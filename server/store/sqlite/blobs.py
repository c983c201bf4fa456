"""The rows of memories as bytes: checkpoints by version, snapshots by name. The session's manifest says which exist."""

from contextlib import suppress
from typing import Any

import apsw

from server.store.base import DamagedValue, SessionKey, StoredCheckpoint
from server.store.manifest import KeptCheckpoint, Manifest, SnapshotInfo
from server.store.parts import Root
from server.store.sqlite.checksum import checksum, matches


def keep_checkpoint(connection: apsw.Connection, key: SessionKey, kept: KeptCheckpoint, value: bytes) -> None:
    connection.execute(
        "INSERT INTO checkpoint (tenant, id, version, seal, value) VALUES (?, ?, ?, ?, ?)",
        (*key, kept.info.version, checksum("checkpoint", key, kept.place, value), value),
    )


def keep_snapshot(connection: apsw.Connection, key: SessionKey, snapshot: SnapshotInfo, value: bytes) -> None:
    # What damage left under a name that the manifest does not have must not stand in its way.
    connection.execute(
        "REPLACE INTO snapshot (tenant, id, name, seal, value) VALUES (?, ?, ?, ?, ?)",
        (*key, snapshot.name, checksum("snapshot", key, snapshot.place, value), value),
    )


def load_checkpoint(connection: apsw.Connection, key: SessionKey, kept: KeptCheckpoint) -> StoredCheckpoint:
    """The checkpoint that the manifest names; `DamagedValue`."""
    return kept.checkpoint(_checkpoint(connection, key, kept))


def load_snapshot(connection: apsw.Connection, key: SessionKey, snapshot: SnapshotInfo) -> StoredCheckpoint:
    """The snapshot that the manifest names; `DamagedValue`."""
    return snapshot.kept.checkpoint(_snapshot(connection, key, snapshot))


def roots(connection: apsw.Connection, manifest: Manifest) -> list[Root]:
    """The roots of the session's undamaged memories that have parts."""
    key, found = manifest.record.key, list[Root]()
    for kept in manifest.checkpoints:
        if kept.parts:
            with suppress(DamagedValue):
                found.append(kept.root(_checkpoint(connection, key, kept)))
    for snapshot in manifest.snapshots:
        if snapshot.kept.parts:
            with suppress(DamagedValue):
                found.append(snapshot.kept.root(_snapshot(connection, key, snapshot)))
    return found


def _checkpoint(connection: apsw.Connection, key: SessionKey, kept: KeptCheckpoint) -> bytes:
    row: tuple[Any, Any] | None = connection.execute(
        "SELECT CAST(seal AS BLOB), CAST(value AS BLOB) FROM checkpoint WHERE tenant = ? AND id = ? AND version = ?",
        (*key, kept.info.version),
    ).fetchone()
    if row is None or not matches(row[0], "checkpoint", key, kept.place, row[1]):
        raise DamagedValue(f"checkpoint {kept.info.version} of session {key.id!r}")
    return bytes(row[1])


def _snapshot(connection: apsw.Connection, key: SessionKey, snapshot: SnapshotInfo) -> bytes:
    row: tuple[Any, Any] | None = connection.execute(
        "SELECT CAST(seal AS BLOB), CAST(value AS BLOB) FROM snapshot WHERE tenant = ? AND id = ? AND name = ?",
        (*key, snapshot.name),
    ).fetchone()
    if row is None or not matches(row[0], "snapshot", key, snapshot.place, row[1]):
        raise DamagedValue(f"snapshot {snapshot.name!r} of session {key.id!r}")
    return bytes(row[1])


def trim_checkpoints(connection: apsw.Connection, key: SessionKey, version: int) -> None:
    """Deletes the checkpoints before `version`."""
    connection.execute("DELETE FROM checkpoint WHERE tenant = ? AND id = ? AND version < ?", (*key, version))


def drop_snapshot(connection: apsw.Connection, key: SessionKey, name: str) -> None:
    connection.execute("DELETE FROM snapshot WHERE tenant = ? AND id = ? AND name = ?", (*key, name))


def remove_checkpoints(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM checkpoint WHERE tenant = ? AND id = ?", key)


def remove_snapshots(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM snapshot WHERE tenant = ? AND id = ?", key)
