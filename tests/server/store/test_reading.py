"""The contract's sentences on leases, checkpoints, expiry and quarantine, against every store."""

from dataclasses import replace

import pytest

from server.store.base import (
    JOURNAL_BYTES_KEPT,
    LEASE_SECONDS,
    LeaseHeld,
    LeaseLost,
    SessionExpired,
    SessionMissing,
    StaleCheckpoint,
    Store,
)
from server.store.text_hash import EMPTY_CHAIN, extended
from tests.server.store.samples import acknowledged, checkpoint, keep, key, read, record, with_text

pytestmark = pytest.mark.anyio


async def test_a_checkpoint_moves_the_read_state(store: Store) -> None:
    await with_text(store, b"once read")
    newest = checkpoint(1, 6)
    await keep(store, key(), newest, at=7.0)
    assert await store.get(key()) == replace(
        record(),
        accepted_bytes=9,
        chain=extended(EMPTY_CHAIN, b"once read"),
        updated_at=7.0,
        info=newest.info._replace(version=1, offset=6, chain=extended(EMPTY_CHAIN, b"once r")),
    )


async def test_the_journal_is_kept_after_the_oldest_kept_checkpoint(store: Store) -> None:
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


async def test_the_last_bytes_stay_in_the_journal_even_when_covered(store: Store) -> None:
    await with_text(store, b"o", b"n", b"c", b"e")
    for version in (1, 2, 3):
        await keep(store, key(), checkpoint(version, 4), at=3.0)
    assert (await store.recover(key())).journal_offset == 4 - JOURNAL_BYTES_KEPT
    assert await store.journal(key(), 1, 99) == b"nce"
    with pytest.raises(StaleCheckpoint):
        await store.journal(key(), 0, 99)


async def test_the_journal_of_a_session_with_keep_text_is_never_trimmed(store: Store) -> None:
    await with_text(store, b"once", b" ", b"read", keep_text=True)
    for version, offset in enumerate((4, 9, 9, 9), start=1):
        await keep(store, key(), checkpoint(version, offset), at=3.0)
    recovery = await store.recover(key())
    assert (recovery.record.keep_text, recovery.journal_offset, recovery.damaged) == (True, 0, ())
    assert await store.journal(key(), 0, 99) == b"once read"
    assert acknowledged(await store.append(key(), 1, b"nce", at=4.0)) == (9, True)


async def test_unread_lists_sessions_of_all_tenants_with_enough_unread_text(store: Store) -> None:
    for id, tenant, text in (("a", "acme", b"12345"), ("b", "acme", b"1234"), ("a", "other", b"123456")):
        await store.create(record(id, tenant))
        await store.append(key(id, tenant), 0, text, at=2.0)

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


async def test_a_holder_that_takes_the_lease_again_loses_its_earlier_one(store: Store) -> None:
    await store.create(record())
    first = await store.lease(key(), "a", LEASE_SECONDS)
    second = await store.lease(key(), "a", LEASE_SECONDS)
    assert second.epoch > first.epoch
    with pytest.raises(LeaseLost):
        await store.renew(first, LEASE_SECONDS)
    assert await store.wanted([first]) == {key()}
    assert await store.wanted([second]) == set()


async def test_an_expired_lease_can_be_taken(store: Store) -> None:
    await store.create(record())
    first = await store.lease(key(), "a", 0.0)
    second = await store.lease(key(), "b", LEASE_SECONDS)
    assert second.epoch > first.epoch
    with pytest.raises(LeaseLost):
        await store.renew(first, LEASE_SECONDS)


async def test_an_expired_lease_can_be_renewed_until_another_holder_takes_it(store: Store) -> None:
    await store.create(record())
    first = await store.lease(key(), "a", 0.0)
    await store.renew(first, LEASE_SECONDS)
    with pytest.raises(LeaseHeld):
        await store.lease(key(), "b", LEASE_SECONDS)


async def test_wanted_names_the_sessions_that_another_replica_asks_for(store: Store) -> None:
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


async def test_a_checkpoint_under_an_old_lease_is_stale_and_changes_nothing(store: Store) -> None:
    await with_text(store, b"once read")
    old = await store.lease(key(), "a", 0.0)
    new = await store.lease(key(), "b", LEASE_SECONDS)
    before = await store.recover(key())
    with pytest.raises(StaleCheckpoint, match="lease"):
        await store.checkpoint(old, checkpoint(1, 6), at=3.0)
    assert await store.recover(key()) == before
    await store.checkpoint(new, read(b"once r", 1), at=3.0)


async def test_a_session_expires_when_it_is_not_used_for_its_time_to_live(store: Store) -> None:
    for id in ("mortal", "used"):
        await store.create(replace(record(id), ttl_seconds=10.0, expires_at=11.0))
        await store.append(key(id), 0, b"text", at=5.0)
        assert (await store.get(key(id))).expires_at == 15.0
    await store.create(record("lasting"))
    await store.touch(key("used"), at=9.0)
    assert await store.expire(at=14.9) == []
    assert await store.expire(at=15.0) == [key("mortal")]
    for operation in (
        store.get(key("mortal")),
        store.append(key("mortal"), 4, b"x", at=16.0),
        store.recover(key("mortal")),
        store.lease(key("mortal"), "a", LEASE_SECONDS),
    ):
        with pytest.raises(SessionExpired, match="mortal"):
            await operation
    assert [found.key.id for found in await store.list_sessions("acme", 9)] == ["used", "lasting"]
    assert await store.expire(at=19.0) == [key("used")]


async def test_an_expired_session_can_be_created_again_or_deleted(store: Store) -> None:
    for id in ("again", "deleted", "in time"):
        await store.create(replace(record(id), ttl_seconds=1.0, expires_at=2.0))
        await store.append(key(id), 0, b"old", at=1.0)
    assert sorted(await store.expire(at=3.0)) == [key("again"), key("deleted"), key("in time")]
    await store.create(record("again"))
    assert await store.journal(key("again"), 0, 9) == b""
    await store.delete(key("deleted"))
    with pytest.raises(SessionMissing):
        await store.get(key("deleted"))


async def test_quarantine_stores_its_reason(store: Store) -> None:
    await store.create(record())
    await store.quarantine(key(), "checkpoint 3 is damaged", at=2.0)
    assert await store.get(key()) == replace(record(), quarantined="checkpoint 3 is damaged", updated_at=2.0)
