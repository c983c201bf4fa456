"""Opens the store that an address names.

Addresses: `sqlite:///folder`, `sqlite:////absolute/folder`, `memory://`, `redis://…`, `rediss://…`, and the last two
with `+sentinel` or `+cluster`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from server.store.base import Store
from server.store.encryption import Sealer
from server.store.in_memory import MemoryStore
from server.store.keyring import Keyring
from server.store.redis import RedisStore
from server.store.redis.client import Link
from server.store.redis.health import ConnectionCheck, Doctor
from server.store.redis.requirements import DURABILITIES, Finding, confirmed_by
from server.store.redis.topology import Access, open_topology
from server.store.sqlite import SqliteStore

_SQLITE = "sqlite:///"
CONNECTIONS = 16


@dataclass(frozen=True)
class StoreOptions:
    """A store's options other than its address."""

    durability: str = "fsync"
    keys_file: Path | None = None
    replicas: int = 1
    access: Access = field(default_factory=Access)


def load_keys(url: str, given: Path | None) -> Keyring:
    """The store's keys, from the given file, or else from the file beside its data."""
    return Keyring.of_this_process() if url == "memory://" else Keyring.load(keys_path(url, given))


def keys_path(url: str, given: Path | None) -> Path:
    folder = Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else Path("data")
    return given or folder / "seal.keys"


async def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """The store at `url`, ready for use."""
    options = options or StoreOptions()
    if url == "memory://":
        return MemoryStore()
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        if options.durability != "fsync":
            raise ValueError(f"the embedded store always uses fsync, not {options.durability}: remove that option")
        return await SqliteStore.open(Path(url.removeprefix(_SQLITE)))
    if url.startswith("redis"):
        return await _open_redis(url, options)
    # The address itself is not repeated: it may carry a password.
    scheme = url.partition(":")[0]
    raise ValueError(f"no store has an address like {scheme}:…: use sqlite:///folder, memory:// or redis://host:port")


async def redis_findings(url: str, options: StoreOptions) -> list[Finding]:
    """The doctor's findings about the Redis at this address; opens no store."""
    link = _link(url, options, strict=False)
    try:
        return await Doctor(link, load_keys(url, options.keys_file)).findings()
    finally:
        await link.close()


async def _open_redis(url: str, options: StoreOptions) -> RedisStore:
    control, ring = _link(url, options), load_keys(url, options.keys_file)
    doctor = Doctor(control, ring)
    try:
        await doctor.examine()
    except BaseException:
        await control.close()
        raise
    return RedisStore(control, _link(url, options), Sealer(ring), doctor)


def _link(url: str, options: StoreOptions, strict: bool = True) -> Link:
    check = ConnectionCheck(confirmed_by(DURABILITIES[options.durability], options.replicas), strict)
    topology = open_topology(url, options.access, CONNECTIONS, check.check)
    return Link(topology, CONNECTIONS, lambda: check.durability)
