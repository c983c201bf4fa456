"""An in-memory disk for SQLite (a VFS) that tracks which writes were synced, and what a power cut may leave."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import apsw

from server.store.sqlite import folder as folders

SECTOR_BYTES = (512, 4096)
NO_FILES: Mapping[str, bytes] = {}
JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


@dataclass(frozen=True)
class Write:
    """Bytes at an offset; `data` None truncates the file there."""

    offset: int
    data: bytes | None

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            return
        if len(content) < self.offset:
            content.extend(bytes(self.offset - len(content)))
        content[self.offset : self.offset + len(self.data)] = self.data

    def torn(self, sector_bytes: int, keeps: Callable[[], bool]) -> Iterator[Write]:
        """The sectors of the write that survive."""
        if self.data is None:
            if keeps():
                yield self
            return
        start, end = self.offset, self.offset + len(self.data)
        while start < end:
            border = min(start - start % sector_bytes + sector_bytes, end)
            if keeps():
                yield Write(start, self.data[start - self.offset : border - self.offset])
            start = border


@dataclass
class File:
    """The content that reads return, the synced content, and the unsynced writes between the two.

    The synced content is never changed in place: all cuts between two syncs share it.
    """

    seen: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    unsynced: list[Write] = field(default_factory=list)

    def write(self, write: Write) -> None:
        write.apply(self.seen)
        self.unsynced.append(write)

    def sync(self) -> None:
        if not self.unsynced:
            return
        content = bytearray(self.synced)
        for write in self.unsynced:
            write.apply(content)
        self.synced = bytes(content)
        self.unsynced.clear()


@dataclass(frozen=True)
class Left:
    """A file at a power cut."""

    synced: bytes
    unsynced: tuple[Write, ...]

    def image(self, dice: random.Random, manner: str, sector_bytes: int) -> bytes:
        count = len(self.unsynced)
        whole, torn = {
            "none": (0, 0),
            "all": (count, 0),
            "prefix": (dice.randint(0, count), 1),
            "some": (0, count),
        }[manner]
        content = bytearray(self.synced)
        for write in self.unsynced[:whole]:
            write.apply(content)
        odds = dice.choice((0.1, 0.5, 0.9))
        for write in self.unsynced[whole : whole + torn]:
            for kept in write.torn(sector_bytes, lambda: dice.random() < odds):
                kept.apply(content)
        return bytes(content)


@dataclass(frozen=True)
class Cut:
    """The disk at a power cut: for every name the file in the synced folder, and in the folder that reads saw."""

    names: dict[str, tuple[Left | None, Left | None]]

    @property
    def is_torn(self) -> bool:
        return any(left is not None and left.unsynced for _, left in self.names.values())

    def image(self, dice: random.Random) -> dict[str, bytes]:
        """Files by name as the next start may find them; each unsynced sector survives or is lost at random."""
        manner = dice.choice(("none", "all", "prefix", "some", "some", "some"))
        sector_bytes = dice.choice(SECTOR_BYTES)
        found = {name: dice.choice(either) for name, either in self.names.items()}
        return {name: left.image(dice, manner, sector_bytes) for name, left in found.items() if left is not None}

    def synced(self) -> dict[str, bytes]:
        """Files by name if only synced data survives."""
        return {name: left.synced for name, (left, _) in self.names.items() if left is not None}


class Disk(apsw.VFS):
    """The files of one folder. `before` is called with each call's name first, and may raise to make the call fail."""

    def __init__(self, before: Callable[[str], None], files: Mapping[str, bytes]) -> None:
        self.before = before
        self.names = {name: File(bytearray(content), content) for name, content in files.items()}
        self.synced_names = dict(self.names)
        super().__init__("crash disk", base="", makedefault=True)

    def sync_folder(self, folder: Path | None = None) -> None:
        self.before("sync of the folder")
        self.synced_names = dict(self.names)

    def cut(self) -> Cut:
        left = {
            id(file): Left(file.synced, tuple(file.unsynced))
            for file in (*self.names.values(), *self.synced_names.values())
        }
        return Cut(
            {
                name: (left.get(id(self.synced_names.get(name))), left.get(id(self.names.get(name))))
                for name in (self.names | self.synced_names)
            }
        )

    def xOpen(self, name: Any, flags: list[int]) -> DiskFile:
        self.before("xOpen")
        path = Path(name if isinstance(name, str) else name.filename())
        return DiskFile(self, self.names.setdefault(path.name, File()), flags[0])

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.before("xDelete")
        self.names.pop(Path(filename).name, None)
        if syncdir:
            self.sync_folder()

    def xAccess(self, pathname: str, flags: int) -> bool:
        self.before("xAccess")
        return Path(pathname).name in self.names


class DiskFile(apsw.VFSFile):
    """An open file of the disk. Locks do nothing, since the store has its own lock outside SQLite."""

    def __init__(self, disk: Disk, file: File, flags: int) -> None:
        # No super().__init__(): there is no VFS below this one.
        self.disk, self.file = disk, file
        # As on a real disk: the first sync of a new journal syncs the folder, and so all names in it.
        self.syncs_folder = bool(flags & apsw.SQLITE_OPEN_CREATE and flags & JOURNALS)
        self.role = "log" if flags & apsw.SQLITE_OPEN_WAL else "journal" if flags & JOURNALS else "file"

    def before(self, call: str) -> None:
        self.disk.before(f"{call} of the {self.role}")

    def xRead(self, amount: int, offset: int) -> bytes:
        self.before("xRead")
        return bytes(self.file.seen[offset : offset + amount])

    def xWrite(self, data: Any, offset: int) -> None:
        written = bytes(data)
        try:
            self.before("xWrite")
        except apsw.Error:
            # A failed write may be partial.
            self.file.write(Write(offset, written[: len(written) // 2]))
            raise
        self.file.write(Write(offset, written))

    def xTruncate(self, newsize: int) -> None:
        self.before("xTruncate")
        self.file.write(Write(newsize, None))

    def xSync(self, flags: int) -> None:
        try:
            self.before("xSync")
        except apsw.Error:
            # After a failed sync the kernel drops the dirty pages.
            self.file.unsynced.clear()
            raise
        self.file.sync()
        if self.syncs_folder:
            self.syncs_folder = False
            self.disk.sync_folder()

    def xFileSize(self) -> int:
        self.before("xFileSize")
        return len(self.file.seen)

    def xDeviceCharacteristics(self) -> int:
        return apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE

    def xSectorSize(self) -> int:
        return 4096

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xClose(self) -> None:
        pass


@contextmanager
def crash_disk(before: Callable[[str], None], files: Mapping[str, bytes] = NO_FILES) -> Iterator[Disk]:
    """SQLite opens its files on the disk until the context ends, and the store's syncs of its folder go there."""
    disk = Disk(before, files)
    try:
        with mock.patch.object(folders, "sync", disk.sync_folder):
            yield disk
    finally:
        disk.unregister()
