"""The contract's sentences on sessions, appends and the journal, against every store."""

import asyncio
from dataclasses import replace

import pytest

from server.store import rules
from server.store.base import (
    PIECE_BYTES_MAX,
    REPEATS_KEPT,
    CheckpointInfo,
    ContentConflict,
    Lease,
    OffsetMismatch,
    SessionMissing,
    SessionTaken,
    StaleCheckpoint,
    Store,
    StoreUnavailable,
)
from server.store.text_hash import EMPTY_CHAIN, extended
from tests.server.store.samples import acknowledged, checkpoint, keep, key, read, record, with_text

pytestmark = pytest.mark.anyio


async def test_get_returns_the_record_as_it_was_created(store: Store) -> None:
    await store.create(record())
    assert await store.get(key()) == record()


async def test_a_stored_record_is_independent_of_the_callers_objects(store: Store) -> None:
    mine = record()
    await store.create(mine)
    mine.metadata["title"] = "other"
    (await store.get(key())).metadata["title"] = "other"
    (await store.list_sessions("acme", 9))[0].metadata["title"] = "other"
    (await store.recover(key())).record.metadata["title"] = "other"
    assert await store.get(key()) == record()


async def test_a_second_session_with_the_same_key_is_refused(store: Store) -> None:
    await store.create(record())
    with pytest.raises(SessionTaken):
        await store.create(record(created_at=5.0))
    assert await store.get(key()) == record()


async def test_a_new_session_has_no_unread_text(store: Store) -> None:
    with pytest.raises(ValueError, match="accepted_bytes is 5"):
        await store.create(replace(record(), accepted_bytes=5))


async def test_a_session_may_start_at_an_offset_whose_text_was_read_elsewhere(store: Store) -> None:
    await store.create(replace(record(), accepted_bytes=5, info=CheckpointInfo(offset=5)))
    assert (await store.recover(key())).journal_offset == 5
    with pytest.raises(OffsetMismatch):
        await store.append(key(), 3, b"de", at=2.0)
    assert acknowledged(await store.append(key(), 5, b"f", at=2.0)) == (6, False)
    for version in (1, 2):
        await keep(store, key(), checkpoint(version, 5), at=3.0)
        recovery = await store.recover(key())
        assert (recovery.journal_offset, recovery.damaged) == (5, ())
    assert await store.journal(key(), 5, 9) == b"f"
    with pytest.raises(StaleCheckpoint):
        await store.journal(key(), 4, 9)


async def test_every_operation_on_a_missing_session_raises_session_missing(store: Store) -> None:
    nobody = key("nobody")
    for operation in (
        store.get(nobody),
        store.delete(nobody),
        store.append(nobody, 0, b"a", at=1.0),
        store.journal(nobody, 0, 1),
        store.lease(nobody, "reader", 1.0),
        store.renew(Lease(nobody, "reader", 1), 1.0),
        store.checkpoint(Lease(nobody, "reader", 1), checkpoint(1, 0), at=1.0),
        store.touch(nobody, at=1.0),
        store.recover(nobody),
        store.quarantine(nobody, "why", at=1.0),
        store.list_sessions("acme", 9, after="nobody"),
        store.keep_snapshot(nobody, "name", "", checkpoint(1, 0), at=1.0),
        store.snapshots(nobody),
        store.load_snapshot(nobody, "name"),
        store.drop_snapshot(nobody, "name"),
        store.rewind(record("nobody"), checkpoint(1, 0), "new", at=1.0),
        store.rebuild(record("nobody"), "delta", "f00d", "new", at=1.0),
        store.revise(nobody, {}, at=1.0),
    ):
        with pytest.raises(SessionMissing):
            await operation


async def test_a_tenant_cannot_reach_another_tenants_sessions(store: Store) -> None:
    await with_text(store, b"ours")
    await store.create(record(tenant="other"))
    await store.append(key(tenant="other"), 0, b"theirs", at=2.0)
    assert await store.journal(key(), 0, 99) == b"ours"
    assert [found.key.tenant for found in await store.list_sessions("acme", 9)] == ["acme"]
    await store.delete(key(tenant="other"))
    assert await store.journal(key(), 0, 99) == b"ours"


