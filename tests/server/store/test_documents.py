"""Marks say to which document each byte of the text belongs, against every store."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store import rules
from server.store.base import (
    DOCUMENTS_MAX,
    CharacterCut,
    Mark,
    OffsetMismatch,
    Store,
    TooManyDocuments,
)
from tests.server.store.samples import beginning, checkpoint, keep, key, read, record

pytestmark = pytest.mark.anyio

EMMA, BOTH = Mark(2, "Emma"), (Mark(2, "Emma"), Mark(6, "第一章/2"))


async def two_documents(store: Store, keep_text: bool = False) -> None:
    await store.create(replace(record(), keep_text=keep_text))
    for offset, piece, document in ((0, b"ab", None), (2, b"cdef", "Emma"), (6, b"gh", "第一章/2")):
        await store.append(key(), offset, piece, at=2.0, document=document)


async def marks(store: Store) -> tuple[Mark, ...]:
    return (await store.get(key())).marks


async def test_text_belongs_to_the_document_that_it_was_appended_with_or_to_that_before_it(store: Store) -> None:
    await two_documents(store)
    assert await marks(store) == BOTH
    await store.append(key(), 8, b"i", at=3.0)
    await store.append(key(), 9, b"j", at=3.0, document="第一章/2")
    assert await marks(store) == BOTH
    appended = await store.append(key(), 10, b"k", at=3.0, document="")
    assert appended.record.marks == await marks(store) == (*BOTH, Mark(10, ""))


async def test_text_without_a_document_before_any_has_no_mark(store: Store) -> None:
    await store.create(record())
    await store.append(key(), 0, b"ab", at=2.0, document="")
    assert await marks(store) == ()


async def test_recognised_bytes_add_no_mark_and_the_rest_of_their_piece_does(store: Store) -> None:
    await two_documents(store)
    await store.append(key(), 1, b"bcd", at=3.0, document="other")
    assert await marks(store) == BOTH
    await store.append(key(), 6, b"ghij", at=3.0, document="other")
    assert await marks(store) == (*BOTH, Mark(8, "other"))


async def test_a_refused_append_adds_no_mark(store: Store) -> None:
    await two_documents(store)
    with pytest.raises(OffsetMismatch):
        await store.append(key(), 9, b"x", at=3.0, document="other")
    assert await marks(store) == BOTH


async def test_a_document_cannot_begin_inside_a_character(store: Store) -> None:
    await store.create(record())
    await store.append(key(), 0, "aé".encode()[:2], at=2.0)
    with pytest.raises(CharacterCut) as refused:
        await store.append(key(), 2, "é".encode()[1:], at=3.0, document="Emma")
    assert refused.value.accepted_bytes == 2
    assert (await store.get(key())).accepted_bytes == 2
    await store.append(key(), 2, "é".encode()[1:], at=3.0)
    await store.append(key(), 3, b"b", at=3.0, document="Emma")
    assert await marks(store) == (Mark(3, "Emma"),)


async def test_a_session_has_at_most_documents_max_marks(store: Store) -> None:
    memory = read(b"a" * 9, 1)
    await store.create(
        replace(beginning(record(), memory), marks=(Mark(0, "first"),), marks_trimmed=DOCUMENTS_MAX - 2), memory
    )
    await store.append(key(), 9, b"b", at=2.0, document="last")
    with pytest.raises(TooManyDocuments):
        await store.append(key(), 10, b"c", at=2.0, document="more")
    assert (await store.append(key(), 10, b"c", at=2.0)).accepted_bytes == 11


async def test_marks_are_trimmed_with_the_journal_except_the_last_before_it(store: Store) -> None:
    await two_documents(store)
    await keep(store, key(), checkpoint(1, 8), at=3.0)
    assert await marks(store) == BOTH
    await store.append(key(), 8, b"ijklm", at=4.0)
    await keep(store, key(), checkpoint(2, 13), at=5.0)
    found = await store.get(key())
    assert (found.marks, found.marks_trimmed) == (BOTH[1:], 1)


async def test_a_session_that_keeps_its_text_keeps_all_marks(store: Store) -> None:
    await two_documents(store, keep_text=True)
    for version in (1, 2, 3):
        await keep(store, key(), checkpoint(version, 8), at=3.0)
    found = await store.get(key())
    assert (found.marks, found.marks_trimmed) == (BOTH, 0)
    rebuilt = await store.rebuild(found, "delta", "f00d", "new", at=4.0)
    assert rebuilt.marks == await marks(store) == BOTH


@pytest.mark.parametrize("keep_text", [False, True])
async def test_a_rewind_has_the_marks_of_the_text_that_the_memory_has_read(store: Store, keep_text: bool) -> None:
    await two_documents(store, keep_text)
    memory = read(b"abcd", 1)
    own = (Mark(0, "one"), Mark(2, "two"))
    rewound = await store.rewind(await store.get(key()), memory, "new", at=3.0, marks=own)
    assert rewound == await store.get(key())
    assert (rewound.marks, rewound.marks_trimmed) == ((own, 0) if keep_text else (own[1:], 1))
    await store.append(key(), 4, b"x", at=4.0)
    assert await marks(store) == rewound.marks


async def test_a_session_that_starts_with_a_memory_goes_on_with_its_last_document(store: Store) -> None:
    memory = read(b"abcdefgh", 1)
    await store.create(replace(beginning(record(), memory), marks=BOTH), memory)
    found = await store.get(key())
    assert (found.marks, found.marks_trimmed) == (BOTH[1:], 1)
    await store.append(key(), 8, b"i", at=2.0, document="第一章/2")
    assert await marks(store) == BOTH[1:]


@pytest.mark.parametrize("wrong", [(Mark(4, "a"),), (Mark(-1, "a"),), (Mark(2, "a"), Mark(2, "b"))])
async def test_marks_that_are_not_those_of_the_text_are_refused(store: Store, wrong: tuple[Mark, ...]) -> None:
    memory = read(b"abcd", 1)
    with pytest.raises(ValueError, match="marks"):
        await store.create(replace(beginning(record(), memory), marks=wrong), memory)
    await two_documents(store)
    with pytest.raises(ValueError, match="marks"):
        await store.rewind(await store.get(key()), memory, "new", at=3.0, marks=wrong)


@given(st.sets(st.integers(0, 40), max_size=8), st.integers(0, 41))
def test_trimmed_marks_say_the_same_of_the_text_that_is_left(offsets: set[int], begin: int) -> None:
    whole = tuple(Mark(offset, f"{offset}") for offset in sorted(offsets))
    trimmed = rules.trimmed_marks(replace(record(), accepted_bytes=41, marks=whole), begin)
    names = [
        ["", *(mark.name for mark in found if mark.offset <= at)][-1]
        for found in (whole, trimmed.marks)
        for at in range(begin, 42)
    ]
    assert names[: len(names) // 2] == names[len(names) // 2 :]
    assert len(trimmed.marks) + trimmed.marks_trimmed == len(whole)
    assert sum(mark.offset <= begin for mark in trimmed.marks) <= 1
