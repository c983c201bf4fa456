"""The SQLite store on a disk that keeps only what was synced, that fills up, and whose syncs fail.

The disk is a VFS of SQLite on top of the system's.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from server.store.base import StoreFull, StoreUnavailable
from server.store.sqlite import SqliteStore
from tests.server.store.samples import checkpoint, keep, key, record

pytestmark = pytest.mark.anyio


class Disk(apsw.VFS):
    """Copies the synced writes of the folder `cached` to the folder `platter`, which is what a power cut leaves."""

    def __init__(self, cached: Path, platter: Path) -> None:
        self.cached, self.platter = cached, platter
        self.unsynced: dict[Path, list[tuple[int, bytes | None]]] = {}
        self.syncs_fail = False
        self.reads_fail = False
        self.full = False
        super().__init__("disk", base="unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> "DiskFile":
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        path = Path(filename)
        self.unsynced.pop(path, None)
        if path.parent == self.cached:
            (self.platter / path.name).unlink(missing_ok=True)

    def sync(self, path: Path) -> None:
        # After a failed fsync the system drops the dirty pages.
        writes = self.unsynced.pop(path, [])
        if self.syncs_fail:
            raise apsw.IOError("the sync failed")
        if path.parent != self.cached:
            return
        synced = self.platter / path.name
        synced.touch()
        with synced.open("r+b") as file:
            for offset, data in writes:
                if data is None:
                    file.truncate(offset)
                else:
                    file.seek(offset)
                    file.write(data)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.path = Path(name if isinstance(name, str) else name.filename())
        super().__init__("unix", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        if self.disk.reads_fail:
            raise apsw.IOError("the read failed")
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:
        if self.disk.full:
            raise apsw.FullError("the disk is full")
        super().xWrite(data, offset)
        self.disk.unsynced.setdefault(self.path, []).append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self.disk.unsynced.setdefault(self.path, []).append((newsize, None))

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self.disk.sync(self.path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    for name in ("cached", "platter"):
        (tmp_path / name).mkdir()
    disk = Disk(tmp_path / "cached", tmp_path / "platter")
    yield disk
    disk.unregister()


async def text_after_a_power_cut(disk: Disk) -> bytes:
    left = disk.platter.with_name("left")
    left.mkdir(exist_ok=True)
    for path in left.iterdir():
        path.unlink()
    for path in disk.platter.iterdir():
        (left / path.name).write_bytes(path.read_bytes())
    store = await SqliteStore.open(left)
    recovery = await store.recover(key())
    assert recovery.damaged == ()
    text = await store.journal(key(), 0, 10**9)
    await store.close()
    return text


async def test_acknowledged_writes_survive_a_power_cut(disk: Disk) -> None:
    store = await SqliteStore.open(disk.cached)
    # Few pages, so that the WAL is checkpointed many times during the test.
    await store.writer.run(lambda connection: connection.pragma("wal_autocheckpoint", 20))
    await store.create(record())
    text = b""
    for number in range(30):
        piece = str(number).encode() * 7000
        await store.append(key(), len(text), piece, at=2.0)
        text += piece
        assert await text_after_a_power_cut(disk) == text
    await keep(store, key(), checkpoint(1, 9), at=3.0)
    assert await text_after_a_power_cut(disk) == text
    await store.close()
    assert await text_after_a_power_cut(disk) == text


@pytest.mark.parametrize("for_long", [False, True])
async def test_appends_after_a_failed_sync_are_durable(disk: Disk, for_long: bool) -> None:
    store = await SqliteStore.open(disk.cached)
    await store.create(record())
    await store.append(key(), 0, b"once ", at=2.0)
    disk.syncs_fail = True
    with pytest.raises(StoreUnavailable, match="the disk failed: check it"):
        await store.append(key(), 5, b"read ", at=2.0)
    if for_long:
        for operation in (store.ready(), store.get(key()), store.append(key(), 5, b"read ", at=2.0)):
            with pytest.raises(StoreUnavailable, match="the disk failed: check it"):
                await operation
    disk.syncs_fail = False
    await store.ready()
    # Like a client that got no answer: the same bytes at the same offset.
    assert (await store.append(key(), 5, b"read ", at=2.0)).accepted_bytes == 10
    assert (await store.append(key(), 10, b"ask", at=2.0)).accepted_bytes == 13
    assert await store.journal(key(), 0, 99) == b"once read ask"
    assert await text_after_a_power_cut(disk) == b"once read ask"
    await store.close()


async def test_a_lost_connection_is_reopened_in_the_same_folder_after_a_chdir(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(disk.cached.parent)
    store = await SqliteStore.open(Path(disk.cached.name))
    await store.create(record())
    disk.syncs_fail = True
    with pytest.raises(StoreUnavailable):
        await store.quarantine(key(), "why", at=2.0)
    disk.syncs_fail = False
    monkeypatch.chdir("/")
    assert (await store.get(key())).key == key()
    await store.close()


async def test_a_failed_read_is_reported_and_a_later_one_succeeds(disk: Disk) -> None:
    store = await SqliteStore.open(disk.cached)
    await store.create(record())
    await store.append(key(), 0, b"x" * 200_000, at=2.0)
    await store.close()
    store = await SqliteStore.open(disk.cached)
    await store.get(key())
    disk.reads_fail = True
    with pytest.raises(StoreUnavailable, match="the disk failed"):
        await store.journal(key(), 0, 200_000)
    disk.reads_fail = False
    assert await store.journal(key(), 0, 200_000) == b"x" * 200_000
    await store.close()


async def test_close_on_a_failing_disk_reports_it_and_releases_the_folder(disk: Disk) -> None:
    store = await SqliteStore.open(disk.cached)
    await store.create(record())
    disk.syncs_fail = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="the disk failed"):
            await store.close()
    disk.syncs_fail = False
    again = await SqliteStore.open(disk.cached)
    assert await again.get(key()) == record()
    await again.close()


@contextmanager
def asked_together(store: SqliteStore) -> Iterator[list[asyncio.Task[Any]]]:
    """Blocks the writer thread during the block, so that its operations become one group."""
    free = threading.Event()
    tasks = [asyncio.create_task(store.writer.run(lambda connection: free.wait()))]
    yield tasks
    asyncio.get_running_loop().call_soon(free.set)


async def test_a_full_disk_refuses_writes_and_serves_reads(disk: Disk) -> None:
    store = await SqliteStore.open(disk.cached)
    await store.create(record())
    await store.append(key(), 0, b"once ", at=2.0)
    disk.full = True
    with asked_together(store) as tasks:
        tasks.append(asyncio.create_task(store.append(key(), 5, b"read", at=3.0)))
        tasks.append(asyncio.create_task(store.journal(key(), 0, 99)))
        tasks.append(asyncio.create_task(store.append(key(), 0, b"once", at=3.0)))
    _, appended, text, again = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(appended, StoreFull)
    assert text == b"once "
    assert isinstance(again, StoreFull)
    disk.full = False
    assert (await store.append(key(), 5, b"read", at=3.0)).accepted_bytes == 9
    assert await text_after_a_power_cut(disk) == b"once read"
    await store.close()