async def test_sessions_are_listed_newest_first_page_by_page(store: Store) -> None:
    for id, created_at in (("a", 1.0), ("b", 3.0), ("c", 2.0), ("d", 2.0), ("é", 2.0)):
        await store.create(record(id, created_at=created_at))
    assert [found.key.id for found in await store.list_sessions("acme", 9)] == ["b", "é", "d", "c", "a"]
    assert [found.key.id for found in await store.list_sessions("acme", 2)] == ["b", "é"]
    assert [found.key.id for found in await store.list_sessions("acme", 2, after="é")] == ["d", "c"]
    assert await store.list_sessions("acme", 2, after="a") == []
    assert await store.list_sessions("acme", 0) == []
    with pytest.raises(ValueError, match="limit"):
        await store.list_sessions("acme", -1)


async def test_a_new_session_gets_nothing_of_a_deleted_one_with_the_same_key(store: Store) -> None:
    await with_text(store, b"old text")
    await keep(store, key(), checkpoint(1, 4), at=3.0)
    await store.delete(key())
    with pytest.raises(SessionMissing):
        await store.get(key())
    await store.create(record())
    assert await store.journal(key(), 0, 99) == b""
    assert (await store.recover(key())).checkpoints == ()
    assert acknowledged(await store.append(key(), 0, b"new", at=4.0)) == (3, False)
    await keep(store, key(), checkpoint(1, 3), at=5.0)


async def test_an_append_extends_the_accepted_text(store: Store) -> None:
    await store.create(record())
    assert acknowledged(await store.append(key(), 0, b"once ", at=2.0)) == (5, False)
    assert acknowledged(await store.append(key(), 5, b"read", at=3.0)) == (9, False)
    assert await store.journal(key(), 0, 99) == b"once read"
    assert await store.get(key()) == replace(
        record(), accepted_bytes=9, updated_at=3.0, chain=extended(EMPTY_CHAIN, b"once read")
    )


async def test_the_record_has_the_bytes_of_an_incomplete_character(store: Store) -> None:
    await store.create(record())
    one, two = "第".encode(), "😀".encode()
    pieces = (b"a" + one[:1], one[1:2], one[2:] + two[:3], two[3:])
    end, seen = 0, []
    for piece in pieces:
        appended = await store.append(key(), end, piece, at=2.0)
        end = appended.accepted_bytes
        assert await store.get(key()) == appended.record
        seen.append(appended.record.open_bytes)
    assert seen == [one[:1], one[:2], two[:3], b""]
    # A piece that was stored before leaves them as they are.
    again = await store.append(key(), 1, one + two[:2], at=3.0)
    assert (again.replayed, again.record.open_bytes) == (True, b"")


async def test_an_append_beyond_the_end_reports_the_end_and_changes_nothing(store: Store) -> None:
    await with_text(store, b"once")
    before = await store.get(key())
    with pytest.raises(OffsetMismatch) as refusal:
        await store.append(key(), 5, b"x", at=3.0)
    assert refusal.value.accepted_bytes == 4
    assert await store.get(key()) == before


@pytest.mark.parametrize(("offset", "piece"), [(0, b"once read"), (2, b"ce r"), (5, b"read"), (8, b"d")])
async def test_repeated_bytes_are_recognised_however_they_are_cut(store: Store, offset: int, piece: bytes) -> None:
    await with_text(store, b"once", b" ", b"read")
    assert acknowledged(await store.append(key(), offset, piece, at=3.0)) == (9, True)
    assert await store.journal(key(), 0, 99) == b"once read"


async def test_only_the_new_part_of_an_overlapping_piece_is_appended(store: Store) -> None:
    await with_text(store, b"once", b" ")
    assert acknowledged(await store.append(key(), 2, b"ce read", at=3.0)) == (9, False)
    assert await store.journal(key(), 0, 99) == b"once read"


@pytest.mark.parametrize(("offset", "piece"), [(0, b"x"), (3, b"E read"), (1, b"nce!"), (4, b"_read")])
async def test_different_bytes_are_a_conflict_and_change_nothing(store: Store, offset: int, piece: bytes) -> None:
    await with_text(store, b"once", b" ")
    before = await store.get(key())
    with pytest.raises(ContentConflict) as refusal:
        await store.append(key(), offset, piece, at=3.0)
    assert refusal.value.accepted_bytes == 5
    assert await store.get(key()) == before
    assert await store.journal(key(), 0, 99) == b"once "


