"""The contract's sentences on redactions, against every store: what is deleted is gone, and the rest is as before."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store.base import (
    ContentConflict,
    DamagedValue,
    Mark,
    OffsetMismatch,
    Range,
    Redaction,
    StaleCheckpoint,
    Store,
    StoredCheckpoint,
)
from server.store.text_hash import EMPTY_CHAIN, extended, replaced
from tests.server.store.samples import KnownPart, SamplePart, contents, in_parts, keep, key, read, record

pytestmark = pytest.mark.anyio

FIRST, SECRET, LAST = b"first text. ", b"a secret text. ", b"the last text. "
TEXT = FIRST + SECRET + LAST
BLANKED = FIRST + b"\n" * len(SECRET) + LAST
RANGE = Range(len(FIRST), len(FIRST) + len(SECRET))
A, B, C = b"a" * 1000, b"secret" * 100, b"c" * 10


async def begun(store: Store, keep_text: bool) -> None:
    """A session of three documents in three pieces, with two checkpoints and a snapshot that have part B."""
    await store.create(replace(record(), keep_text=keep_text, lineage="1"))
    for name, piece in (("one", FIRST), ("two", SECRET), ("three", LAST)):
        offset = (await store.get(key())).accepted_bytes
        await store.append(key(), offset, piece, at=2.0, document=name)
    for version in (1, 2):
        await keep(store, key(), in_parts(read(TEXT, version), A, B), at=3.0)
    await store.keep_snapshot(key(), "mark", "1", in_parts(read(TEXT, 2), A, B), at=4.0)


def without(version: int = 3) -> StoredCheckpoint:
    return replace(read(TEXT, version), parts=(KnownPart(A), SamplePart(C)))


async def redact(store: Store, redaction: Redaction) -> None:
    await store.redact(await store.get(key()), redaction, "1.a", at=5.0)


@pytest.mark.parametrize("keep_text", [False, True])
async def test_a_redaction_leaves_one_checkpoint_and_the_snapshots_that_do_not_follow(
    store: Store, keep_text: bool
) -> None:
    await begun(store, keep_text)
    await redact(store, Redaction((RANGE,), without(), kept=("mark",)))
    recovery = await store.recover(key())
    assert recovery.checkpoints == (without(),)
    assert await contents(store, key(), recovery.checkpoints[0]) == [A, C]
    assert (
        recovery.record.marks[-3:] == (Mark(0, "one"), Mark(12, ""), Mark(27, "three"))[-len(recovery.record.marks) :]
    )
    assert (recovery.record.lineage, recovery.record.accepted_bytes) == ("1.a", len(TEXT))
    _, snapshot = await store.load_snapshot(key(), "mark")
    assert await contents(store, key(), snapshot) == [A, B]


@pytest.mark.parametrize("keep_text", [False, True])
async def test_a_part_that_no_memory_has_after_a_redaction_is_gone(store: Store, keep_text: bool) -> None:
    await begun(store, keep_text)
    follows = in_parts(read(TEXT, 2), A)
    before = await store.stored_bytes("acme")
    await redact(store, Redaction((RANGE,), without(), {"mark": follows}))
    snapshot, memory = await store.load_snapshot(key(), "mark")
    assert (snapshot.info.version, snapshot.created_at, memory) == (2, 4.0, follows)
    assert await contents(store, key(), memory) == [A]
    assert await store.stored_bytes("acme") <= before - len(B)
    with pytest.raises(DamagedValue):
        await keep(store, key(), replace(read(TEXT, 4), parts=(KnownPart(B),)), at=6.0)


async def test_a_kept_text_has_newlines_for_the_deleted_bytes_and_can_be_read_again(store: Store) -> None:
    await begun(store, keep_text=True)
    await redact(store, Redaction((RANGE,), without(), kept=("mark",)))
    assert await store.journal(key(), 0, 99) == BLANKED
    now = await store.get(key())
    assert now.chain == now.info.chain == extended(EMPTY_CHAIN, BLANKED)
    with pytest.raises(ContentConflict):
        await store.append(key(), len(FIRST), SECRET, at=6.0)
    await store.append(key(), len(TEXT), b"more", at=6.0)
    rebuilt = await store.rebuild(await store.get(key()), "model", "f00d", "1.b", at=7.0)
    assert await store.journal(key(), 0, 99) == BLANKED + b"more"
    assert rebuilt.chain == extended(EMPTY_CHAIN, BLANKED + b"more")
    await keep(store, key(), read(BLANKED, rebuilt.version + 1), at=8.0)


async def test_a_session_goes_back_to_a_snapshot_that_followed_and_keeps_its_text(store: Store) -> None:
    await begun(store, keep_text=True)
    await redact(store, Redaction((RANGE,), without(), {"mark": in_parts(read(TEXT, 2), A)}))
    await store.append(key(), len(TEXT), b"more", at=6.0)
    now, (_, memory) = await store.get(key()), await store.load_snapshot(key(), "mark")
    assert memory.info.chain == extended(EMPTY_CHAIN, BLANKED)
    await store.rewind(now, replace(memory, info=memory.info._replace(version=now.version + 1)), "1.b", at=7.0)
    assert await store.journal(key(), 0, 99) == BLANKED


async def test_a_journal_of_text_that_is_not_kept_is_deleted_with_its_digests(store: Store) -> None:
    await begun(store, keep_text=False)
    await redact(store, Redaction((RANGE,), without(), kept=("mark",)))
    assert (await store.recover(key())).journal_offset == len(TEXT)
    assert await store.journal(key(), len(TEXT), 99) == b""
    with pytest.raises(OffsetMismatch):
        await store.append(key(), len(FIRST), SECRET, at=6.0)
    await store.append(key(), len(TEXT), b"more", at=6.0)
    assert await store.journal(key(), len(TEXT), 99) == b"more"
    await keep(store, key(), read(TEXT + b"more", 4), at=7.0)


async def test_text_behind_a_redaction_belongs_to_no_document_where_the_last_one_was_deleted(store: Store) -> None:
    await begun(store, keep_text=False)
    await redact(store, Redaction((Range(RANGE.end, len(TEXT)),), without(), kept=("mark",)))
    assert (await store.append(key(), len(TEXT), b"more", at=6.0)).record.marks[-1].name == ""


async def test_a_redaction_of_a_session_that_has_changed_is_refused_and_changes_nothing(store: Store) -> None:
    await begun(store, keep_text=False)
    now = await store.get(key())
    refused = [
        (now, Redaction((RANGE,), without(4), kept=("mark",))),
        (now, Redaction((RANGE,), replace(without(), info=read(FIRST, 3).info), kept=("mark",))),
        (replace(now, lineage="other"), Redaction((RANGE,), without(), kept=("mark",))),
    ]
    for mine, redaction in refused:
        with pytest.raises(StaleCheckpoint):
            await store.redact(mine, redaction, "1.a", at=5.0)
    for others in ({}, {"other": without()}, {"mark": without(), "other": without()}):
        with pytest.raises(StaleCheckpoint, match="snapshot"):
            await redact(store, Redaction((RANGE,), without(), others))
    with pytest.raises(ValueError, match="in order and within"):
        await redact(store, Redaction((Range(5, 3),), without(), kept=("mark",)))
    assert await store.get(key()) == now
    newest, older = (await store.recover(key())).checkpoints
    assert [await contents(store, key(), memory) for memory in (newest, older)] == [[A, B], [A, B]]


@given(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9), st.data())
def test_the_chain_of_a_changed_text_follows_from_what_was_changed(
    before: bytes, old: bytes, after: bytes, data: st.DataObject
) -> None:
    new = data.draw(st.binary(min_size=len(old), max_size=len(old)))
    chain = extended(EMPTY_CHAIN, before + old + after)
    assert replaced(chain, old, new, len(after)) == extended(EMPTY_CHAIN, before + new + after)
