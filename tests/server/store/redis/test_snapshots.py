"""Snapshots in Redis: expired parts, replaced values, lost answers, and keys that are left over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.store import open_store
from server.store.base import DamagedValue, SessionMissing, SessionTaken, StoreUnavailable
from server.store.redis import RedisStore
from server.store.redis.names import UNREAD, names
from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from tests.server.store.conftest import keys_file
from tests.server.store.samples import beginning, keep, key, read, record, with_text

pytestmark = pytest.mark.anyio

TEXT = b"abcdefghijkl"
MEMORY = read(TEXT, 1)


@pytest.fixture
async def store(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[RedisStore]:
    redis_server.command("FLUSHALL")
    opened = await open_store(redis_server.url, keys_file(tmp_path))
    assert isinstance(opened, RedisStore)
    yield opened
    await opened.close()


async def keep_snapshot(store: RedisStore) -> None:
    await store.keep_snapshot(key(), "name", (await store.get(key())).lineage, MEMORY, at=3.0)


async def rewind(store: RedisStore) -> None:
    now = await store.get(key())
    await store.rewind(now, read(TEXT, now.version + 1), "new", at=4.0)


async def create(store: RedisStore) -> None:
    await store.create(beginning(record("copy"), MEMORY), MEMORY)


@pytest.mark.parametrize("operation", [keep_snapshot, rewind, create])
async def test_a_memory_whose_parts_expired_changes_nothing(
    store: RedisStore,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    operation: Callable[[RedisStore], Coroutine[Any, Any, None]],
) -> None:
    await with_text(store, TEXT)
    before = await store.recover(key())
    upload = store._memories.upload

    async def losing(*arguments: object) -> list[int]:
        lengths = await upload(*arguments)  # type: ignore[arg-type]
        for name in redis_server.command("KEYS", "*:checkpoint:*"):
            redis_server.command("DEL", name)
        return lengths

    monkeypatch.setattr(store._memories, "upload", losing)
    with pytest.raises(StoreUnavailable, match="not all there"):
        await operation(store)
    assert await store.recover(key()) == before
    assert await store.snapshots(key()) == []
    with pytest.raises(SessionMissing):
        await store.get(key("copy"))


async def test_only_uploads_that_are_not_kept_expire(store: RedisStore, redis_server: RedisServer) -> None:
    await with_text(store, TEXT)
    for operation in (keep_snapshot, rewind, create):
        await operation(store)
    kept = redis_server.command("KEYS", "*:checkpoint:*")
    assert [redis_server.command("TTL", name) for name in kept] == [-1, -1, -1]
    await rewind(store)
    await store.drop_snapshot(key(), "name")
    assert len(redis_server.command("KEYS", "*:checkpoint:*")) == 2
    with pytest.raises(SessionTaken):
        await create(store)
    running_out = [redis_server.command("TTL", name) > 0 for name in redis_server.command("KEYS", "*:checkpoint:*")]
    assert sorted(running_out) == [False, False, True]


@pytest.mark.parametrize("end", ["deleted", "damaged and deleted", "over"])
async def test_nothing_is_left_of_a_session_that_had_snapshots(
    store: RedisStore, redis_server: RedisServer, end: str
) -> None:
    await store.create(replace(beginning(record(), MEMORY), ttl_seconds=9.0, expires_at=9.0), MEMORY)
    for name in ("a", "b"):
        await store.keep_snapshot(key(), name, "", MEMORY, at=3.0)
    await store.append(key(), MEMORY.offset, b"more", at=3.0)
    await rewind(store)
    if end == "over":
        assert await store.expire(at=99.0) == [key()]
    elif end == "damaged and deleted":
        redis_server.command("SET", names(key()).record, b"damaged")
    if end != "over":
        await store.delete(key())
    left = {name for name in redis_server.command("KEYS", "*") if b"{" in name}
    assert left <= {names(key()).tombstone.encode()}


async def test_a_damaged_snapshot_is_found_and_never_used(store: RedisStore, redis_server: RedisServer) -> None:
    await with_text(store, TEXT)
    attempts = list[bytes]()
    for name in ("a", "b", "c"):
        await store.keep_snapshot(key(), name, "", MEMORY, at=3.0)
        attempts += set(redis_server.command("KEYS", "*:checkpoint:*")) - set(attempts)
    redis_server.command("COPY", attempts[2], attempts[0], "REPLACE")
    redis_server.command("DEL", attempts[1])
    for name in ("a", "b"):
        with pytest.raises(DamagedValue):
            await store.load_snapshot(key(), name)
    assert (await store.load_snapshot(key(), "c"))[1] == MEMORY


async def test_pieces_from_before_a_rewind_are_not_taken_for_later_ones(
    store: RedisStore, redis_server: RedisServer
) -> None:
    await with_text(store, TEXT[:4], TEXT[4:8], TEXT[8:], keep_text=True)
    at = names(key())
    old_pieces = redis_server.command("HGETALL", at.journal)
    old_lines = redis_server.command("ZRANGE", at.pieces, 0, -1)
    await store.rewind(await store.get(key()), read(TEXT[:6], 1), "new", at=4.0)
    assert set(redis_server.command("HKEYS", at.journal)) == {b"0", b"4"}
    for offset, piece in ((6, b"XY"), (8, b"Z123")):
        await store.append(key(), offset, piece, at=5.0)
    assert await store.journal(key(), 0, 99) == TEXT[:6] + b"XYZ123"
    # The piece that was cut, and one that another has replaced.
    for number, offset in enumerate((4, 8), start=1):
        redis_server.command("HSET", at.journal, offset, old_pieces[b"%d" % offset])
        with pytest.raises(DamagedValue):
            await store.journal(key(), offset, 2)
        # Nor with its line in the place of the new one.
        redis_server.command("ZREMRANGEBYSCORE", at.pieces, offset, offset)
        redis_server.command("ZADD", at.pieces, offset, old_lines[number])
        with pytest.raises(DamagedValue):
            await store.journal(key(), offset, 2)
    assert await store.journal(key(), 0, 4) == TEXT[:4]


@pytest.mark.parametrize("read_bytes", [0, 6])
async def test_a_rewind_in_damaged_text_removes_all_of_it(
    store: RedisStore, redis_server: RedisServer, read_bytes: int
) -> None:
    await with_text(store, TEXT[:4], TEXT[4:], keep_text=True)
    if read_bytes:
        await keep(store, key(), read(TEXT[:read_bytes], 1), at=3.0)
    # And a piece without a line.
    redis_server.command("HSET", names(key()).journal, 4, b"damaged", 99, b"left over")
    now = await store.get(key())
    memory = read(TEXT[:6], now.version + 1)
    await store.rewind(now, memory, "new", at=4.0)
    recovery = await store.recover(key())
    assert (recovery.checkpoints, recovery.journal_offset, recovery.damaged) == ((memory,), 6, ())
    assert redis_server.command("EXISTS", names(key()).journal, names(key()).pieces) == 0


async def test_a_snapshot_that_is_kept_during_a_rewind_is_not_lost(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await with_text(store, TEXT)
    upload, uploads = store._memories.upload, list[object]()

    async def together(*arguments: Any) -> list[int]:
        uploads.append(arguments)
        if len(uploads) == 1:
            await keep_snapshot(store)
        return await upload(*arguments)

    monkeypatch.setattr(store._memories, "upload", together)
    await rewind(store)
    assert (await store.load_snapshot(key(), "name"))[1] == MEMORY
    assert len(uploads) == 2


async def test_a_rebuilt_session_is_listed_as_unread(store: RedisStore, redis_server: RedisServer) -> None:
    await with_text(store, TEXT, keep_text=True)
    for version in (1, 2):
        await keep(store, key(), read(TEXT, version), at=3.0)
    redis_server.command("DEL", UNREAD)
    # As on a server that has marked no session yet.
    store._indexes._marked.clear()
    after = await store.rebuild(await store.get(key()), "delta", "beef", "new", at=4.0)
    assert await store.unread(1) == [after]
    assert redis_server.command("KEYS", "*:checkpoint:*") == []


async def test_an_operation_during_a_kill_of_redis_is_applied_once_or_not_at_all(tmp_path: Path) -> None:
    with RedisServer(require("valkey9"), tmp_path / "server") as server:
        store = await open_store(server.url, keys_file(tmp_path))
        assert isinstance(store, RedisStore)
        await with_text(store, TEXT, keep_text=True)
        for turn, operation in enumerate((keep_snapshot, rewind, create) * 2):
            before = await store.get(key())
            working = asyncio.create_task(operation(store))
            for _ in range(40 + 9 * turn):
                await asyncio.sleep(0)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            [outcome] = await asyncio.gather(working, return_exceptions=True)
            assert outcome is None or isinstance(outcome, StoreUnavailable)
            recovery = await store.recover(key())
            assert recovery.damaged == ()
            happened = {
                keep_snapshot: len(await store.snapshots(key())),
                rewind: recovery.record.version - before.version,
                create: len(await store.list_sessions("acme", 9)) - 1,
            }
            assert happened.pop(operation) in ((1,) if outcome is None else (0, 1))
            assert set(happened.values()) == {0}
            assert len(recovery.checkpoints) == min(1, recovery.record.version)
            assert await store.journal(key(), 0, 99) == TEXT
            for snapshot in await store.snapshots(key()):
                assert await store.load_snapshot(key(), snapshot.name) == (snapshot, MEMORY)
                await store.drop_snapshot(key(), snapshot.name)
            with suppress(SessionMissing):
                assert (await store.recover(key("copy"))).checkpoints == (MEMORY,)
                await store.delete(key("copy"))
        await store.close()
