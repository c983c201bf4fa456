"""The SQLite store beyond the contract: its writer thread, group commits, full disks and closing."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from server.store.base import (
    CheckpointInfo,
    ContentConflict,
    SessionMissing,
    StoredCheckpoint,
    StoreFull,
    StoreUnavailable,
)
from server.store.sqlite import SqliteStore, writer_thread
from server.store.sqlite.schema import FILE_NAME
from tests.server.store.samples import keep, key, record

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def one_group(store: SqliteStore) -> AsyncIterator[None]:
    """Blocks the writer thread until the block ends, so that its operations become one group."""
    held, free = threading.Event(), threading.Event()

    def wait(connection: apsw.Connection) -> None:
        held.set()
        free.wait()

    holding = asyncio.create_task(store.writer.run(wait))
    await asyncio.to_thread(held.wait)
    try:
        yield
        # Tasks created in the block have not run yet; each queues its operation in its first step.
        await asyncio.sleep(0)
    finally:
        free.set()
    await holding


async def count_commits(store: SqliteStore) -> list[None]:
    commits: list[None] = []

    def hook() -> bool:
        commits.append(None)
        return False

    await store.writer.run(lambda connection: connection.set_commit_hook(hook))
    commits.clear()
    return commits


async def test_closing_finishes_the_operations_in_progress(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.create(record())
    async with one_group(store):
        appends = [asyncio.create_task(store.append(key(), end, b"x", at=2.0)) for end in range(9)]
        await asyncio.sleep(0)
        closing = [asyncio.create_task(store.close()) for _ in range(2)]
    await asyncio.gather(*appends, *closing)
    again = await SqliteStore.open(tmp_path)
    assert (await again.get(key())).accepted_bytes == 9
    await again.close()


async def test_an_error_that_is_still_referenced_does_not_keep_the_file_open(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.create(record())
    await store.append(key(), 0, b"once", at=2.0)
    await store.append(key(), 4, b"read", at=2.0)
    await store.writer.run(lambda connection: connection.execute("UPDATE piece SET seal = x'00'") and None)
    held = await asyncio.gather(store.journal(key(), 0, 9), return_exceptions=True)
    await store.append(key(), 8, b"more", at=2.0)
    await store.close()
    assert [str(error) for error in held] == ["the journal of session 'book' at offset 0 does not match its checksum"]


async def test_a_group_is_committed_once(sqlite: SqliteStore) -> None:
    ids = [f"session {number}" for number in range(10)]
    for id in ids:
        await sqlite.create(record(id))
    commits = await count_commits(sqlite)
    async with one_group(sqlite):
        appends = [
            asyncio.create_task(sqlite.append(key(id), end, b"piece", at=2.0)) for id in ids for end in range(0, 50, 5)
        ]
    await asyncio.gather(*appends)
    # One is the group that blocked the thread.
    assert len(commits) == 2
    assert {(await sqlite.get(key(id))).accepted_bytes for id in ids} == {50}


async def test_a_group_has_a_maximum_size(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_thread, "GROUP_OPERATIONS_MAX", 10)
    commits = await count_commits(sqlite)
    async with one_group(sqlite):
        waiting = [asyncio.create_task(sqlite.ready()) for _ in range(25)]
    await asyncio.gather(*waiting)
    assert len(commits) == 1 + 3


async def test_no_operation_returns_before_the_commit(sqlite: SqliteStore) -> None:
    await sqlite.create(record())
    answered: list[bool] = []

    async with one_group(sqlite):
        append = asyncio.create_task(sqlite.append(key(), 0, b"piece", at=2.0))
        await asyncio.sleep(0)
        last = asyncio.create_task(sqlite.writer.run(lambda connection: answered.append(append.done())))
    await asyncio.gather(append, last)
    assert answered == [False]


async def test_a_failed_commit_acknowledges_nothing(sqlite: SqliteStore) -> None:
    await sqlite.create(record())
    async with one_group(sqlite):
        appends = [asyncio.create_task(sqlite.append(key(), end, b"x", at=2.0)) for end in range(5)]
        # A commit hook that returns true makes the commit fail.
        refusing = sqlite.writer.run(lambda connection: connection.set_commit_hook(lambda: True))
        operations = [*appends, asyncio.create_task(refusing)]
    outcomes = await asyncio.gather(*operations, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 6
    assert await sqlite.get(key()) == record()
    assert (await sqlite.append(key(), 0, b"y", at=3.0)).accepted_bytes == 1


async def test_a_failed_operation_in_a_group_rolls_back_only_itself(sqlite: SqliteStore) -> None:
    await sqlite.create(record())
    await sqlite.append(key(), 0, b"once", at=2.0)
    commits = await count_commits(sqlite)

    def half_done(connection: apsw.Connection) -> None:
        connection.execute("DELETE FROM session")
        connection.execute("DELETE FROM piece")
        raise RuntimeError("half done")

    async with one_group(sqlite):
        operations = [
            asyncio.create_task(operation)
            for operation in (
                sqlite.append(key(), 4, b" read", at=3.0),
                sqlite.append(key("nobody"), 0, b"x", at=3.0),
                sqlite.writer.run(half_done),
                sqlite.append(key(), 0, b"other", at=3.0),
                sqlite.append(key(), 9, b", ask", at=3.0),
            )
        ]
    outcomes = await asyncio.gather(*operations, return_exceptions=True)
    errors = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    assert errors == [SessionMissing, RuntimeError, ContentConflict]
    assert await sqlite.journal(key(), 0, 99) == b"once read, ask"
    assert len(commits) == 3  # the blocking group, this group, and the read of the journal


async def test_a_cancelled_append_is_still_written(sqlite: SqliteStore) -> None:
    await sqlite.create(record())
    async with one_group(sqlite):
        leaving = asyncio.create_task(sqlite.append(key(), 0, b"kept", at=2.0))
        await asyncio.sleep(0)
        leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await sqlite.journal(key(), 0, 99) == b"kept"


async def test_operations_fail_when_the_writer_thread_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await SqliteStore.open(tmp_path)
    ended = threading.Event()

    def broken() -> bool:
        ended.wait()
        raise RuntimeError("broken")

    monkeypatch.setattr(store.writer, "_shrink", broken)
    await store.ready()
    waiting = asyncio.create_task(store.ready())
    await asyncio.sleep(0)
    ended.set()
    with pytest.raises(StoreUnavailable, match="open it again"):
        await waiting
    with pytest.raises(StoreUnavailable, match="open it again"):
        await store.ready()
    with pytest.raises(RuntimeError, match="broken"):
        await store.close()


async def test_reading_writes_nothing(sqlite: SqliteStore, tmp_path: Path) -> None:
    await sqlite.create(record())
    await sqlite.append(key(), 0, b"once", at=2.0)
    files = sorted((tmp_path / "data").glob(f"{FILE_NAME}*"))
    before = [(path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    await sqlite.get(key())
    await sqlite.list_sessions("acme", 9)
    await sqlite.journal(key(), 0, 9)
    await sqlite.recover(key())
    await sqlite.ready()
    files = sorted((tmp_path / "data").glob(f"{FILE_NAME}*"))
    assert [(path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before


async def set_room(store: SqliteStore, pages: int) -> None:
    await store.writer.run(lambda connection: connection.pragma("max_page_count", pages))


async def test_a_full_disk_stores_nothing_and_recovers_when_there_is_space(sqlite: SqliteStore) -> None:
    await sqlite.create(record())
    await sqlite.append(key(), 0, b"a" * 100_000, at=2.0)
    before = await sqlite.get(key())
    await set_room(sqlite, 20)
    with pytest.raises(StoreFull, match="free some space"):
        await sqlite.append(key(), 100_000, b"b" * 250_000, at=3.0)
    with pytest.raises(StoreFull):
        await keep(sqlite, key(), StoredCheckpoint(CheckpointInfo(1), b"m" * 250_000), at=3.0)
    assert await sqlite.get(key()) == before
    assert (await sqlite.recover(key())).checkpoints == ()
    await set_room(sqlite, 1000)
    assert (await sqlite.append(key(), 100_000, b"c", at=4.0)).accepted_bytes == 100_001
    assert await sqlite.journal(key(), 99_999, 9) == b"ac"


async def test_an_append_that_fits_on_a_full_disk_succeeds(sqlite: SqliteStore) -> None:
    await sqlite.create(record())
    await sqlite.append(key(), 0, b"a" * 100_000, at=2.0)
    await set_room(sqlite, 20)
    async with one_group(sqlite):
        operations = [
            asyncio.create_task(operation)
            for operation in (
                sqlite.append(key(), 100_000, b"small", at=3.0),
                sqlite.append(key(), 100_005, b"b" * 250_000, at=3.0),
                sqlite.journal(key(), 100_000, 9),
            )
        ]
    small, large, text = await asyncio.gather(*operations, return_exceptions=True)
    assert getattr(small, "accepted_bytes", None) == 100_005
    assert isinstance(large, StoreFull)
    assert text == b"small"


async def test_free_pages_are_returned_to_the_disk(sqlite: SqliteStore) -> None:
    def pages(connection: apsw.Connection) -> tuple[int, int]:
        return connection.pragma("page_count"), connection.pragma("freelist_count")

    await sqlite.create(record())
    for number in range(24):
        await sqlite.append(key(), number * 256_000, b"x" * 256_000, at=2.0)
    full, _ = await sqlite.writer.run(pages)
    await sqlite.delete(key())
    # The thread shrinks the file while no operation waits; each of these operations lets it take another step.
    free = full
    while free > writer_thread.FREE_PAGES_KEPT:
        count, free = await sqlite.writer.run(pages)
    assert count < full - writer_thread.SHRINK_PAGES
    assert count >= writer_thread.FREE_PAGES_KEPT - writer_thread.SHRINK_PAGES
