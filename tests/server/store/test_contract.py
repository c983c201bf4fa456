"""The contract, sentence by sentence, against every store."""

import asyncio
from dataclasses import replace

import pytest

from server.store.chain import EMPTY_CHAIN, extended
from server.store.contract import (
    JOURNAL_BYTES_KEPT,
    LEASE_SECONDS,
    PIECE_BYTES_MAX,
    REPEATS_KEPT,
    ContentConflict,
    Lease,
    LeaseHeld,
    LeaseLost,
    OffsetMismatch,
    SessionExpired,
    SessionMissing,
    SessionTaken,
    StaleCheckpoint,
    Store,
    StoreUnavailable,
)
from tests.server.store.samples import checkpoint, keep, key, record, told

pytestmark = pytest.mark.anyio


async def with_text(store: Store, *pieces: bytes) -> None:
    await store.create(record())
    for piece in pieces:
        await store.append(key(), None, piece, at=2.0)


async def test_a_record_comes_back_as_it_was_kept(store: Store) -> None:
    await store.create(record())
    assert await store.get(key()) == record()


async def test_a_kept_record_can_not_be_changed_from_outside(store: Store) -> None:
    mine = record()
    await store.create(mine)
    mine.metadata["title"] = "other"
    (await store.get(key())).metadata["title"] = "other"
    (await store.list("acme", 9))[0].metadata["title"] = "other"
    (await store.recover(key())).record.metadata["title"] = "other"
    assert await store.get(key()) == record()


async def test_a_name_is_taken_once(store: Store) -> None:
    await store.create(record())
    with pytest.raises(SessionTaken):
        await store.create(record(created_at=5.0))
    assert await store.get(key()) == record()


async def test_a_new_session_has_no_unread_text(store: Store) -> None:
    with pytest.raises(ValueError, match="accepted_bytes is 5"):
        await store.create(record().updated(accepted_bytes=5))


async def test_a_session_may_start_from_text_that_was_read_elsewhere(store: Store) -> None:
    await store.create(record().updated(accepted_bytes=5, read_bytes=5))
    assert (await store.recover(key())).journal_offset == 5
    with pytest.raises(OffsetMismatch):
        await store.append(key(), 3, b"de", at=2.0)
    assert told(await store.append(key(), 5, b"f", at=2.0)) == (6, False)
    for version in (1, 2):
        await keep(store, key(), checkpoint(version, 5), at=3.0)
        recovery = await store.recover(key())
        assert (recovery.journal_offset, recovery.damaged) == (5, ())
    assert await store.journal(key(), 5, 9) == b"f"
    with pytest.raises(StaleCheckpoint):
        await store.journal(key(), 4, 9)


async def test_what_is_not_there_is_missing_everywhere(store: Store) -> None:
    nobody = key("nobody")
    for operation in (
        store.get(nobody),
        store.delete(nobody),
        store.append(nobody, None, b"a", at=1.0),
        store.journal(nobody, 0, 1),
        store.lease(nobody, "reader", 1.0),
        store.renew(Lease(nobody, "reader", 1), 1.0),
        store.checkpoint(Lease(nobody, "reader", 1), checkpoint(1, 0), at=1.0),
        store.touch(nobody, at=1.0),
        store.recover(nobody),
        store.quarantine(nobody, "why", at=1.0),
        store.list("acme", 9, after="nobody"),
    ):
        with pytest.raises(SessionMissing):
            await operation


async def test_tenants_do_not_meet(store: Store) -> None:
    await with_text(store, b"ours")
    await store.create(record(tenant="other"))
    await store.append(key(tenant="other"), 0, b"theirs", at=2.0)
    assert await store.journal(key(), 0, 99) == b"ours"
    assert [found.key.tenant for found in await store.list("acme", 9)] == ["acme"]
    await store.delete(key(tenant="other"))
    assert await store.journal(key(), 0, 99) == b"ours"


