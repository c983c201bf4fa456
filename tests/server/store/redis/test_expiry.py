"""A session that becomes mortal is found when its time is over, whatever else looks at the index meanwhile."""

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
    """With a session that lasts, of which the index says that its time may be over."""
    redis_server.command("FLUSHALL")
    opened = await open_store(redis_server.url, keys_file(tmp_path))
    assert isinstance(opened, RedisStore)
    await opened.create(record())
    redis_server.command("ZADD", EXPIRY, 1.0, member(key()))
    yield opened
    await opened.close()


async def become_mortal(store: RedisStore) -> None:
    await store.revise(key(), {"ttl_seconds": 5.0}, at=2.0)


async def test_while_it_is_taken_out_of_the_index(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    does_not_expire = store._indexes.does_not_expire

    async def late(*arguments: Any) -> None:
        await become_mortal(store)
        await does_not_expire(*arguments)

    monkeypatch.setattr(store._indexes, "does_not_expire", late)
    assert await store.expire(at=2.0) == []
    monkeypatch.undo()
    assert await store.expire(at=7.0) == [key()]


async def test_before_its_record_says_so(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    revise = store._records.revise

    async def late(*arguments: Any) -> Any:
        assert await store.expire(at=2.0) == []
        return await revise(*arguments)

    monkeypatch.setattr(store._records, "revise", late)
    await become_mortal(store)
    assert await store.expire(at=7.0) == [key()]


async def test_by_a_server_that_dies_at_once(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    revise = store._records.revise

    async def last(*arguments: Any) -> Any:
        await revise(*arguments)
        raise RuntimeError("dead")

    assert await store.expire(at=2.0) == []
    monkeypatch.setattr(store._records, "revise", last)
    with pytest.raises(RuntimeError, match="dead"):
        await become_mortal(store)
    assert await store.expire(at=7.0) == [key()]


async def test_one_that_is_created_while_an_earlier_one_is_taken_out(
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
