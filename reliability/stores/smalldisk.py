"""A small tmpfs for one server, which can be filled up and emptied again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from reliability.namespaces import MOUNTS, Namespace
from testing.redis_servers import Place

DISK_BYTES = 8 << 20


@dataclass(frozen=True)
class SmallDisk:
    """Mounted at `folder` in the namespace of `place`; other processes reach it at `outside`."""

    folder: Path
    outside: Path
    place: Place

    @contextmanager
    def full(self, left_bytes: int) -> Iterator[None]:
        """Fills the disk up to `left_bytes` until the context ends."""
        filler = self.outside / "filler"
        filler.touch()
        while (size := self._free_bytes() - left_bytes) > 0:
            # Fails if the server has written meanwhile; then the next turn allocates less.
            with suppress(OSError), filler.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
                break
        try:
            yield
        finally:
            filler.unlink()

    def _free_bytes(self) -> int:
        room = os.statvfs(self.outside)
        return room.f_bavail * room.f_frsize


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    folder.mkdir()
    with Namespace(MOUNTS) as namespace:
        namespace.run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
        yield SmallDisk(folder, Path(f"/proc/{namespace.pid}/root{folder}"), Place(through=namespace.through))