async def test_sessions_are_listed_newest_first_page_by_page(store: Store) -> None:
    for id, created_at in (("a", 1.0), ("b", 3.0), ("c", 2.0), ("d", 2.0), ("é", 2.0)):
        await store.create(record(id, created_at=created_at))
    assert [found.key.id for found in await store.list("acme", 9)] == ["b", "é", "d", "c", "a"]
    assert [found.key.id for found in await store.list("acme", 2)] == ["b", "é"]
    assert [found.key.id for found in await store.list("acme", 2, after="é")] == ["d", "c"]
    assert await store.list("acme", 2, after="a") == []
    assert await store.list("acme", 0) == []
    with pytest.raises(ValueError, match="limit"):
        await store.list("acme", -1)


async def test_a_deleted_session_leaves_nothing_behind(store: Store) -> None:
    await with_text(store, b"old text")
    await keep(store, key(), checkpoint(1, 4), at=3.0)
    await store.delete(key())
    with pytest.raises(SessionMissing):
        await store.get(key())
    await store.create(record())
    assert await store.journal(key(), 0, 99) == b""
    assert (await store.recover(key())).checkpoints == ()
    assert told(await store.append(key(), 0, b"new", at=4.0)) == (3, False)
    await keep(store, key(), checkpoint(1, 3), at=5.0)


async def test_an_append_goes_behind_the_accepted_text(store: Store) -> None:
    await store.create(record())
    assert told(await store.append(key(), 0, b"once ", at=2.0)) == (5, False)
    assert told(await store.append(key(), None, b"read", at=3.0)) == (9, False)
    assert await store.journal(key(), 0, 99) == b"once read"
    assert await store.get(key()) == record().updated(
        accepted_bytes=9, updated_at=3.0, chain=extended(EMPTY_CHAIN, b"once read")
    )


async def test_an_append_beyond_the_end_names_the_end_and_changes_nothing(store: Store) -> None:
    await with_text(store, b"once")
    before = await store.get(key())
    with pytest.raises(OffsetMismatch) as refusal:
        await store.append(key(), 5, b"x", at=3.0)
    assert refusal.value.accepted_bytes == 4
    assert await store.get(key()) == before


@pytest.mark.parametrize(("offset", "piece"), [(0, b"once read"), (2, b"ce r"), (5, b"read"), (8, b"d")])
async def test_the_same_bytes_are_recognised_however_they_are_cut(store: Store, offset: int, piece: bytes) -> None:
    await with_text(store, b"once", b" ", b"read")
    assert told(await store.append(key(), offset, piece, at=3.0)) == (9, True)
    assert await store.journal(key(), 0, 99) == b"once read"


async def test_only_what_goes_beyond_is_appended(store: Store) -> None:
    await with_text(store, b"once", b" ")
    assert told(await store.append(key(), 2, b"ce read", at=3.0)) == (9, False)
    assert await store.journal(key(), 0, 99) == b"once read"


@pytest.mark.parametrize(("offset", "piece"), [(0, b"x"), (3, b"E read"), (1, b"nce!"), (4, b"_read")])
async def test_other_bytes_are_a_conflict_and_change_nothing(store: Store, offset: int, piece: bytes) -> None:
    await with_text(store, b"once", b" ")
    before = await store.get(key())
    with pytest.raises(ContentConflict) as refusal:
        await store.append(key(), offset, piece, at=3.0)
    assert refusal.value.accepted_bytes == 5
    assert await store.get(key()) == before
    assert await store.journal(key(), 0, 99) == b"once "


@pytest.mark.parametrize(("offset", "piece"), [(0, b"once"), (3, b"e!"), (0, b"once more"), (5, b"x")])
async def test_who_knows_that_he_repeats_nothing_appends_at_the_end_or_not_at_all(
    store: Store, offset: int, piece: bytes
) -> None:
    await with_text(store, b"once")
    with pytest.raises(OffsetMismatch) as refusal:
        await store.append(key(), offset, piece, at=3.0, repeats=False)
    assert refusal.value.accepted_bytes == 4
    assert told(await store.append(key(), 4, piece, at=3.0, repeats=False)) == (4 + len(piece), False)


