"""Which store an address names, and how it is opened.

`sqlite:///folder`, `sqlite:////absolute/folder`, `memory://`, `redis://…`, `rediss://…`, and both with `+sentinel`
or `+cluster`. It knows the addresses, not what a store does.
"""

from dataclasses import dataclass, field
from pathlib import Path

from server.store.contract import Store
from server.store.keyring import Keyring
from server.store.memory import MemoryStore
from server.store.redis import RedisStore
from server.store.redis.doctor import Doctor
from server.store.redis.durability import DURABILITIES, without_waitaof
from server.store.redis.link import Link
from server.store.redis.topology import Access, open_topology
from server.store.sealing import Sealer
from server.store.sqlite import SqliteStore

_SQLITE = "sqlite:///"
CONNECTIONS = 16


@dataclass(frozen=True)
class StoreOptions:
    """What a store needs to know beside its address."""

    durability: str = "fsync"
    keys_file: Path | None = None
    access: Access = field(default_factory=Access)


def load_keys(url: str, given: Path | None) -> Keyring:
    """The keys that belong to a store: in a file beside the data, unless another is given."""
    if url == "memory://":
        return Keyring.of_this_process()
    folder = Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else Path("data")
    return Keyring.load(given or folder / "seal.keys")


async def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """The store at `url`, ready for use."""
    options = options or StoreOptions()
    if url == "memory://":
        return MemoryStore()
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        if options.durability != "fsync":
            raise ValueError(f"the embedded store is as durable as fsync, not {options.durability}: leave that out")
        return await SqliteStore.open(Path(url.removeprefix(_SQLITE)))
    if url.startswith("redis"):
        return await _open_redis(url, options)
    # The address itself is not repeated: it may carry a password.
    scheme = url.partition(":")[0]
    raise ValueError(
        f"no store is known by an address like {scheme}:…: use sqlite:///folder or memory://, or redis://host:port"
    )


def redis_doctor(url: str, options: StoreOptions) -> Doctor:
    """The doctor for the Redis at this address, without anything being opened."""
    link = Link(open_topology(url, options.access, CONNECTIONS), CONNECTIONS, DURABILITIES[options.durability])
    return Doctor(link, load_keys(url, options.keys_file))


async def _open_redis(url: str, options: StoreOptions) -> RedisStore:
    ring, durability = load_keys(url, options.keys_file), DURABILITIES[options.durability]
    control = Link(open_topology(url, options.access, CONNECTIONS), CONNECTIONS, durability)
    try:
        doctor = Doctor(control, ring)
        if not await doctor.waitaof():
            control.durability = without_waitaof(durability)
        await doctor.examine()
    except BaseException:
        await control.close()
        raise
    bulk = Link(open_topology(url, options.access, CONNECTIONS), CONNECTIONS, control.durability)
    return RedisStore(control, bulk, Sealer(ring), doctor)