@pytest.mark.parametrize(("offset", "piece"), [(0, b"once"), (3, b"e!"), (0, b"once more"), (5, b"x")])
async def test_an_append_without_repeats_is_accepted_only_at_the_end(store: Store, offset: int, piece: bytes) -> None:
    await with_text(store, b"once")
    with pytest.raises(OffsetMismatch) as refusal:
        await store.append(key(), offset, piece, at=3.0, repeats=False)
    assert refusal.value.accepted_bytes == 4
    assert acknowledged(await store.append(key(), 4, piece, at=3.0, repeats=False)) == (4 + len(piece), False)


async def test_an_invalid_piece_size_or_offset_is_refused(store: Store) -> None:
    await store.create(record())
    for offset, piece in ((0, b""), (0, b"x" * (PIECE_BYTES_MAX + 1)), (-1, b"x")):
        with pytest.raises(ValueError, match="not"):
            await store.append(key(), offset, piece, at=2.0)
    assert (await store.append(key(), 0, b"x" * PIECE_BYTES_MAX, at=2.0)).accepted_bytes == PIECE_BYTES_MAX


async def trimmed(store: Store) -> None:
    """'abcd' 'efgh' 'ijkl' 'mnop', of which the journal keeps the last two."""
    await with_text(store, b"abcd", b"efgh", b"ijkl", b"mnop")
    await keep(store, key(), checkpoint(1, 10), at=3.0)
    await keep(store, key(), checkpoint(2, 14), at=3.0)


@pytest.mark.parametrize(
    ("offset", "piece"),
    [(0, b"abcd"), (4, b"efgh"), (0, b"abcdefgh"), (0, b"abcdefghij"), (4, b"efghijklmnop"), (9, b"jk")],
)
async def test_trimmed_pieces_are_recognised_by_their_digests(store: Store, offset: int, piece: bytes) -> None:
    await trimmed(store)
    assert acknowledged(await store.append(key(), offset, piece, at=4.0)) == (16, True)


@pytest.mark.parametrize(
    ("offset", "piece"), [(0, b"abcx"), (0, b"abcdexgh"), (4, b"efghx"), (1, b"bcdefgx"), (1, b"bcdefghix")]
)
async def test_different_bytes_in_place_of_trimmed_pieces_are_a_conflict(
    store: Store, offset: int, piece: bytes
) -> None:
    await trimmed(store)
    with pytest.raises(ContentConflict):
        await store.append(key(), offset, piece, at=4.0)
    assert (await store.get(key())).accepted_bytes == 16


async def test_a_piece_may_span_trimmed_text_and_new_text(store: Store) -> None:
    await trimmed(store)
    assert acknowledged(await store.append(key(), 4, b"efghijklmnopqr", at=4.0)) == (18, False)
    assert await store.journal(key(), 8, 99) == b"ijklmnopqr"


@pytest.mark.parametrize(("offset", "piece"), [(0, b"abc"), (1, b"bcd"), (2, b"cdefgh"), (0, b"abcdef")])
async def test_trimmed_text_that_no_digest_covers_is_an_offset_mismatch(
    store: Store, offset: int, piece: bytes
) -> None:
    await trimmed(store)
    with pytest.raises(OffsetMismatch) as refusal:
        await store.append(key(), offset, piece, at=4.0)
    assert refusal.value.accepted_bytes == 16
    assert (await store.get(key())).accepted_bytes == 16


async def test_the_digests_of_the_last_repeats_kept_pieces_are_kept(store: Store) -> None:
    await with_text(store, b"a", b"b")
    await asyncio.gather(*(store.append(key(), 2 + number, b"c", at=2.0) for number in range(REPEATS_KEPT - 1)))
    end = REPEATS_KEPT + 1
    await keep(store, key(), checkpoint(1, end), at=3.0)
    await keep(store, key(), checkpoint(2, end), at=3.0)
    with pytest.raises(OffsetMismatch):
        await store.append(key(), 0, b"a", at=4.0)
    assert acknowledged(await store.append(key(), 1, b"b", at=4.0)) == (end, True)


