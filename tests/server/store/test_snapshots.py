"""The contract's sentences on snapshots and on sessions that start with a memory, against every store."""

import asyncio
from dataclasses import replace

import pytest

from server.store.base import (
    CHECKPOINTS_KEPT,
    PIECE_BYTES_MAX,
    SNAPSHOTS_MAX,
    OffsetMismatch,
    SessionMissing,
    SessionTaken,
    Snapshot,
    SnapshotMissing,
    SnapshotTaken,
    StaleCheckpoint,
    Store,
    StoredCheckpoint,
    TooManySnapshots,
)
from tests.server.store.samples import acknowledged, beginning, checkpoint, keep, key, read, record, with_text

pytestmark = pytest.mark.anyio

TEXT = b"once read"
LARGE = read(TEXT, 7, value_bytes=2 * PIECE_BYTES_MAX + 1)
WITHOUT_BYTES = StoredCheckpoint(read(TEXT, 1).info._replace(memory_bytes=0), b"")


@pytest.mark.parametrize("memory", [LARGE, read(b"", 0), WITHOUT_BYTES])
async def test_a_session_may_start_with_a_memory(store: Store, memory: StoredCheckpoint) -> None:
    mine, end = beginning(record(), memory), memory.offset
    await store.create(mine, memory)
    recovery = await store.recover(key())
    assert (recovery.record, recovery.checkpoints, recovery.damaged) == (mine, (memory,), ())
    assert (recovery.journal_offset, recovery.checkpoints[0].info.chain) == (end, memory.info.chain)
    assert acknowledged(await store.append(key(), end, b", ask", at=2.0)) == (end + 5, False)
    assert await store.journal(key(), end, 99) == b", ask"
    if end:
        with pytest.raises(OffsetMismatch):
            await store.append(key(), 0, TEXT[:end], at=3.0)
    for version in (1, 2):
        await keep(store, key(), checkpoint(memory.version + version, end + 5), at=4.0)
    recovery = await store.recover(key())
    assert [kept.offset for kept in recovery.checkpoints] == [end + 5] * CHECKPOINTS_KEPT
    assert recovery.damaged == ()


async def test_a_session_cannot_start_with_a_memory_that_its_record_contradicts(store: Store) -> None:
    its, info = beginning(record(), LARGE), LARGE.info
    infos = [info._replace(version=1), info._replace(tokens=1), info._replace(segments=1)]
    infos += [info._replace(memory_bytes=1), info._replace(chain="other")]
    others = [replace(its, info=other) for other in infos]
    others.append(replace(its, chain="other"))
    others.append(replace(its, accepted_bytes=8, info=info._replace(offset=8)))
    for other in others:
        with pytest.raises(ValueError, match="starts at the memory's offset 9"):
            await store.create(other, LARGE)
    with pytest.raises(SessionMissing):
        await store.get(key())


