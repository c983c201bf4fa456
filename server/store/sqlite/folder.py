"""The data folder: made so that it survives a crash, and held by one server at a time.

It knows nothing of what is kept inside.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.store.base import StoreUnavailable

LOCK_NAME = "onceread.lock"


def make(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    # Others on the host have no business with the texts inside.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def sync(folder: Path) -> None:
    """Makes the names in the folder durable: syncing a file does not sync the entry that leads to it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps every other server out of the folder; the system lets go when the process ends."""
    # The file stays when it is let go: a server that waits to open it must find the same file.
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