async def test_a_piece_has_a_size_and_an_offset_a_sign(store: Store) -> None:
    await store.create(record())
    for offset, piece in ((None, b""), (None, b"x" * (PIECE_BYTES_MAX + 1)), (-1, b"x")):
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
    assert told(await store.append(key(), offset, piece, at=4.0)) == (16, True)


@pytest.mark.parametrize(
    ("offset", "piece"), [(0, b"abcx"), (0, b"abcdexgh"), (4, b"efghx"), (1, b"bcdefgx"), (1, b"bcdefghix")]
)
async def test_trimmed_pieces_with_other_bytes_conflict(store: Store, offset: int, piece: bytes) -> None:
    await trimmed(store)
    with pytest.raises(ContentConflict):
        await store.append(key(), offset, piece, at=4.0)
    assert (await store.get(key())).accepted_bytes == 16


async def test_a_piece_may_reach_from_trimmed_text_beyond_the_end(store: Store) -> None:
    await trimmed(store)
    assert told(await store.append(key(), 4, b"efghijklmnopqr", at=4.0)) == (18, False)
    assert await store.journal(key(), 8, 99) == b"ijklmnopqr"


@pytest.mark.parametrize(("offset", "piece"), [(0, b"abc"), (1, b"bcd"), (2, b"cdefgh"), (0, b"abcdef")])
async def test_what_no_digest_can_tell_is_a_mismatch(store: Store, offset: int, piece: bytes) -> None:
    await trimmed(store)
    with pytest.raises(OffsetMismatch) as refusal:
        await store.append(key(), offset, piece, at=4.0)
    assert refusal.value.accepted_bytes == 16
    assert (await store.get(key())).accepted_bytes == 16


async def test_the_last_repeats_kept_pieces_are_remembered(store: Store) -> None:
    await with_text(store, b"a", b"b")
    await asyncio.gather(*(store.append(key(), None, b"c", at=2.0) for _ in range(REPEATS_KEPT - 1)))
    end = REPEATS_KEPT + 1
    await keep(store, key(), checkpoint(1, end), at=3.0)
    await keep(store, key(), checkpoint(2, end), at=3.0)
    with pytest.raises(OffsetMismatch):
        await store.append(key(), 0, b"a", at=4.0)
    assert told(await store.append(key(), 1, b"b", at=4.0)) == (end, True)