async def test_of_concurrent_creations_with_one_key_exactly_one_succeeds(store: Store) -> None:
    memories = [read(TEXT[:end], end + 1, value_bytes=PIECE_BYTES_MAX + end) for end in range(5)]
    creating = (
        store.create(replace(beginning(record(), memory), lineage=str(memory.version)), memory) for memory in memories
    )
    outcomes = await asyncio.gather(*creating, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [SessionTaken] * 4
    recovery = await store.recover(key())
    assert recovery.checkpoints == (memories[outcomes.index(None)],)
    assert recovery.record.lineage == str(recovery.checkpoints[0].version)
    assert recovery.damaged == ()


async def test_a_snapshot_is_independent_of_the_checkpoints(store: Store) -> None:
    await with_text(store, b"once", b" read")
    await keep(store, key(), checkpoint(1, 4), at=3.0)
    before = await store.recover(key())
    snapshot = await store.keep_snapshot(key(), "ch-1 ✓", "", LARGE, at=4.0)
    assert snapshot == Snapshot(
        name="ch-1 ✓",
        created_at=4.0,
        info=LARGE.info,
        fingerprint="f00d",
        value_bytes=len(LARGE.value),
    )
    after = await store.recover(key())
    assert after == replace(before, record=replace(before.record, updated_at=4.0))
    for version in range(2, 5):
        await keep(store, key(), checkpoint(version, 9), at=5.0)
    assert await store.snapshots(key()) == [snapshot]
    assert await store.load_snapshot(key(), "ch-1 ✓") == (snapshot, LARGE)
    assert (await store.load_snapshot(key(), "ch-1 ✓"))[1].info.chain == LARGE.info.chain


async def test_a_snapshot_restarts_the_time_to_live(store: Store) -> None:
    await store.create(replace(record(), ttl_seconds=10.0, expires_at=11.0))
    await store.keep_snapshot(key(), "name", "", read(b"", 0), at=5.0)
    assert (await store.get(key())).expires_at == 15.0


async def test_snapshots_are_listed_newest_first_and_dropped_by_name(store: Store) -> None:
    await with_text(store, TEXT)
    memories = {name: read(TEXT[:end], 0) for end, name in enumerate("abc")}
    for at, (name, memory) in enumerate(memories.items()):
        await store.keep_snapshot(key(), name, "", memory, at=float(at))
    assert [found.name for found in await store.snapshots(key())] == ["c", "b", "a"]
    await store.drop_snapshot(key(), "b")
    assert [found.name for found in await store.snapshots(key())] == ["c", "a"]
    for name in ("b", "never"):
        with pytest.raises(SnapshotMissing, match=name):
            await store.load_snapshot(key(), name)
        with pytest.raises(SnapshotMissing, match=name):
            await store.drop_snapshot(key(), name)
    assert (await store.load_snapshot(key(), "c"))[1] == memories["c"]
    await store.keep_snapshot(key(), "b", "", memories["c"], at=9.0)
    assert (await store.load_snapshot(key(), "b"))[1] == memories["c"]
    assert [found.name for found in await store.snapshots(key())] == ["b", "c", "a"]


async def test_a_second_snapshot_with_the_same_name_is_refused(store: Store) -> None:
    await with_text(store, TEXT)
    mine, other = read(TEXT, 1), read(TEXT[:4], 2)
    await store.keep_snapshot(key(), "name", "", mine, at=3.0)
    before = await store.get(key())
    with pytest.raises(SnapshotTaken, match="'name'"):
        await store.keep_snapshot(key(), "name", "", other, at=4.0)
    assert await store.get(key()) == before
    assert (await store.load_snapshot(key(), "name"))[1] == mine


async def test_of_concurrent_snapshots_with_one_name_exactly_one_succeeds(store: Store) -> None:
    await with_text(store, TEXT)
    memories = [read(TEXT, version) for version in range(5)]
    keeping = (store.keep_snapshot(key(), "name", "", memory, at=3.0) for memory in memories)
    outcomes = await asyncio.gather(*keeping, return_exceptions=True)
    kept = [outcome for outcome in outcomes if isinstance(outcome, Snapshot)]
    assert [type(outcome) for outcome in outcomes].count(SnapshotTaken) == 4
    assert await store.load_snapshot(key(), "name") == (kept[0], memories[kept[0].info.version])


async def test_a_session_has_at_most_snapshots_max_snapshots(store: Store) -> None:
    await with_text(store, TEXT)
    for number in range(SNAPSHOTS_MAX):
        await store.keep_snapshot(key(), str(number), "", read(TEXT, number), at=3.0)
    with pytest.raises(TooManySnapshots, match="64"):
        await store.keep_snapshot(key(), "one more", "", read(TEXT, 1), at=4.0)
    assert len(await store.snapshots(key())) == SNAPSHOTS_MAX
    await store.drop_snapshot(key(), "0")
    await store.keep_snapshot(key(), "one more", "", read(TEXT, 1), at=4.0)


async def test_a_memory_of_another_session_or_another_text_is_refused(store: Store) -> None:
    await with_text(store, b"abcd", b"efgh", b"ijkl", keep_text=True)
    text = b"abcdefghijkl"
    await keep(store, key(), checkpoint(1, 5), at=3.0)
    before = await store.recover(key())
    with pytest.raises(StaleCheckpoint, match="the session has changed"):
        await store.keep_snapshot(key(), "name", "other", read(text, 1), at=4.0)
    with pytest.raises(StaleCheckpoint, match="has read 13 bytes"):
        await store.keep_snapshot(key(), "name", "", read(text + b"m", 1), at=4.0)
    for end in range(1, 13):
        with pytest.raises(StaleCheckpoint, match="another text"):
            await store.keep_snapshot(key(), "name", "", read(b"x" * end, 1), at=4.0)
    assert await store.recover(key()) == before
    for end in range(13):
        await store.keep_snapshot(key(), str(end), "", read(text[:end], 1), at=4.0)


async def test_a_memory_whose_text_is_trimmed_is_accepted_unchecked(store: Store) -> None:
    await with_text(store, b"abcd", b"efgh")
    for version in (1, 2):
        await keep(store, key(), checkpoint(version, 8), at=3.0)
    assert (await store.recover(key())).journal_offset == 4
    await store.keep_snapshot(key(), "trimmed", "", read(b"xyz", 1), at=4.0)
    with pytest.raises(StaleCheckpoint, match="another text"):
        await store.keep_snapshot(key(), "kept", "", read(b"wxyz", 1), at=4.0)


async def test_snapshots_are_deleted_with_their_session(store: Store) -> None:
    for id in ("deleted", "over"):
        await store.create(replace(record(id), ttl_seconds=10.0, expires_at=11.0))
        await store.keep_snapshot(key(id), "name", "", read(b"", 0), at=1.0)
    await store.delete(key("deleted"))
    await store.expire(at=99.0)
    for id in ("deleted", "over"):
        await store.create(record(id))
        assert await store.snapshots(key(id)) == []
        with pytest.raises(SnapshotMissing):
            await store.load_snapshot(key(id), "name")
        await store.keep_snapshot(key(id), "name", "", read(b"", 3), at=1.0)
        assert (await store.load_snapshot(key(id), "name"))[1].version == 3


async def test_a_tenant_cannot_reach_another_tenants_snapshots(store: Store) -> None:
    for tenant in ("acme", "other"):
        await store.create(record(tenant=tenant))
    await store.keep_snapshot(key(), "name", "", read(b"", 0), at=1.0)
    assert await store.snapshots(key(tenant="other")) == []
    with pytest.raises(SnapshotMissing):
        await store.load_snapshot(key(tenant="other"), "name")


async def test_a_session_that_is_deleted_concurrently_keeps_no_snapshot(store: Store) -> None:
    for turn in range(10):
        await store.create(record())
        keeping = asyncio.create_task(store.keep_snapshot(key(), "name", "", read(b"", 0, PIECE_BYTES_MAX), at=2.0))
        for _ in range(turn * 2):
            await asyncio.sleep(0)
        await store.delete(key())
        [outcome] = await asyncio.gather(keeping, return_exceptions=True)
        assert isinstance(outcome, Snapshot | SessionMissing)
        with pytest.raises(SessionMissing):
            await store.snapshots(key())
