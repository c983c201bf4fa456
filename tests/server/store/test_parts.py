"""The contract's sentences on the parts of memories: stored once, shared, and freed with the last memory."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store.base import DamagedValue, SessionKey, SessionMissing, Store, StoredCheckpoint
from server.store.parts import PART_BYTES_MAX, Pool, Root, StoredPart, decode_root, freed, named, placed
from tests.server.store.samples import KnownPart, SamplePart, beginning, contents, in_parts, keep, key, read, record

pytestmark = pytest.mark.anyio

TEXT = b"once read"
A, B, C = b"a" * PART_BYTES_MAX, b"b" * 1000, b"c"
FORK = SessionKey("acme", "fork")


async def begun(store: Store, *values: bytes) -> StoredCheckpoint:
    memory = in_parts(read(TEXT, 1), *values)
    await store.create(replace(beginning(record(), memory), lineage="1"), memory)
    return memory


def forked(memory: StoredCheckpoint, id: str = "fork", lineage: str = "2") -> StoredCheckpoint:
    """The same memory, of which another process has no part."""
    return replace(memory, parts=tuple(KnownPart(part.content()) for part in memory.parts))


async def fork(store: Store, memory: StoredCheckpoint, source: SessionKey, id: str = "fork") -> None:
    new = replace(beginning(record(id), memory), lineage=f"of {id}")
    await store.create(new, forked(memory), source)


async def test_a_memory_is_loaded_part_by_part_in_order(store: Store) -> None:
    memory = await begun(store, A, B, A, C)
    [found] = (await store.recover(key())).checkpoints
    assert found == memory
    assert await contents(store, key(), found) == [A, B, A, C]
    assert await store.stored_bytes("acme") == len(A) + len(B) + len(C) + await root_bytes(store)


async def root_bytes(store: Store) -> int:
    [found] = (await store.recover(key())).checkpoints
    parts = tuple(part for part in found.parts if isinstance(part, StoredPart))
    return len(Root(found.value, parts).encode())


async def test_a_part_that_is_stored_is_not_asked_for_again(store: Store) -> None:
    await begun(store, A, B)
    next_ = read(TEXT, 2)
    await keep(store, key(), replace(next_, parts=(KnownPart(A), SamplePart(C))), at=2.0)
    await store.keep_snapshot(key(), "mark", "1", replace(next_, parts=(KnownPart(A), KnownPart(B))), at=3.0)
    newest, older = (await store.recover(key())).checkpoints
    assert [await contents(store, key(), memory) for memory in (newest, older)] == [[A, C], [A, B]]
    _, kept = await store.load_snapshot(key(), "mark")
    assert await contents(store, key(), kept) == [A, B]


async def test_a_part_that_no_memory_names_is_freed(store: Store) -> None:
    await begun(store, A, B)
    before = await store.stored_bytes("acme")
    for version in (2, 3):
        await keep(store, key(), in_parts(read(TEXT, version), A), at=2.0)
    assert await store.stored_bytes("acme") < before + 1000
    with pytest.raises(DamagedValue):
        await keep(store, key(), replace(read(TEXT, 4), parts=(KnownPart(B),)), at=3.0)
    newest, _ = (await store.recover(key())).checkpoints
    assert await contents(store, key(), newest) == [A]


async def test_a_part_of_a_snapshot_stays_until_the_snapshot_is_dropped(store: Store) -> None:
    memory = await begun(store, A, B)
    await store.keep_snapshot(key(), "mark", "1", forked(memory), at=2.0)
    for version in (2, 3, 4):
        await keep(store, key(), in_parts(read(TEXT, version), C), at=3.0)
    _, kept = await store.load_snapshot(key(), "mark")
    assert await contents(store, key(), kept) == [A, B]
    held = await store.stored_bytes("acme")
    await store.drop_snapshot(key(), "mark")
    assert await store.stored_bytes("acme") <= held - len(A) - len(B)
    with pytest.raises(DamagedValue):
        await contents(store, key(), kept)


async def test_a_restore_shares_the_parts_of_the_snapshot(store: Store) -> None:
    memory = await begun(store, A, B)
    await store.keep_snapshot(key(), "mark", "1", forked(memory), at=2.0)
    for version in (2, 3):
        await keep(store, key(), in_parts(read(TEXT, version), C), at=3.0)
    _, kept = await store.load_snapshot(key(), "mark")
    mine = await store.get(key())
    await store.rewind(mine, replace(kept, info=kept.info._replace(version=4)), "1.a", at=4.0)
    await store.drop_snapshot(key(), "mark")
    [found] = (await store.recover(key())).checkpoints
    assert await contents(store, key(), found) == [A, B]
    with pytest.raises(DamagedValue):
        await keep(store, key(), replace(read(TEXT, 5), parts=(KnownPart(C),)), at=5.0)


async def test_a_rebuild_frees_all_parts_but_those_of_snapshots(store: Store) -> None:
    await store.create(replace(record(), keep_text=True, lineage="1"))
    await store.append(key(), 0, TEXT, at=2.0)
    await keep(store, key(), in_parts(read(TEXT, 1), A, B), at=3.0)
    await store.keep_snapshot(key(), "mark", "1", replace(read(TEXT, 1), parts=(KnownPart(B),)), at=3.0)
    await store.rebuild(await store.get(key()), "model", "f00d", "1.a", at=4.0)
    assert len(B) < await store.stored_bytes("acme") < len(A)
    _, kept = await store.load_snapshot(key(), "mark")
    assert await contents(store, key(), kept) == [B]


async def test_a_fork_shares_parts_and_outlives_its_source(store: Store) -> None:
    memory = await begun(store, A, B)
    before = await store.stored_bytes("acme")
    await fork(store, memory, key())
    assert await store.stored_bytes("acme") < before + 1000
    await store.delete(key())
    with pytest.raises(SessionMissing):
        await store.get(key())
    [found] = (await store.recover(FORK)).checkpoints
    assert await contents(store, FORK, found) == [A, B]
    assert len(A) + len(B) < await store.stored_bytes("acme") < before + 1000
    await store.delete(FORK)
    assert await store.stored_bytes("acme") == 0


async def test_a_source_outlives_its_fork(store: Store) -> None:
    memory = await begun(store, A, B)
    await fork(store, memory, key())
    for version in (2, 3):
        await keep(store, key(), in_parts(read(TEXT, version), A), at=2.0)
    held = await store.stored_bytes("acme")
    await store.delete(FORK)
    assert await store.stored_bytes("acme") <= held - len(B)
    newest, _ = (await store.recover(key())).checkpoints
    assert await contents(store, key(), newest) == [A]


async def test_a_fork_that_needs_no_part_of_its_source_any_more_returns_them(store: Store) -> None:
    memory = await begun(store, A, B)
    await fork(store, memory, key())
    await store.delete(key())
    for version in (2, 3):
        await keep(store, FORK, in_parts(read(TEXT, version), C), at=2.0)
    assert await store.stored_bytes("acme") < len(B)


async def test_a_fork_of_a_fork_needs_the_parts_of_both(store: Store) -> None:
    memory = await begun(store, A)
    await fork(store, memory, key())
    both = in_parts(read(TEXT, 2), A, B)
    await keep(store, FORK, both, at=2.0)
    await fork(store, both, FORK, "second")
    for gone in (key(), FORK):
        await store.delete(gone)
    second = SessionKey("acme", "second")
    [found] = (await store.recover(second)).checkpoints
    assert await contents(store, second, found) == [A, B]
    await store.delete(second)
    assert await store.stored_bytes("acme") == 0


async def test_a_new_session_of_a_lenders_name_has_its_own_parts(store: Store) -> None:
    memory = await begun(store, A, B)
    await fork(store, memory, key())
    await store.delete(key())
    other = in_parts(read(TEXT, 1), B)
    await store.create(replace(beginning(record(), other), lineage="another"), other)
    await store.delete(FORK)
    [found] = (await store.recover(key())).checkpoints
    assert await contents(store, key(), found) == [B]
    await store.delete(key())
    assert await store.stored_bytes("acme") == 0


async def test_an_expired_source_still_lends(store: Store) -> None:
    memory = in_parts(read(TEXT, 1), A)
    mortal = replace(beginning(record(), memory), lineage="1", ttl_seconds=1.0, expires_at=2.0)
    await store.create(mortal, memory)
    await fork(store, memory, key())
    assert await store.expire(3.0) == [key()]
    [found] = (await store.recover(FORK)).checkpoints
    assert await contents(store, FORK, found) == [A]
    await store.delete(FORK)
    assert await store.stored_bytes("acme") == 0


async def test_a_fork_needs_a_source(store: Store) -> None:
    memory = await begun(store, A)
    await store.delete(key())
    with pytest.raises(SessionMissing):
        await fork(store, memory, key())
    with pytest.raises(SessionMissing):
        await store.get(FORK)


async def test_parts_of_a_session_that_does_not_exist_are_not_loaded(store: Store) -> None:
    await begun(store, A)
    [found] = (await store.recover(key())).checkpoints
    await store.delete(key())
    with pytest.raises(SessionMissing):
        await contents(store, key(), found)


async def test_another_tenant_does_not_get_a_part(store: Store) -> None:
    memory = await begun(store, A)
    [found] = (await store.recover(key())).checkpoints
    other = read(b"", 1)
    await store.create(replace(beginning(record("book", "other"), other), lineage="1"), other)
    with pytest.raises(DamagedValue):
        await contents(store, SessionKey("other", "book"), found)
    with pytest.raises(DamagedValue):
        await keep(store, SessionKey("other", "book"), replace(forked(memory), info=read(b"", 2).info), at=2.0)


@pytest.mark.parametrize("size", [0, PART_BYTES_MAX + 1])
def test_a_part_is_neither_empty_nor_too_large(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 262144 bytes"):
        in_parts(read(TEXT, 1), b"x" * size)


pools = st.builds(Pool, st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"]))
stored_parts = st.builds(StoredPart, st.binary(min_size=32, max_size=32), st.integers(1, PART_BYTES_MAX), pools)
roots = st.builds(Root, st.binary(max_size=20), st.lists(stored_parts, min_size=1, max_size=5).map(tuple))


@given(roots)
def test_a_root_is_the_same_after_it_was_stored(root: Root) -> None:
    assert decode_root(root.encode()) == root


@given(st.lists(roots, max_size=3), st.lists(roots, max_size=3), pools)
def test_freed_is_what_only_the_roots_before_name(before: list[Root], after: list[Root], pool: Pool) -> None:
    left = [part.digest for root in after for part in root.parts if part.pool == pool]
    wanted = {part.digest for root in before for part in root.parts if part.pool == pool} - {*left}
    assert {part.digest for part in freed([*before, *after], after, pool)} == wanted
    assert named(after, pool).keys() == {*left}


@given(st.lists(stored_parts, max_size=8), st.lists(roots, max_size=3), pools)
def test_a_part_is_stored_where_it_is_known_and_else_in_the_own_pool(
    parts: list[StoredPart], known: list[Root], pool: Pool
) -> None:
    found = placed(parts, pool, known)
    assert [part.digest for part in found.parts] == [part.digest for part in parts]
    digests = {part.digest for root in known for part in root.parts}
    assert [part.digest for part in found.new] == list(
        dict.fromkeys(part.digest for part in parts if part.digest not in digests)
    )
    assert all(part.pool == pool for part in found.parts if part.digest not in digests)
