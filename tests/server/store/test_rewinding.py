"""The contract's sentences on rewinding to a memory and on rebuilding from the whole text, against every store."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from server.store.base import (
    LEASE_SECONDS,
    PIECE_BYTES_MAX,
    CheckpointInfo,
    ContentConflict,
    LeaseLost,
    OffsetMismatch,
    SessionRecord,
    StaleCheckpoint,
    Store,
)
from server.store.text_hash import EMPTY_CHAIN
from tests.server.store.samples import acknowledged, beginning, checkpoint, keep, key, read, record, with_text

pytestmark = pytest.mark.anyio

PIECES = (b"abcd", b"efgh", b"ijkl", b"mnop")
TEXT = b"".join(PIECES)


async def rewound(store: Store, text: bytes, lineage: str = "new") -> SessionRecord:
    """Rewinds the session to a memory of this text; returns its new record."""
    now = await store.get(key())
    return await store.rewind(now, read(text, now.version + 1), lineage, at=5.0)


async def later(turns: int, work: Coroutine[Any, Any, object]) -> object:
    for _ in range(turns):
        await asyncio.sleep(0)
    return await work


@pytest.mark.parametrize("text", [b"", TEXT[:6], TEXT, b"longer than what there is now"])
async def test_a_rewind_sets_the_session_to_the_memory(store: Store, text: bytes) -> None:
    await with_text(store, *PIECES)
    await keep(store, key(), checkpoint(1, 10), at=3.0)
    await store.quarantine(key(), "why", at=3.0)
    snapshot = await store.keep_snapshot(key(), "name", "", read(TEXT, 1), at=4.0)
    after = await rewound(store, text)
    expected = replace(beginning(record(), read(text, 2)), lineage="new", updated_at=5.0)
    assert after == await store.get(key()) == expected
    recovery = await store.recover(key())
    assert (recovery.checkpoints, recovery.journal_offset, recovery.damaged) == ((read(text, 2),), len(text), ())
    assert recovery.checkpoints[0].info.chain == read(text, 2).info.chain
    assert await store.load_snapshot(key(), "name") == (snapshot, read(TEXT, 1))
    assert await store.unread(1) == []


async def test_a_rewind_forgets_the_text_after_the_memory(store: Store) -> None:
    await with_text(store, *PIECES)
    await rewound(store, TEXT[:6])
    assert await store.journal(key(), 6, 99) == b""
    with pytest.raises(StaleCheckpoint):
        await store.journal(key(), 5, 99)
    for offset, piece in ((0, b"abcd"), (4, b"ef")):
        with pytest.raises(OffsetMismatch):
            await store.append(key(), offset, piece, at=6.0)
    assert acknowledged(await store.append(key(), 6, b"XY", at=6.0)) == (8, False)
    assert await store.journal(key(), 6, 99) == b"XY"
    assert acknowledged(await store.append(key(), 6, b"XY", at=6.0)) == (8, True)
    with pytest.raises(ContentConflict):
        await store.append(key(), 6, b"gh", at=6.0)
    for version in (2, 3, 4):
        await keep(store, key(), checkpoint(version, 8), at=7.0)
    assert (await store.recover(key())).damaged == ()


@pytest.mark.parametrize("end", [0, 1, 4, 6, 8, 15, 16])
async def test_a_rewind_keeps_kept_text_up_to_the_memory(store: Store, end: int) -> None:
    await with_text(store, *PIECES, keep_text=True)
    await keep(store, key(), checkpoint(1, 10), at=3.0)
    await rewound(store, TEXT[:end])
    recovery = await store.recover(key())
    assert (recovery.record.accepted_bytes, recovery.journal_offset, recovery.damaged) == (end, 0, ())
    assert await store.journal(key(), 0, 99) == TEXT[:end]
    # Kept text is recognised, deleted text is not.
    if end:
        assert acknowledged(await store.append(key(), 0, TEXT[:end], at=6.0)) == (end, True)
        assert acknowledged(await store.append(key(), end - 1, TEXT[end - 1 : end] + b"XYZ", at=6.0)) == (
            end + 3,
            False,
        )
    else:
        await store.append(key(), 0, b"XYZ", at=6.0)
    if end < len(TEXT):
        with pytest.raises(ContentConflict):
            await store.append(key(), end, TEXT[end:][:3], at=6.0)
    assert await store.journal(key(), 0, 99) == TEXT[:end] + b"XYZ"
    for version in (3, 4):
        await keep(store, key(), checkpoint(version, end + 3 * (version - 3)), at=7.0)
    assert await store.journal(key(), 0, 99) == TEXT[:end] + b"XYZ"
    assert (await store.recover(key())).damaged == ()


async def test_kept_text_survives_many_rewinds(store: Store) -> None:
    await with_text(store, *PIECES, keep_text=True)
    text = TEXT
    for turn, end in enumerate((14, 9, 9, 12, 6, 16, 3, 17, 17)):
        text = text[:end]
        await rewound(store, text, lineage=f"turn {turn}")
        for piece in (b"%d" % turn * 3, b"tail"):
            await store.append(key(), len(text), piece, at=6.0)
            text += piece
        assert await store.journal(key(), 0, 99) == text
        assert acknowledged(await store.append(key(), 0, text, at=6.0)) == (len(text), True)
    recovery = await store.recover(key())
    assert (recovery.journal_offset, recovery.damaged) == (0, ())
    now = await store.get(key())
    await keep(store, key(), checkpoint(now.version + 1, len(text)), at=7.0)


async def test_large_kept_text_is_compared_and_cut(store: Store) -> None:
    pieces = [bytes([65 + number]) * PIECE_BYTES_MAX for number in range(9)]
    await with_text(store, *pieces, keep_text=True)
    text = b"".join(pieces)[: PIECE_BYTES_MAX // 2]
    await rewound(store, text)
    assert await store.journal(key(), 0, PIECE_BYTES_MAX) == text


async def test_a_rewind_drops_text_that_is_not_the_memorys(store: Store) -> None:
    await with_text(store, *PIECES, keep_text=True)
    await rewound(store, b"abcdefXYZ")
    assert (await store.recover(key())).journal_offset == 9
    assert acknowledged(await store.append(key(), 9, b"mnop", at=6.0)) == (13, False)
    with pytest.raises(OffsetMismatch):
        await store.append(key(), 0, b"abcd", at=6.0)
    # To an offset before the journal, and to one beyond the text's end.
    for text in (b"abcdef", b"longer than all before"):
        await rewound(store, text)
        assert (await store.recover(key())).journal_offset == len(text)


async def test_a_session_that_started_with_a_memory_keeps_text_appended_after_it(store: Store) -> None:
    await store.create(replace(beginning(record(), read(TEXT, 3)), keep_text=True), read(TEXT, 3))
    await store.append(key(), 16, b"qrst", at=2.0)
    await rewound(store, TEXT + b"qr")
    assert (await store.recover(key())).journal_offset == 16
    assert await store.journal(key(), 16, 99) == b"qr"
    await rewound(store, TEXT)
    assert await store.journal(key(), 16, 99) == b""
    assert acknowledged(await store.append(key(), 16, b"Q", at=6.0)) == (17, False)


async def test_a_rewind_from_a_stale_record_or_version_is_refused(store: Store) -> None:
    await with_text(store, *PIECES)
    await keep(store, key(), checkpoint(1, 10), at=3.0)
    before, now = await store.recover(key()), await store.get(key())
    for stale, version in ((now, 1), (now, 3), (replace(now, lineage="other"), 2)):
        with pytest.raises(StaleCheckpoint):
            await store.rewind(stale, read(TEXT[:4], version), "new", at=5.0)
    assert await store.recover(key()) == before
    # Text that was appended since the record was read does not prevent the rewind.
    await store.append(key(), 16, b"more", at=4.0)
    await store.rewind(now, read(TEXT[:4], 2), "new", at=5.0)
    with pytest.raises(StaleCheckpoint, match="has changed"):
        await store.rewind(now, read(TEXT[:4], 3), "newer", at=5.0)


@pytest.mark.parametrize("way", ["rewind", "rebuild"])
async def test_a_rewind_or_rebuild_ends_the_lease(store: Store, way: str) -> None:
    await with_text(store, *PIECES, keep_text=True)
    lease = await store.lease(key(), "a", LEASE_SECONDS)
    now = await store.get(key())
    if way == "rewind":
        await store.rewind(now, read(TEXT[:4], 1), "new", at=5.0)
    else:
        await store.rebuild(now, "delta", "f00d", "new", at=5.0)
    assert await store.wanted([lease]) == {key()}
    with pytest.raises(LeaseLost):
        await store.renew(lease, LEASE_SECONDS)
    with pytest.raises(StaleCheckpoint, match="lease"):
        await store.checkpoint(lease, read(TEXT[:4], 2), at=6.0)
    await store.release(lease)
    other = await store.lease(key(), "b", LEASE_SECONDS)
    assert other.epoch > lease.epoch
    await store.checkpoint(other, read(TEXT[:4], 2), at=6.0)


async def test_of_a_concurrent_checkpoint_and_rewind_exactly_one_succeeds(store: Store) -> None:
    await with_text(store, *PIECES)
    for turn in range(10):
        lease, now = await store.lease(key(), "a", LEASE_SECONDS), await store.get(key())
        version = now.version + 1
        checkpointing = store.checkpoint(lease, read(TEXT, version), at=5.0)
        going_back = store.rewind(now, read(TEXT[:4], version), f"turn {turn}", at=5.0)
        outcomes = await asyncio.gather(later(turn * 2, checkpointing), later(10, going_back), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(StaleCheckpoint) == 1
        recovery = await store.recover(key())
        text = TEXT if outcomes[0] is None else TEXT[:4]
        assert (recovery.checkpoints[0], recovery.record.accepted_bytes) == (read(text, version), len(text))
        assert recovery.damaged == ()
        await store.append(key(), len(text), TEXT[len(text) :] or b"more", at=6.0)
        if text == TEXT:
            await rewound(store, TEXT, lineage=f"again {turn}")


async def test_a_rebuild_has_the_whole_text_read_again(store: Store) -> None:
    await with_text(store, *PIECES, keep_text=True)
    for version in (1, 2):
        await keep(store, key(), checkpoint(version, 10), at=3.0)
    await store.quarantine(key(), "why", at=3.0)
    snapshot = await store.keep_snapshot(key(), "name", "", read(TEXT, 2), at=4.0)
    now = await store.get(key())
    after = await store.rebuild(now, "other", "beef", "new", at=5.0)
    assert after == await store.get(key())
    assert after == replace(
        now,
        model="other",
        fingerprint="beef",
        lineage="new",
        updated_at=5.0,
        quarantined=None,
        info=CheckpointInfo(3, 0, 0, 0, 0, EMPTY_CHAIN),
    )
    recovery = await store.recover(key())
    assert (recovery.checkpoints, recovery.journal_offset, recovery.damaged) == ((), 0, ())
    assert await store.journal(key(), 0, 99) == TEXT
    assert await store.unread(16) == [after]
    assert await store.load_snapshot(key(), "name") == (snapshot, read(TEXT, 2))
    assert acknowledged(await store.append(key(), 12, b"mnopq", at=6.0)) == (17, False)
    for version, offset in ((4, 5), (5, 17)):
        await keep(store, key(), checkpoint(version, offset), at=7.0)
    assert await store.journal(key(), 0, 99) == TEXT + b"q"
    assert (await store.recover(key())).damaged == ()
    new = await store.keep_snapshot(key(), "of the new weights", "new", read(TEXT, 5), at=8.0)
    assert (snapshot.fingerprint, new.fingerprint) == ("f00d", "beef")


async def test_a_rebuild_without_the_whole_text_is_refused(store: Store) -> None:
    await with_text(store, *PIECES)
    await store.create(replace(beginning(record("copy"), read(TEXT, 3)), keep_text=True), read(TEXT, 3))
    await store.create(replace(record("keeps"), keep_text=True))
    for id, advice in (("book", "does not keep its text"), ("copy", "keeps its text from offset 16 on")):
        before = await store.recover(key(id))
        with pytest.raises(StaleCheckpoint, match=advice):
            await store.rebuild(before.record, "delta", "f00d", "new", at=5.0)
        assert await store.recover(key(id)) == before
    with pytest.raises(StaleCheckpoint, match="has changed"):
        await store.rebuild(replace(record("keeps"), lineage="other"), "delta", "f00d", "new", at=5.0)


async def test_a_session_can_be_rewound_after_a_rebuild(store: Store) -> None:
    await with_text(store, *PIECES, keep_text=True)
    for turn in range(3):
        rebuilt = await store.rebuild(await store.get(key()), "delta", "f00d", f"rebuilt {turn}", at=5.0)
        await store.append(key(), rebuilt.accepted_bytes, b"more", at=5.0)
        await rewound(store, TEXT[: 14 - turn], lineage=f"rewound {turn}")
        assert await store.journal(key(), 0, 99) == TEXT[: 14 - turn]
    after = await store.rebuild(await store.get(key()), "delta", "f00d", "last", at=5.0)
    assert after.accepted_bytes == 12
    made = checkpoint(after.version + 1, 12)
    memory = replace(made, info=made.info._replace(chain=after.chain))
    await store.checkpoint(await store.lease(key(), "a", LEASE_SECONDS), memory, at=6.0)
    assert (await store.recover(key())).damaged == ()
