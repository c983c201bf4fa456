"""Snapshots, rewinds and rebuilds in the embedded store: damage to them, and files of earlier schemas."""

import json
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from server.store.base import DamagedValue, SessionExpired, SessionKey
from server.store.sqlite import SqliteStore
from server.store.sqlite.checksum import checksum
from server.store.sqlite.schema import FILE_NAME
from tests.server.store.samples import beginning, checkpoint, keep, key, read, record, with_text

pytestmark = pytest.mark.anyio

TEXT = b"abcdefghijkl"


async def change(store: SqliteStore, statement: str) -> None:
    def execute(connection: apsw.Connection) -> None:
        connection.execute(statement)
        assert connection.changes() > 0

    await store.writer.run(execute)


def checkpoint_rows(connection: apsw.Connection) -> int:
    found: int = connection.execute("SELECT count(*) FROM checkpoint").get
    return found


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshot SET value = value || x'00' WHERE name = 'a'",
        "UPDATE snapshot SET seal = x'00' WHERE name = 'a'",
        "UPDATE snapshot SET (seal, value) = (SELECT seal, value FROM snapshot WHERE name = 'b') WHERE name = 'a'",
        "UPDATE snapshot SET (seal, value) = (SELECT seal, value FROM checkpoint) WHERE name = 'a'",
        "DELETE FROM snapshot WHERE name = 'a'",
        "UPDATE snapshot SET name = 'c' WHERE name = 'a'",
    ],
)
async def test_a_damaged_snapshot_is_reported_and_never_returned(sqlite: SqliteStore, damage: str) -> None:
    await with_text(sqlite, TEXT)
    await keep(sqlite, key(), read(TEXT, 1), at=3.0)
    for name in ("a", "b"):
        await sqlite.keep_snapshot(key(), name, "", read(TEXT, 1), at=4.0)
    await change(sqlite, damage)
    with pytest.raises(DamagedValue, match="snapshot 'a' of session 'book'"):
        await sqlite.load_snapshot(key(), "a")
    assert (await sqlite.load_snapshot(key(), "b"))[1] == read(TEXT, 1)
    await sqlite.drop_snapshot(key(), "a")
    for name in ("a", "c"):
        await sqlite.keep_snapshot(key(), name, "", read(TEXT, 2), at=5.0)
        assert (await sqlite.load_snapshot(key(), name))[1] == read(TEXT, 2)


@pytest.mark.parametrize("offset", [4, 8])
async def test_a_rewind_in_damaged_text_keeps_no_damaged_text(sqlite: SqliteStore, offset: int) -> None:
    await with_text(sqlite, TEXT[:4], TEXT[4:8], TEXT[8:], keep_text=True)
    await keep(sqlite, key(), checkpoint(1, 6), at=3.0)
    await change(sqlite, f"UPDATE piece SET value = x'00' WHERE offset = {offset}")
    # Damaged text cannot be compared with the memory's, which is no reason to refuse the snapshot.
    await sqlite.keep_snapshot(key(), "name", "", read(TEXT[:9], 1), at=4.0)
    await sqlite.rewind(await sqlite.get(key()), read(TEXT[:6], 2), "new", at=5.0)
    recovery = await sqlite.recover(key())
    kept_from = 6 if offset == 4 else 0
    assert (recovery.checkpoints, recovery.journal_offset, recovery.damaged) == ((read(TEXT[:6], 2),), kept_from, ())


async def test_deleting_a_session_with_snapshots_leaves_no_row(sqlite: SqliteStore) -> None:
    def rows(connection: apsw.Connection) -> int:
        tables = ("session", "piece", "repeat", "checkpoint", "snapshot", "tombstone")
        return sum(connection.execute(f"SELECT count(*) FROM {table}").get for table in tables)

    memory = read(TEXT, 1)
    for damaged in (False, True):
        await sqlite.create(replace(beginning(record(), memory), keep_text=True), memory)
        await sqlite.keep_snapshot(key(), "name", "", memory, at=3.0)
        await sqlite.append(key(), memory.offset, b"more", at=3.0)
        await sqlite.rewind(await sqlite.get(key()), read(TEXT, 2), "new", at=4.0)
        assert await sqlite.writer.run(checkpoint_rows) == 1
        if damaged:
            await change(sqlite, "UPDATE session SET entry = x'00'")
        await sqlite.delete(key())
        assert await sqlite.writer.run(rows) == 0


async def test_a_rebuild_deletes_the_checkpoints_of_the_other_weights(sqlite: SqliteStore) -> None:
    await with_text(sqlite, TEXT, keep_text=True)
    for version in (1, 2):
        await keep(sqlite, key(), read(TEXT, version), at=3.0)
    await sqlite.rebuild(await sqlite.get(key()), "delta", "beef", "new", at=4.0)
    assert await sqlite.writer.run(checkpoint_rows) == 0


def downgrade(connection: apsw.Connection) -> None:
    """Rewrites every manifest as it was before sessions could keep their text and have snapshots, without hints."""
    for index in ("session_by_expiry", "session_by_unread", "session_by_size"):
        connection.execute(f"DROP INDEX {index}")
    for hint in ("expires_at", "unread_bytes", "stored_bytes"):
        connection.execute(f"ALTER TABLE session DROP COLUMN {hint}")
    for tenant, id, created_at, value in connection.execute("SELECT tenant, id, created_at, entry FROM session"):
        manifest = json.loads(value)
        del manifest["snapshots"], manifest["stretches"]
        del manifest["record"]["keep_text"], manifest["record"]["open_bytes"]
        old = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        sealed = checksum("session", SessionKey(tenant, id), (created_at,), old)
        connection.execute("UPDATE session SET entry = ?, seal = ? WHERE id = ?", (old, sealed, id))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
async def test_a_file_of_an_earlier_schema_is_migrated_with_its_sessions(tmp_path: Path, version: int) -> None:
    store = await SqliteStore.open(tmp_path)
    await with_text(store, TEXT[:4], TEXT[4:])
    await keep(store, key(), checkpoint(1, 9), at=3.0)
    await store.create(replace(record("mortal"), ttl_seconds=1.0, expires_at=2.0))
    before = await store.recover(key())
    await store.close()
    direct = apsw.Connection(str(tmp_path / FILE_NAME))
    for table in ("part", "loan", "lender"):
        direct.execute(f"DROP TABLE {table}")
    if version < 4:
        downgrade(direct)
    direct.execute(f"PRAGMA user_version = {version}")
    if version < 3:
        direct.execute("DROP TABLE snapshot")
    if version < 2:
        direct.execute("DROP TABLE tombstone")
    direct.close()
    store = await SqliteStore.open(tmp_path)
    # Records of the first versions do not have the bytes of an incomplete character.
    was = before if version == 4 else replace(before, record=replace(before.record, open_bytes=None))
    assert await store.recover(key()) == was
    assert [found.key for found in await store.unread(1)] == [key()]
    assert await store.expire(at=3.0) == [key("mortal")]
    with pytest.raises(SessionExpired):
        await store.get(key("mortal"))
    await store.keep_snapshot(key(), "name", "", read(TEXT, 2), at=4.0)
    await store.close()
    store = await SqliteStore.open(tmp_path)
    assert (await store.load_snapshot(key(), "name"))[1] == read(TEXT, 2)
    await store.close()
