"""Which folders and files the SQLite store opens, how it sets them up, and that it locks them."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from server.store.base import StoreUnavailable
from server.store.sqlite import SqliteStore
from server.store.sqlite.folder import LOCK_NAME
from server.store.sqlite.schema import FILE_NAME, SCHEMA_VERSION

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("pragma", "answer"),
    [
        ("page_size", 16384),
        ("auto_vacuum", 2),
        ("locking_mode", "exclusive"),
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("temp_store", 2),
        ("secure_delete", 2),
        ("user_version", 5),
    ],
)
async def test_a_setting_is_in_effect(sqlite: SqliteStore, pragma: str, answer: int | str) -> None:
    assert await sqlite.writer.run(lambda connection: connection.pragma(pragma)) == answer


async def test_a_file_with_other_settings_is_refused(tmp_path: Path) -> None:
    with apsw.Connection(str(tmp_path / FILE_NAME)) as other:
        other.execute("PRAGMA page_size = 4096; CREATE TABLE other (x)")
    other.close()
    with pytest.raises(StoreUnavailable, match="page_size 16384 \\(it stays 4096\\)"):
        await SqliteStore.open(tmp_path)


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path)).close()
    direct = apsw.Connection(str(tmp_path / FILE_NAME))
    direct.pragma("user_version", SCHEMA_VERSION + 1)
    direct.close()
    with pytest.raises(StoreUnavailable) as refusal:
        await SqliteStore.open(tmp_path)
    # The error is still referenced here, and must not keep the file open.
    direct = apsw.Connection(str(tmp_path / FILE_NAME))
    direct.pragma("user_version", SCHEMA_VERSION)
    direct.close()
    assert f"schema version {SCHEMA_VERSION + 1}, this server understands {SCHEMA_VERSION}" in str(refusal.value)
    await (await SqliteStore.open(tmp_path)).close()


async def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    direct = apsw.Connection(str(tmp_path / FILE_NAME))
    direct.execute("PRAGMA page_size = 16384; PRAGMA auto_vacuum = INCREMENTAL; CREATE TABLE other (x)")
    direct.close()
    with pytest.raises(StoreUnavailable, match="schema version 0"):
        await SqliteStore.open(tmp_path)


async def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"something else entirely" * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await SqliteStore.open(tmp_path)


async def test_a_folder_that_cannot_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="check its path"):
        await SqliteStore.open(tmp_path / "file" / "data")


async def test_new_folders_and_the_new_file_are_synced_into_their_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    await (await SqliteStore.open(tmp_path / "new" / "data")).close()
    folders = (tmp_path, tmp_path / "new", tmp_path / "new" / "data")
    assert {folder.stat().st_ino for folder in folders} <= set(synced)


async def test_new_folders_are_accessible_only_to_their_owner(sqlite: SqliteStore, tmp_path: Path) -> None:
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


async def test_a_second_store_on_the_folder_is_refused_with_the_holders_process_id(
    sqlite: SqliteStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreUnavailable, match=f"{tmp_path / 'data'} is in use by process {os.getpid()}: stop"):
        await SqliteStore.open(tmp_path / "data")
    await sqlite.ready()


async def test_a_second_process_on_the_folder_is_refused_too(sqlite: SqliteStore, tmp_path: Path) -> None:
    opening = (
        "import asyncio, pathlib, sys; from server.store.sqlite import SqliteStore; "
        "asyncio.run(SqliteStore.open(pathlib.Path(sys.argv[1])))"
    )
    second = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", opening, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert f"is in use by process {os.getpid()}" in second.stderr


async def test_closing_releases_the_folder(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path)).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK_NAME, FILE_NAME]
    await (await SqliteStore.open(tmp_path)).close()


async def test_a_cancelled_opening_releases_the_folder(tmp_path: Path) -> None:
    opening = asyncio.create_task(SqliteStore.open(tmp_path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    for thread in threading.enumerate():
        if thread.name == "onceread-store":
            await asyncio.to_thread(thread.join)
    await (await SqliteStore.open(tmp_path)).close()


async def test_another_program_in_the_file_makes_the_store_unavailable(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path)).close()
    direct = apsw.Connection(str(tmp_path / FILE_NAME))
    direct.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="close that program"):
        await SqliteStore.open(tmp_path)
    direct.close()
    await (await SqliteStore.open(tmp_path)).close()


async def test_the_file_is_locked_exclusively_on_the_first_and_the_second_opening(tmp_path: Path) -> None:
    for _ in range(2):
        store = await SqliteStore.open(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK_NAME, FILE_NAME, f"{FILE_NAME}-wal"]
        direct = apsw.Connection(str(tmp_path / FILE_NAME))
        with pytest.raises(apsw.BusyError):
            direct.pragma("user_version")
        direct.close()
        await store.close()