async def test_the_journal_is_read_by_offset_and_limit(store: Store) -> None:
    await with_text(store, b"once", b" ", b"read")
    for offset in range(10):
        for limit in range(12):
            assert await store.journal(key(), offset, limit) == b"once read"[offset : offset + limit]
    with pytest.raises(OffsetMismatch):
        await store.journal(key(), 10, 1)
    for offset, limit in ((-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="0 or more"):
            await store.journal(key(), offset, limit)


async def test_metadata_and_time_to_live_can_be_changed(store: Store) -> None:
    await store.create(record())
    revised = await store.revise(key(), {"metadata": {"title": "other"}}, at=2.0)
    assert revised == replace(record(), metadata={"title": "other"}, updated_at=2.0)
    revised = await store.revise(key(), {"ttl_seconds": 5.0}, at=3.0)
    assert (revised.metadata, revised.ttl_seconds, revised.expires_at) == ({"title": "other"}, 5.0, 8.0)
    both = {"metadata": dict[str, str](), "ttl_seconds": None}
    assert await store.revise(key(), both, at=4.0) == replace(record(), metadata={}, updated_at=4.0)
    assert await store.get(key()) == replace(record(), metadata={}, updated_at=4.0)


async def test_nothing_else_can_be_changed(store: Store) -> None:
    await store.create(record())
    with pytest.raises(ValueError, match="metadata and ttl_seconds can be changed, not accepted_bytes, lineage"):
        await store.revise(key(), {"lineage": "other", "metadata": {}, "accepted_bytes": 5}, at=2.0)
    assert await store.get(key()) == record()


async def test_a_changed_time_to_live_decides_when_a_session_expires(store: Store) -> None:
    for id, ttl_seconds in (("mortal", None), ("sooner", 50.0), ("lasting", 10.0)):
        await store.create(rules.used(replace(record(id), ttl_seconds=ttl_seconds), at=1.0))
    await store.revise(key("mortal"), {"ttl_seconds": 10.0}, at=2.0)
    await store.revise(key("sooner"), {"ttl_seconds": 10.0}, at=3.0)
    await store.revise(key("lasting"), {"ttl_seconds": None}, at=3.0)
    assert await store.expire(at=11.9) == []
    assert await store.expire(at=12.0) == [key("mortal")]
    assert await store.expire(at=99.0) == [key("sooner")]
    # A session without a time to live expires again once it gets one.
    await store.revise(key("lasting"), {"ttl_seconds": 1.0}, at=100.0)
    assert await store.expire(at=101.0) == [key("lasting")]


async def test_sessions_and_their_bytes_are_counted_for_each_tenant(store: Store) -> None:
    assert (await store.count("acme"), await store.stored_bytes("acme")) == (0, 0)
    await with_text(store, b"abcd", b"efgh")
    await store.create(record("other"))
    await store.create(record(tenant="other"))
    await store.append(key(tenant="other"), 0, b"theirs", at=2.0)
    assert (await store.count("acme"), await store.stored_bytes("acme")) == (2, 8)
    memories = [checkpoint(version, 8) for version in (1, 2, 3)]
    for memory in memories:
        await keep(store, key(), memory, at=3.0)
    taken_bytes = 4 + sum(len(memory.value) for memory in memories[1:])
    assert await store.stored_bytes("acme") == taken_bytes
    await store.keep_snapshot(key(), "name", "", read(b"abcdefgh", 3), at=4.0)
    assert await store.stored_bytes("acme") == taken_bytes + len(read(b"abcdefgh", 3).value)
    # A time that is not equal in every decimal notation.
    await store.create(record("third", created_at=1700000000.1))
    assert await store.count("acme") == 3
    for id in ("book", "third"):
        await store.delete(key(id))
    assert (await store.count("acme"), await store.stored_bytes("acme")) == (1, 0)
    assert (await store.count("other"), await store.stored_bytes("other")) == (1, 6)


async def test_operations_on_a_closed_store_raise_store_unavailable(store: Store) -> None:
    await store.create(record())
    await store.ready()
    await store.close()
    await store.close()
    for operation in (store.ready(), store.get(key()), store.list_sessions("acme", 1), store.create(record("b"))):
        with pytest.raises(StoreUnavailable, match="closed"):
            await operation
