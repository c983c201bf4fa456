"""The client of Redis: lost answers, flushed scripts, cancelled callers, passwords and certificates."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.store import StoreOptions, open_store
from server.store.base import StaleCheckpoint, StoreFull, StoreUnavailable
from server.store.open import CONNECTIONS
from server.store.redis import RedisStore
from server.store.redis.topology import Access
from server.store.text_hash import EMPTY_CHAIN, extended
from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from testing.redis_tls import tls
from tests.server.store.conftest import keys_file
from tests.server.store.samples import acknowledged, checkpoint, keep, key, record

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[RedisStore]:
    redis_server.command("FLUSHALL")
    opened = await open_store(redis_server.url, keys_file(tmp_path))
    assert isinstance(opened, RedisStore)
    yield opened
    await opened.close()


async def test_flushed_scripts_are_loaded_again(store: RedisStore, redis_server: RedisServer) -> None:
    await store.create(record())
    redis_server.command("SCRIPT", "FLUSH")
    assert acknowledged(await store.append(key(), 0, b"text", at=2.0)) == (4, False)


async def test_a_cancelled_call_leaves_no_answer_to_the_next_one(store: RedisStore) -> None:
    for id in ("a", "b"):
        await store.create(record(id))
        await store.append(key(id), 0, id.encode() * 1000, at=2.0)
    for turn in range(200):
        calls = [asyncio.create_task(store.journal(key("a"), 0, 1000)) for _ in range(3)]
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        assert await store.journal(key("b"), 0, 1000) == b"b" * 1000
        await asyncio.gather(*calls, return_exceptions=True)


async def test_more_calls_than_connections_wait(store: RedisStore, redis_server: RedisServer) -> None:
    await store.create(record())
    before = redis_server.command("INFO", "clients")["connected_clients"]
    await asyncio.gather(*(store.get(key()) for _ in range(500)))
    assert redis_server.command("INFO", "clients")["connected_clients"] <= before + CONNECTIONS


async def test_an_append_whose_answer_was_lost_is_not_applied_twice(tmp_path: Path) -> None:
    with RedisServer(require("valkey9"), tmp_path / "server") as server:
        store = await open_store(server.url, keys_file(tmp_path))
        await store.create(record())
        await store.append(key(), 0, b"x", at=1.0)
        for number in range(1, 6):
            append = asyncio.create_task(store.append(key(), number, b"x", at=2.0))
            for _ in range(number * 3):
                await asyncio.sleep(0)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            assert (await append).accepted_bytes == number + 1
        assert await store.journal(key(), 0, 99) == b"x" * 6
        await store.close()


async def test_a_killed_redis_is_reported_and_used_again_after_its_restart(tmp_path: Path) -> None:
    with RedisServer(require("valkey9"), tmp_path / "server") as server:
        store = await open_store(server.url, keys_file(tmp_path))
        await store.create(record())
        server.kill()
        for operation in (store.get(key()), store.ready(), store.unread(1)):
            with pytest.raises(StoreUnavailable, match="check that it runs"):
                await operation
        await asyncio.to_thread(server.start)
        assert await store.get(key()) == record()
        await store.close()


async def test_a_full_redis_refuses_appends_until_there_is_room(store: RedisStore, redis_server: RedisServer) -> None:
    await store.create(record())
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreFull, match="no memory left"):
        await store.append(key(), 0, b"text", at=2.0)
    assert await store.get(key()) == record()
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    assert acknowledged(await store.append(key(), 0, b"text", at=2.0)) == (4, False)


async def test_a_checkpoint_of_another_text_is_refused(store: RedisStore) -> None:
    await store.create(record())
    await store.append(key(), 0, b"once read", at=2.0)
    lease, other = await store.lease(key(), "reader", 10.0), extended(EMPTY_CHAIN, b"other text")
    for offset in (0, 4, 9):
        made = checkpoint(1, offset)
        with pytest.raises(StaleCheckpoint, match="another text"):
            await store.checkpoint(lease, replace(made, info=made.info._replace(chain=other)), 3.0)
    await keep(store, key(), checkpoint(1, 4), at=3.0)


async def test_a_checkpoint_whose_parts_expired_is_refused(
    store: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(record())
    upload = store._memories.upload

    async def losing(*arguments: object) -> list[int]:
        lengths = await upload(*arguments)  # type: ignore[arg-type]
        for name in redis_server.command("KEYS", "*:checkpoint:*"):
            redis_server.command("DEL", name)
        return lengths

    monkeypatch.setattr(store._memories, "upload", losing)
    with pytest.raises(StoreUnavailable, match="not all there"):
        await keep(store, key(), checkpoint(1, 0), at=3.0)
    assert (await store.recover(key())).checkpoints == ()


async def test_nothing_is_left_of_a_deleted_session(store: RedisStore, redis_server: RedisServer) -> None:
    before = set(redis_server.command("KEYS", "*"))
    await store.create(replace(record(), ttl_seconds=9.0, expires_at=9.0))
    for version in (1, 2, 3):
        await store.append(key(), (version - 1) * 396, b"text" * 99, at=2.0)
        await keep(store, key(), checkpoint(version, version * 396), at=3.0)
    await store.delete(key())
    await store.expire(at=99.0)
    assert {name for name in redis_server.command("KEYS", "*") if b"{" in name} == set()
    assert set(redis_server.command("KEYS", "*")) - before <= {b"onceread:unread", b"onceread:expiry"}


@pytest.mark.parametrize("address", ["redis+other://h", "redis://a,b", "redisx://h"])
async def test_an_invalid_address_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValueError, match="redis"):
        await open_store(address, keys_file(tmp_path))


async def test_a_user_with_a_password_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    user = ("onceread", "on", ">secret", "~onceread:*", "+@all", "-@admin", "-@dangerous", "+config|get", "+info")
    with RedisServer(require("redis7"), tmp_path / "server", user=" ".join(user)) as server:
        url = f"redis://onceread@127.0.0.1:{server.port}"
        options = StoreOptions(keys_file=tmp_path / "seal.keys", access=Access(password_file=tmp_path / "password"))
        store = await open_store(url, options)
        await store.create(record())
        await store.close()
        (tmp_path / "password").write_text("wrong\n")
        with pytest.raises(StoreUnavailable, match="PASSWORD_FILE") as refusal:
            await open_store(url, options)
        assert "wrong" not in str(refusal.value)


async def test_a_private_authority_and_a_client_certificate(tmp_path: Path) -> None:
    certificates = tls(tmp_path)
    with RedisServer(require("redis7"), tmp_path / "server", tls=certificates) as server:
        access = Access(None, certificates.authority, certificates.client, certificates.client_key)
        store = await open_store(server.url, StoreOptions(keys_file=tmp_path / "seal.keys", access=access))
        await store.create(record())
        assert await store.get(key()) == record()
        await store.close()
        for refused in (Access(), Access(ca_file=certificates.authority)):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                await open_store(server.url, StoreOptions(keys_file=tmp_path / "seal.keys", access=refused))
