"""A session that gets a time to live expires, whatever a concurrent sweep does to the index."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.store import open_store
from server.store.redis import RedisStore
from server.store.redis.names import EXPIRY, member
from testing.redis_servers import RedisServer
from tests.server.store.conftest import keys_file
from tests.server.store.samples import key, record

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[RedisStore]:
    """With a session without a time to live, which the index lists as expired."""
    redis_server.command("FLUSHALL")
    opened = await open_store(redis_server.url, keys_file(tmp_path))
    assert isinstance(opened, RedisStore)
    await opened.create(record())
    redis_server.command("ZADD", EXPIRY, 1.0, member(key()))
    yield opened
    await opened.close()


async def set_ttl(store: RedisStore) -> None:
    await store.revise(key(), {"ttl_seconds": 5.0}, at=2.0)


async def test_it_is_set_while_a_sweep_removes_the_entry(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_expiry = store._indexes.remove_expiry

    async def late(*arguments: Any) -> None:
        await set_ttl(store)
        await remove_expiry(*arguments)

    monkeypatch.setattr(store._indexes, "remove_expiry", late)
    assert await store.expire(at=2.0) == []
    monkeypatch.undo()
    assert await store.expire(at=7.0) == [key()]


async def test_a_sweep_runs_before_the_record_has_it(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    revise = store._records.revise

    async def late(*arguments: Any) -> Any:
        assert await store.expire(at=2.0) == []
        return await revise(*arguments)

    monkeypatch.setattr(store._records, "revise", late)
    await set_ttl(store)
    assert await store.expire(at=7.0) == [key()]


async def test_the_server_dies_after_the_record_has_it(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    revise = store._records.revise

    async def last(*arguments: Any) -> Any:
        await revise(*arguments)
        raise RuntimeError("dead")

    assert await store.expire(at=2.0) == []
    monkeypatch.setattr(store._records, "revise", last)
    with pytest.raises(RuntimeError, match="dead"):
        await set_ttl(store)
    assert await store.expire(at=7.0) == [key()]


async def test_a_session_is_created_while_a_sweep_removes_an_earlier_ones_entry(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.delete(key())
    may_expire = store._indexes.may_expire

    async def early(*arguments: Any) -> None:
        monkeypatch.undo()
        await may_expire(*arguments)
        assert await store.expire(at=2.0) == []

    monkeypatch.setattr(store._indexes, "may_expire", early)
    await store.create(replace(record(), ttl_seconds=5.0, expires_at=7.0))
    assert await store.expire(at=7.0) == [key()]