async def test_the_journal_is_read_by_windows(store: Store) -> None:
    await with_text(store, b"once", b" ", b"read")
    for offset in range(10):
        for limit in range(12):
            assert await store.journal(key(), offset, limit) == b"once read"[offset : offset + limit]
    with pytest.raises(OffsetMismatch):
        await store.journal(key(), 10, 1)
    for offset, limit in ((-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="0 or more"):
            await store.journal(key(), offset, limit)


async def test_a_checkpoint_moves_the_read_state(store: Store) -> None:
    await with_text(store, b"once read")
    newest = checkpoint(1, 6)
    await keep(store, key(), newest, at=7.0)
    assert await store.get(key()) == record().updated(
        accepted_bytes=9,
        chain=extended(EMPTY_CHAIN, b"once read"),
        updated_at=7.0,
        read_bytes=6,
        read_chain=extended(EMPTY_CHAIN, b"once r"),
        version=1,
        tokens=newest.tokens,
        segments=newest.segments,
        memory_bytes=newest.memory_bytes,
    )


async def test_the_journal_is_kept_behind_the_oldest_kept_checkpoint(store: Store) -> None:
    await with_text(store, b"once", b" ", b"read")
    await keep(store, key(), checkpoint(1, 4), at=3.0)
    recovery = await store.recover(key())
    assert (recovery.checkpoints, recovery.journal_offset) == ((checkpoint(1, 4),), 0)
    await keep(store, key(), checkpoint(2, 5), at=3.0)
    recovery = await store.recover(key())
    assert (recovery.checkpoints, recovery.journal_offset) == ((checkpoint(2, 5), checkpoint(1, 4)), 4)
    await keep(store, key(), checkpoint(3, 9), at=3.0)
    recovery = await store.recover(key())
    assert (recovery.checkpoints, recovery.journal_offset) == ((checkpoint(3, 9), checkpoint(2, 5)), 5)
    assert recovery.record == await store.get(key())
    assert recovery.damaged == ()
    assert await store.journal(key(), 5, 99) == b"read"
    with pytest.raises(StaleCheckpoint):
        await store.journal(key(), 4, 99)


async def test_the_last_bytes_stay_in_the_journal_whatever_covers_them(store: Store) -> None:
    await with_text(store, b"o", b"n", b"c", b"e")
    for version in (1, 2, 3):
        await keep(store, key(), checkpoint(version, 4), at=3.0)
    assert (await store.recover(key())).journal_offset == 4 - JOURNAL_BYTES_KEPT
    assert await store.journal(key(), 1, 99) == b"nce"
    with pytest.raises(StaleCheckpoint):
        await store.journal(key(), 0, 99)


async def test_unread_are_the_sound_sessions_of_all_tenants_with_enough_text(store: Store) -> None:
    for id, tenant, text in (("a", "acme", b"12345"), ("b", "acme", b"1234"), ("a", "other", b"123456")):
        await store.create(record(id, tenant))
        await store.append(key(id, tenant), None, text, at=2.0)

    async def unread(bytes_min: int) -> list[tuple[str, str]]:
        return sorted((found.key.tenant, found.key.id) for found in await store.unread(bytes_min))

    assert await unread(5) == [("acme", "a"), ("other", "a")]
    await keep(store, key("a", "other"), checkpoint(1, 2), at=3.0)
    assert await unread(5) == [("acme", "a")]
    assert await unread(4) == [("acme", "a"), ("acme", "b"), ("other", "a")]
    await store.quarantine(key("a"), "why", at=4.0)
    assert await unread(4) == [("acme", "b"), ("other", "a")]


@pytest.mark.parametrize(("version", "offset"), [(1, 6), (3, 6), (2, 5), (2, 10)])
async def test_a_checkpoint_that_does_not_follow_is_stale_and_changes_nothing(
    store: Store, version: int, offset: int
) -> None:
    await with_text(store, b"once read")
    await keep(store, key(), checkpoint(1, 6), at=3.0)
    before = await store.recover(key())
    with pytest.raises(StaleCheckpoint):
        await keep(store, key(), checkpoint(version, offset), at=4.0)
    assert await store.recover(key()) == before


async def test_one_holder_at_a_time_has_the_lease(store: Store) -> None:
    await store.create(record())
    first = await store.lease(key(), "a", LEASE_SECONDS)
    with pytest.raises(LeaseHeld) as refusal:
        await store.lease(key(), "b", LEASE_SECONDS)
    assert refusal.value.holder == "a"
    await store.renew(first, LEASE_SECONDS)
    await store.release(first)
    second = await store.lease(key(), "b", LEASE_SECONDS)
    assert second.epoch > first.epoch
    await store.release(first)
    with pytest.raises(LeaseLost):
        await store.renew(first, LEASE_SECONDS)
    with pytest.raises(LeaseHeld):
        await store.lease(key(), "a", LEASE_SECONDS)


async def test_a_holder_that_begins_anew_loses_its_earlier_lease(store: Store) -> None:
    await store.create(record())
    first = await store.lease(key(), "a", LEASE_SECONDS)
    second = await store.lease(key(), "a", LEASE_SECONDS)
    assert second.epoch > first.epoch
    with pytest.raises(LeaseLost):
        await store.renew(first, LEASE_SECONDS)
    assert await store.wanted([first]) == {key()}
    assert await store.wanted([second]) == set()


async def test_a_lease_that_has_run_out_may_be_taken(store: Store) -> None:
    await store.create(record())
    first = await store.lease(key(), "a", 0.0)
    second = await store.lease(key(), "b", LEASE_SECONDS)
    assert second.epoch > first.epoch
    with pytest.raises(LeaseLost):
        await store.renew(first, LEASE_SECONDS)


async def test_a_lease_that_has_run_out_may_be_renewed_while_nobody_took_it(store: Store) -> None:
    await store.create(record())
    first = await store.lease(key(), "a", 0.0)
    await store.renew(first, LEASE_SECONDS)
    with pytest.raises(LeaseHeld):
        await store.lease(key(), "b", LEASE_SECONDS)


async def test_a_holder_is_told_when_another_asks(store: Store) -> None:
    for id in ("book", "other"):
        await store.create(record(id))
    leases = [await store.lease(key(id), "a", LEASE_SECONDS) for id in ("book", "other")]
    with pytest.raises(LeaseHeld):
        await store.lease(key(), "b", LEASE_SECONDS)
    assert await store.wanted(leases) == set()
    with pytest.raises(LeaseHeld):
        await store.lease(key(), "b", LEASE_SECONDS, ask=True)
    assert await store.wanted(leases) == {key()}
    assert await store.wanted([]) == set()
    await store.release(leases[0])
    assert await store.wanted([await store.lease(key(), "b", LEASE_SECONDS)]) == set()


async def test_what_comes_under_an_old_lease_is_stale_and_changes_nothing(store: Store) -> None:
    await with_text(store, b"once read")
    old = await store.lease(key(), "a", 0.0)
    new = await store.lease(key(), "b", LEASE_SECONDS)
    before = await store.recover(key())
    with pytest.raises(StaleCheckpoint, match="lease"):
        await store.checkpoint(old, checkpoint(1, 6), at=3.0)
    assert await store.recover(key()) == before
    await store.checkpoint(new, replace(checkpoint(1, 6), chain=extended(EMPTY_CHAIN, b"once r")), at=3.0)


async def test_a_session_ends_when_it_is_not_used_for_its_time(store: Store) -> None:
    for id in ("mortal", "used"):
        await store.create(record(id).updated(ttl_seconds=10.0, expires_at=11.0))
        await store.append(key(id), None, b"text", at=5.0)
        assert (await store.get(key(id))).expires_at == 15.0
    await store.create(record("lasting"))
    await store.touch(key("used"), at=9.0)
    assert await store.expire(at=14.9) == []
    assert await store.expire(at=15.0) == [key("mortal")]
    for operation in (
        store.get(key("mortal")),
        store.append(key("mortal"), None, b"x", at=16.0),
        store.recover(key("mortal")),
        store.lease(key("mortal"), "a", LEASE_SECONDS),
    ):
        with pytest.raises(SessionExpired, match="mortal"):
            await operation
    assert [found.key.id for found in await store.list("acme", 9)] == ["used", "lasting"]
    assert await store.expire(at=19.0) == [key("used")]


async def test_an_expired_session_can_be_created_anew_or_forgotten(store: Store) -> None:
    for id in ("anew", "forgotten", "in time"):
        await store.create(record(id).updated(ttl_seconds=1.0, expires_at=2.0))
        await store.append(key(id), None, b"old", at=1.0)
    assert sorted(await store.expire(at=3.0)) == [key("anew"), key("forgotten"), key("in time")]
    await store.create(record("anew"))
    assert await store.journal(key("anew"), 0, 9) == b""
    await store.delete(key("forgotten"))
    with pytest.raises(SessionMissing):
        await store.get(key("forgotten"))


async def test_quarantine_says_why(store: Store) -> None:
    await store.create(record())
    await store.quarantine(key(), "checkpoint 3 is damaged", at=2.0)
    assert await store.get(key()) == record().updated(quarantined="checkpoint 3 is damaged", updated_at=2.0)


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.create(record())
    await store.ready()
    await store.close()
    await store.close()
    for operation in (store.ready(), store.get(key()), store.list("acme", 1), store.create(record("b"))):
        with pytest.raises(StoreUnavailable, match="closed"):
            await operation
