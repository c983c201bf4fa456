"""How often the client sends something to Redis: each time costs a round trip, or the event loop's time."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.connection import AbstractConnection

from server.store import open_store
from server.store.base import LEASE_SECONDS, LeaseHeld
from server.store.redis import RedisStore, index
from testing.redis_groups import SLOTS, Cluster
from testing.redis_servers import RedisServer
from tests.server.store.conftest import empty_server, keys_file
from tests.server.store.samples import key, record

pytestmark = pytest.mark.anyio

MASTERS = 3


@pytest.fixture
def cluster(servers: dict[str, RedisServer | Cluster], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    started = empty_server("cluster", servers, tmp_path_factory)
    assert isinstance(started, Cluster)
    return started


@pytest.fixture
async def store(cluster: Cluster, tmp_path: Path) -> AsyncIterator[RedisStore]:
    opened = await open_store(cluster.url, keys_file(tmp_path))
    assert isinstance(opened, RedisStore)
    yield opened
    await opened.close()


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[AbstractConnection]:
    """The connection of every send, from now on."""
    sent: list[AbstractConnection] = []
    send = AbstractConnection.send_packed_command

    async def counted(self: AbstractConnection, *arguments: Any, **options: Any) -> None:
        sent.append(self)
        await send(self, *arguments, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return sent


async def test_the_doctor_finds_each_master_by_a_few_keys(
    store: RedisStore, cluster: Cluster, sends: list[AbstractConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    keyslot = RedisCluster.keyslot

    def counted(self: RedisCluster, key: Any) -> int:
        hashed.append(key)
        return keyslot(self, key)

    monkeypatch.setattr(RedisCluster, "keyslot", counted)
    masters = await store._link.masters()
    assert len(hashed) < SLOTS / 100
    assert {await store._link._topology.node(master) for master in masters} == {
        f"{member.place.address}:{member.port}" for member in cluster.members
    }
    await store.ready()
    sends.clear()
    await store.ready()
    # One for the questions to each master, one for the key that values are sealed with.
    assert len(sends) == MASTERS + 1


async def test_all_wanted_leases_are_read_in_one_exchange_with_each_master(
    store: RedisStore, sends: list[AbstractConnection]
) -> None:
    leases = []
    for number in range(30):
        await store.create(record(str(number)))
        leases.append(await store.lease(key(str(number)), "mine", LEASE_SECONDS))
    with pytest.raises(LeaseHeld):
        await store.lease(key("7"), "other", LEASE_SECONDS, ask=True)
    await store.release(leases[8])
    await store.lease(key("8"), "other", LEASE_SECONDS)
    assert await store.wanted(leases) == {key("7"), key("8")}
    sends.clear()
    assert await store.wanted(leases) == {key("7"), key("8")}
    assert len(sends) == len(set(sends)) == MASTERS
    sends.clear()
    assert await store.wanted([]) == set()
    assert sends == []


async def test_a_lease_whose_slot_has_moved_is_read_where_it_is(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = []
    for number in range(9):
        await store.create(record(str(number)))
        leases.append(await store.lease(key(str(number)), "mine", LEASE_SECONDS))
    with pytest.raises(LeaseHeld):
        await store.lease(key("7"), "other", LEASE_SECONDS, ask=True)
    node = store._link._topology.node

    async def outdated(_: str) -> str:
        return await node(leases[0].key.id)

    # As with a map of slots that is out of date: everything is asked of one master.
    monkeypatch.setattr(store._link._topology, "node", outdated)
    assert await store.wanted(leases) == {key("7")}


async def test_a_full_cache_of_marks_evicts_the_oldest_only(
    store: RedisStore, sends: list[AbstractConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_MARKS_CACHED_MAX", 2)
    for id in ("a", "b", "c"):
        await store._indexes.mark_unread(key(id))
    sends.clear()
    for id in ("b", "c"):
        await store._indexes.mark_unread(key(id))
    assert sends == []
    await store._indexes.mark_unread(key("a"))
    assert len(sends) == 1


async def test_an_append_at_the_end_takes_two_exchanges(store: RedisStore, sends: list[AbstractConnection]) -> None:
    await store.create(record())
    await store.append(key(), 0, b"once", at=2.0)
    for offset, piece in ((4, b" read"), (9, b" only")):
        sends.clear()
        await store.append(key(), offset, piece, at=3.0)
        # The record is read; then the piece, its line and the new record are written in one script.
        assert len(sends) == 2
