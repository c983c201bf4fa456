"""The data folder: created durably, and locked by one server at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.store.base import StoreUnavailable

LOCK_NAME = "onceread.lock"


def make(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    # No other user of the host may read the texts inside.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def sync(folder: Path) -> None:
    """Makes the names in the folder durable: fsync of a file does not sync its directory entry."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Locks the folder against every other server; the system releases the lock when the process ends."""
    # The file stays after the release: two servers must never lock two different files.
    with open(folder / LOCK_NAME, "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise StoreUnavailable(
                f"the data folder {folder} is in use by process {holder}: "
                "stop that server, or give this one a folder of its own"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
