"""A Redis at `maxmemory`: what would take memory is refused, what is needed to read, answer and delete is not."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.store import open_store
from server.store.base import SessionExpired, SessionMissing, StoreFull
from server.store.redis import RedisStore
from testing.redis_binaries import BINARIES
from testing.redis_groups import Cluster
from testing.redis_servers import RedisServer
from tests.server.store.conftest import empty_server, keys_file
from tests.server.store.samples import acknowledged, keep, key, read, record

pytestmark = pytest.mark.anyio

TEXT = b"once read "


class Filled:
    """A store on a server that holds the session `book`: text, a checkpoint of it, and a snapshot of that."""

    def __init__(self, store: RedisStore, server: RedisServer) -> None:
        self.store, self.server = store, server

    def is_full(self, full: bool) -> None:
        self.server.command("CONFIG", "SET", "maxmemory", "1" if full else "0")


@pytest.fixture(params=list(BINARIES))
async def filled(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    servers: dict[str, RedisServer | Cluster],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Filled]:
    server = empty_server(request.param, servers, tmp_path_factory)
    assert isinstance(server, RedisServer)
    store = await open_store(server.url, keys_file(tmp_path))
    assert isinstance(store, RedisStore)
    await store.create(replace(record(), lineage="book", ttl_seconds=9.0, expires_at=9.0))
    await store.append(key(), 0, TEXT, at=2.0)
    await keep(store, key(), read(TEXT, 1), at=3.0)
    await store.keep_snapshot(key(), "first", "book", read(TEXT, 1), at=3.0)
    filled = Filled(store, server)
    filled.is_full(True)
    yield filled
    filled.is_full(False)
    await store.close()


async def test_what_would_take_memory_is_refused_and_leaves_nothing(filled: Filled) -> None:
    store, server = filled.store, filled.server
    before = server.command("DBSIZE"), await store.get(key())
    lease = await store.lease(key(), "reader", 10.0)
    for refused in (
        store.append(key(), len(TEXT), b"more", at=4.0),
        store.checkpoint(lease, read(TEXT, 2), at=4.0),
        store.keep_snapshot(key(), "second", "book", read(TEXT, 1), at=4.0),
        store.create(record("other")),
        store.rewind(await store.get(key()), read(TEXT, 2), "book2", at=4.0),
    ):
        with pytest.raises(StoreFull, match="raise maxmemory or delete sessions"):
            await refused
    assert (server.command("DBSIZE"), await store.get(key())) == before
    filled.is_full(False)
    assert acknowledged(await store.append(key(), len(TEXT), b"more", at=4.0)) == (len(TEXT) + 4, False)
    await store.checkpoint(lease, read(TEXT + b"more", 2), at=4.0)
    assert (await store.recover(key(), 1)).checkpoints == (read(TEXT + b"more", 2),)


async def test_leases_are_given_renewed_asked_for_and_released(filled: Filled) -> None:
    store = filled.store
    lease = await store.lease(key(), "reader", 10.0)
    await store.renew(lease, 10.0)
    with pytest.raises(Exception, match="reader"):
        await store.lease(key(), "another", 10.0, ask=True)
    assert await store.wanted([lease]) == {key()}
    await store.release(lease)
    assert (await store.lease(key(), "another", 10.0)).holder == "another"


async def test_what_is_stored_is_read_used_and_changed(filled: Filled) -> None:
    store = filled.store
    assert await store.journal(key(), 0, 99) == TEXT
    assert [kept.offset for kept in (await store.recover(key())).checkpoints] == [len(TEXT)]
    assert (await store.load_snapshot(key(), "first"))[1] == read(TEXT, 1)
    await store.touch(key(), at=5.0)
    assert (await store.get(key())).expires_at == 14.0
    await store.quarantine(key(), "damaged", at=6.0)
    assert (await store.get(key())).quarantined == "damaged"


async def test_snapshots_and_sessions_are_deleted(filled: Filled) -> None:
    store, server = filled.store, filled.server
    await store.drop_snapshot(key(), "first")
    assert await store.snapshots(key()) == []
    await store.delete(key())
    with pytest.raises(SessionMissing):
        await store.get(key())
    assert [name for name in server.command("KEYS", "*") if b"{" in name] == []
    assert await store.list_sessions("acme", 9) == []


async def test_a_sweep_expires_what_has_expired_and_keeps_what_was_used(filled: Filled) -> None:
    store = filled.store
    await store.touch(key(), at=5.0)
    assert await store.expire(at=10.0) == [], "the index says 9, the record 14"
    assert await store.expire(at=14.0) == [key()]
    with pytest.raises(SessionExpired):
        await store.get(key())
