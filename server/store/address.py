"""Which store an address names: `sqlite:///folder`, `sqlite:////absolute/folder` or `memory://`.

It knows the addresses, not what a store does.
"""

from pathlib import Path

from server.store.contract import Store, StoreUnavailable
from server.store.memory import MemoryStore
from server.store.sqlite import SqliteStore

_SQLITE = "sqlite:///"


async def open_store(url: str) -> Store:
    """The store at `url`, ready for use."""
    if url == "memory://":
        return MemoryStore()
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return await SqliteStore.open(Path(url.removeprefix(_SQLITE)))
    if url.startswith("redis"):
        raise StoreUnavailable(
            "this version has the embedded store only: name a folder with sqlite:///folder instead of redis"
        )
    # The address itself is not repeated: it may carry a password.
    scheme = url.partition(":")[0]
    raise ValueError(f"no store is known by an address like {scheme}:…: use sqlite:///folder or memory://")
