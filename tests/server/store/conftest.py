"""Fixtures of the store's tests: every implementation of the contract, on real servers."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from server.store import open_store
from server.store.base import Store
from server.store.open import StoreOptions
from server.store.sqlite import SqliteStore
from testing.redis_binaries import BINARIES, require
from testing.redis_groups import Cluster
from testing.redis_servers import RedisServer


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RedisServer | Cluster]]:
    """Servers by kind, each started at its first use."""
    started: dict[str, RedisServer | Cluster] = {}
    yield started
    for server in started.values():
        server.__exit__(None, None, None)


def empty_server(
    kind: str, servers: dict[str, RedisServer | Cluster], factory: pytest.TempPathFactory
) -> RedisServer | Cluster:
    """The server of this kind, emptied."""
    if kind not in servers:
        folder = factory.mktemp(kind)
        made = (
            Cluster(require("valkey9"), folder, replicas=False)
            if kind == "cluster"
            else RedisServer(require(kind), folder)
        )
        servers[kind] = made.__enter__()
    server = servers[kind]
    for member in server.members if isinstance(server, Cluster) else [server]:
        member.command("FLUSHALL")
    return server


def keys_file(folder: Path) -> StoreOptions:
    return StoreOptions(keys_file=folder / "seal.keys")


@pytest.fixture(params=["memory", "sqlite", *BINARIES, "cluster"])
async def store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    servers: dict[str, RedisServer | Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Store]:
    """Each store in turn, empty."""
    match request.param:
        case "memory":
            url = "memory://"
        case "sqlite":
            url = f"sqlite:///{tmp_path}/data"
        case kind:
            url = empty_server(kind, servers, tmp_path_factory).url
    opened = await open_store(url, keys_file(tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """The embedded store, in the folder `data` of the test's `tmp_path`."""
    opened = await SqliteStore.open(tmp_path / "data")
    yield opened
    await opened.close()
