"""The columns by which the sweep finds sessions are hints: the manifest decides, and a damaged hint is repaired."""

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from server.store.sqlite import SqliteStore
from tests.server.store.samples import checkpoint, keep, key, record, with_text

pytestmark = pytest.mark.anyio
DAMAGE = ("NULL", "0", "-1", "99", "1e9", "'text'", "x'ff'")


async def execute(store: SqliteStore, statement: str) -> None:
    def run(connection: apsw.Connection) -> None:
        connection.execute(statement)

    await store.writer.run(run)


async def sweep(store: SqliteStore) -> tuple[list[str], list[str], int]:
    """The ids of the unread sessions, those of the sessions expired by time 50, and the tenant's stored bytes."""
    unread = sorted(found.key.id for found in await store.unread(1))
    size = await store.stored_bytes("acme")
    return unread, sorted(key.id for key in await store.expire(at=50.0)), size


async def filled(folder: Path) -> SqliteStore:
    """A store with an unread session, one that is read, one that has expired by time 50 and one that has not."""
    store = await SqliteStore.open(folder)
    await with_text(store, b"unread text")
    await store.create(record("read"))
    await store.append(key("read"), 0, b"text", at=2.0)
    await keep(store, key("read"), checkpoint(1, 4), at=3.0)
    await store.create(replace(record("expired"), ttl_seconds=1.0, expires_at=49.0))
    await store.create(replace(record("alive"), ttl_seconds=1.0, expires_at=51.0))
    return store


@pytest.mark.parametrize("hint", ["expires_at", "unread_bytes", "stored_bytes"])
@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_hint_is_repaired_when_the_file_is_opened(tmp_path: Path, hint: str, damage: str) -> None:
    sound = await filled(tmp_path / "sound")
    wanted = await sweep(sound)
    await sound.close()
    store = await filled(tmp_path / "damaged")
    await execute(store, f"UPDATE session SET {hint} = {damage}")
    await store.close()
    store = await SqliteStore.open(tmp_path / "damaged")
    assert await sweep(store) == wanted
    assert wanted[1] == ["expired"]
    await store.close()


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_damaged_hint_neither_deletes_a_session_nor_has_text_read_twice(tmp_path: Path, damage: str) -> None:
    store = await filled(tmp_path)
    await execute(store, f"UPDATE session SET expires_at = {damage}, unread_bytes = {damage}")
    assert {found.key.id for found in await store.unread(1)} <= {"book"}
    assert {found.id for found in await store.expire(at=50.0)} <= {"expired"}
    for name in ("book", "read", "alive"):
        assert (await store.get(key(name))).key.id == name
    await store.close()


async def test_the_sweep_finds_sessions_by_index(tmp_path: Path) -> None:
    store = await filled(tmp_path)
    plans: list[str] = []

    def explain(connection: apsw.Connection) -> None:
        for condition in ("expires_at <= 1.0", "unread_bytes >= 1", "tenant = 'acme' AND stored_bytes > 0"):
            rows = connection.execute(f"EXPLAIN QUERY PLAN SELECT entry FROM session WHERE {condition} ORDER BY +rowid")
            plans.extend(str(row[3]) for row in rows if "SEARCH" in row[3] or "SCAN" in row[3])

    await store.writer.run(explain)
    assert [plan.split(" (")[0] for plan in plans] == [
        "SEARCH session USING INDEX session_by_expiry",
        "SEARCH session USING INDEX session_by_unread",
        "SEARCH session USING INDEX session_by_size",
    ]
    await store.close()


@pytest.mark.parametrize("column", ["tenant", "id"])
async def test_a_row_without_a_name_does_not_keep_the_store_from_opening(tmp_path: Path, column: str) -> None:
    store = await filled(tmp_path)
    # The schema forbids NULL; a damaged page does not.
    await execute(store, "PRAGMA writable_schema = ON")
    await execute(store, f"UPDATE sqlite_schema SET sql = replace(sql, '{column} TEXT NOT NULL', '{column} TEXT')")
    await store.close()
    store = await SqliteStore.open(tmp_path)
    await execute(store, f"UPDATE session SET {column} = NULL WHERE id = 'expired'")
    await store.close()
    store = await SqliteStore.open(tmp_path)
    assert await store.expire(at=50.0) == []
    await store.close()
