"""Parts in Redis: damage, expired uploads, and loans after a crash between two steps."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.store import open_store
from server.store.base import DamagedValue, Range, Redaction, SessionKey, StoreUnavailable
from server.store.redis import RedisStore
from server.store.redis.names import names
from server.store.redis.parts import UNKEPT_SECONDS
from testing.redis_servers import RedisServer
from tests.server.store.conftest import keys_file
from tests.server.store.samples import beginning, contents, in_parts, key, read, record, with_text

pytestmark = pytest.mark.anyio

TEXT = b"once read"
A, B = b"a" * 1000, b"b" * 1000
FORK = SessionKey("acme", "fork")


@pytest.fixture
async def store(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[RedisStore]:
    redis_server.command("FLUSHALL")
    opened = await open_store(redis_server.url, keys_file(tmp_path))
    assert isinstance(opened, RedisStore)
    yield opened
    await opened.close()


async def begun(store: RedisStore, *values: bytes, id: str = "book", source: SessionKey | None = None) -> None:
    memory = in_parts(read(TEXT, 1), *values)
    await store.create(replace(beginning(record(id), memory), lineage=f"of {id}"), memory, source)


def parts_of(server: RedisServer, key: SessionKey) -> list[bytes]:
    return sorted(server.command("KEYS", f"{names(key).parts}*"))


def kept(server: RedisServer) -> list[bytes]:
    """The keys of sessions and lenders that do not expire."""
    return [name for name in server.command("KEYS", "*") if b"{" in name and server.command("TTL", name) == -1]


async def sweep(store: RedisStore) -> None:
    await store.expire(time.time() + UNKEPT_SECONDS + 60)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "swapped", "of another session"])
async def test_a_damaged_part_is_never_served(store: RedisStore, redis_server: RedisServer, damage: str) -> None:
    await begun(store, A, B)
    await begun(store, A, B, id="other")
    [memory] = (await store.recover(key())).checkpoints
    first, second = parts_of(redis_server, key())
    value = redis_server.command("GET", first)
    if damage == "missing":
        redis_server.command("DEL", first)
    elif damage == "cut":
        redis_server.command("SET", first, value[:-1])
    elif damage == "flipped":
        redis_server.command("SET", first, value[:50] + bytes([value[50] ^ 1]) + value[51:])
    elif damage == "swapped":
        redis_server.command("SET", first, redis_server.command("GET", second))
    else:
        for name in (first, second):
            for theirs in parts_of(redis_server, key("other")):
                redis_server.command("SET", name, redis_server.command("GET", theirs))
    with pytest.raises(DamagedValue):
        await contents(store, key(), memory)
    [other] = (await store.recover(key("other"))).checkpoints
    assert await contents(store, key("other"), other) == [A, B]


async def test_a_memory_whose_new_parts_expired_changes_nothing(
    store: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begun(store, A)
    before = await store.recover(key())
    prepare = store._memories.prepare

    async def losing(*arguments: object) -> object:
        uploaded = await prepare(*arguments)  # type: ignore[arg-type]
        redis_server.command("DEL", uploaded.keys[-1])
        return uploaded

    monkeypatch.setattr(store._memories, "prepare", losing)
    with pytest.raises(StoreUnavailable, match="not all there"):
        await store.keep_snapshot(key(), "name", "of book", in_parts(read(TEXT, 1), A, B), at=3.0)
    assert await store.recover(key()) == before
    assert await contents(store, key(), before.checkpoints[0]) == [A]


class Crash(Exception):
    pass


async def crash(*_: object, **__: object) -> None:
    raise Crash


@pytest.mark.parametrize("step", ["_lifecycle._create", "_loans._lend", "_indexes.may_lend"])
@pytest.mark.parametrize("source_first", [False, True])
async def test_a_crash_while_a_fork_is_created_leaves_nothing_after_a_sweep(
    store: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, step: str, source_first: bool
) -> None:
    await begun(store, A, B)
    with monkeypatch.context() as patched:
        owner, name = step.split(".")
        patched.setattr(getattr(store, owner), name, crash)
        with pytest.raises(Crash):
            await begun(store, A, B, id="fork", source=key())
    if source_first:
        await store.delete(key())
        await sweep(store)
    else:
        await sweep(store)
        [memory] = (await store.recover(key())).checkpoints
        assert await contents(store, key(), memory) == [A, B]
        await store.delete(key())
    assert kept(redis_server) == []
    assert await store.stored_bytes("acme") == 0


@pytest.mark.parametrize("step", ["_loans.give_back", "_loans._return", "_indexes.remove_lender"])
@pytest.mark.parametrize("source_first", [False, True])
async def test_a_crash_while_a_loan_is_returned_leaves_nothing_after_a_sweep(
    store: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, step: str, source_first: bool
) -> None:
    await begun(store, A, B)
    await begun(store, A, B, id="fork", source=key())
    if source_first:
        await store.delete(key())
    with monkeypatch.context() as patched:
        owner, name = step.split(".")
        patched.setattr(getattr(store, owner), name, crash)
        if step == "_indexes.remove_lender" and not source_first:
            await store.delete(FORK)
        else:
            with pytest.raises(Crash):
                await store.delete(FORK)
    await sweep(store)
    if not source_first:
        [memory] = (await store.recover(key())).checkpoints
        assert await contents(store, key(), memory) == [A, B]
        await store.delete(key())
    assert kept(redis_server) == []
    assert await store.stored_bytes("acme") == 0


async def test_a_sweep_leaves_the_loans_of_forks_that_exist(store: RedisStore, redis_server: RedisServer) -> None:
    await begun(store, A, B)
    await begun(store, A, B, id="fork", source=key())
    await begun(store, A, id="second", source=FORK)
    for gone in (key(), FORK):
        await store.delete(gone)
        await sweep(store)
    [memory] = (await store.recover(key("second"))).checkpoints
    assert await contents(store, key("second"), memory) == [A]
    assert len(parts_of(redis_server, key())) == 1
    await store.delete(key("second"))
    assert kept(redis_server) == []


async def test_a_redacted_text_is_nowhere_as_it_was(store: RedisStore, redis_server: RedisServer) -> None:
    await with_text(store, TEXT[:4], TEXT[4:], keep_text=True)
    at = names(key())
    before = {*redis_server.command("HVALS", at.journal), *redis_server.command("ZRANGE", at.pieces, 0, -1)}
    await store.redact(await store.get(key()), Redaction((Range(5, 7),), read(TEXT, 1)), "new", at=3.0)
    after = {*redis_server.command("HVALS", at.journal), *redis_server.command("ZRANGE", at.pieces, 0, -1)}
    assert not before & after
    assert await store.journal(key(), 0, 99) == TEXT[:5] + b"\n\n" + TEXT[7:]
    assert {redis_server.command("TTL", name) for name in (at.journal, at.pieces)} == {-1}
    await store.delete(key())
    assert kept(redis_server) == []


async def test_a_redaction_whose_uploaded_text_expired_changes_nothing(
    store: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_text(store, TEXT, keep_text=True)
    upload = store._memories.upload

    async def losing(*arguments: object) -> list[int]:
        for name in redis_server.command("KEYS", "*:redacted:*:journal"):
            redis_server.command("DEL", name)
        return await upload(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store._memories, "upload", losing)
    before = await store.recover(key())
    with pytest.raises(StoreUnavailable, match="not all there"):
        await store.redact(before.record, Redaction((Range(5, 7),), read(TEXT, 1)), "new", at=3.0)
    assert await store.recover(key()) == before
    assert await store.journal(key(), 0, 99) == TEXT
    assert kept(redis_server)
