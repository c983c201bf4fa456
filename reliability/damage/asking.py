"""Calls to a store with a damaged value; each must return the reference store's result or raise a `StoreError`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from reliability.damage.life import AT, Life, kept
from reliability.damage.values import Hurt
from server.store.base import (
    LEASE_SECONDS,
    Appended,
    ContentConflict,
    DamagedValue,
    Lease,
    Recovery,
    SessionRecord,
    Store,
    StoredCheckpoint,
    StoreError,
)
from server.store.in_memory import MemoryStore
from server.store.text_hash import extended

ALL = 1 << 16
HANG_SECONDS = 20


class ChainMismatch(DamagedValue):
    """The text's chain of hashes, which every reader compares at the end, is all that shows the damage."""


class Wrong(Exception):
    """A wrong result, in words: neither the right answer nor a refusal."""


@dataclass(frozen=True)
class Question:
    name: str
    ask: Callable[[Store], Awaitable[object]]


async def answered(store: Store, question: Question) -> object:
    """The answer, the `StoreError`, or `Wrong` if the call hangs or raises something else."""
    asked = asyncio.ensure_future(question.ask(store))
    await asyncio.wait([asked], timeout=HANG_SECONDS)
    if not asked.done():
        # Repeatedly, since a call that hangs in a loop may swallow a cancellation.
        while not asked.done():
            asked.cancel()
            await asyncio.wait([asked], timeout=0.01)
        return Wrong(f"{question.name} does not return")
    try:
        return await asked
    except StoreError as refusal:
        return refusal
    except Exception as error:
        return Wrong(f"{question.name} raises {type(error).__name__}: {str(error)[:200]}")


def reads(dice: random.Random, life: Life, hurt: Hurt) -> list[Question]:
    """Calls that change nothing, and so may run concurrently."""
    key, tenant = life.key, life.key.tenant
    offset, limit = dice.randrange(life.end + 2), dice.choice((1, 9, 40, ALL))
    indexed = [
        Question("list", lambda store: store.list_sessions(tenant, ALL)),
        Question("list after", lambda store: store.list_sessions(tenant, 1, after=key.id)),
        Question("unread", lambda store: store.unread(1)),
        Question("expire", lambda store: store.expire(AT + 1)),
    ]
    return [
        Question("get", lambda store: store.get(key)),
        Question("recover", lambda store: store.recover(key)),
        Question(f"journal from {offset}", lambda store: store.journal(key, offset, limit)),
        Question("lease", lambda store: _leased(store, life)),
        *(indexed if hurt.hides else dice.sample(indexed, 1)),
    ]


def story(dice: random.Random, life: Life, record: SessionRecord, forked: bool) -> list[Question]:
    """One change of the session, whose reference record is `record`, and then reads that show its effect."""
    key, end = life.key, record.accepted_bytes
    start, length = dice.randrange(end + 1), dice.choice((1, 20, 60, ALL))
    known, on = life.text[start : start + length][: end - start], life.text[end : end + dice.choice((1, 30, 60))]
    other = bytes((known[0] ^ 1,)) + known[1:] if known else on
    offset = dice.choice((record.read_bytes, dice.randint(record.read_bytes, end), end))
    if forked:
        forking = life.other_text(end)
        return [Question("append of another text", lambda store: store.append(key, end, forking, AT)), *after(life)]
    return [
        *dice.choice(
            (
                [Question(f"repeat from {start}", lambda store: store.append(key, start, known or on, AT))],
                [Question(f"conflict at {start}", lambda store: store.append(key, start, other, AT))],
                [Question(f"append from {start}", lambda store: store.append(key, start, known + on, AT))],
                [Question("append", lambda store: store.append(key, end, on, AT))],
                [
                    Question(
                        f"checkpoint at {offset}", lambda store: _checkpointed(store, life, record.version + 1, offset)
                    )
                ],
            )
        ),
        *after(life),
    ]


def after(life: Life) -> list[Question]:
    return [
        Question("get", lambda store: store.get(life.key)),
        Question("journal as read", lambda store: _as_read(store, life)),
        Question("recover", lambda store: store.recover(life.key)),
    ]


async def _leased(store: Store, life: Life) -> Lease:
    """Takes a lease and releases it, since a lease kept apart from the damaged values would outlast the case."""
    lease = await store.lease(life.key, "reader", LEASE_SECONDS)
    await store.release(lease)
    return lease


async def _checkpointed(store: Store, life: Life, version: int, offset: int) -> None:
    await kept(store, life.key, life.checkpoint(version, offset))


async def _as_read(store: Store, life: Life) -> bytes:
    """The text after the newest checkpoint; compares its chain as every reader does."""
    record = await store.get(life.key)
    text = await store.journal(life.key, record.read_bytes, ALL)
    if extended(record.info.chain, text) != record.chain:
        raise ChainMismatch("the text")
    return text


async def expected(twin: MemoryStore, question: Question) -> object:
    try:
        return await question.ask(twin)
    except StoreError as refusal:
        return refusal


def judge(question: Question, answer: object, expected: object, hurt: Hurt) -> None:
    """Raises `Wrong` unless the answer is the reference's or a refusal."""
    if isinstance(answer, Wrong):
        raise answer
    if isinstance(answer, ContentConflict) and not isinstance(expected, ContentConflict):
        raise Wrong(f"{question.name}: the accepted text is refused as a conflict")
    if isinstance(answer, StoreError):
        return
    if isinstance(expected, StoreError) or not _agrees(answer, expected, hurt):
        raise Wrong(f"{question.name}: {_shown(answer)} instead of {_shown(expected)}")


def _agrees(answer: object, expected: object, hurt: Hurt) -> bool:
    match answer, expected:
        case Recovery(), Recovery():
            return _recovers(answer, expected)
        case Appended(), Appended():
            return answer == expected and answer.record == expected.record
        case Lease(), Lease():
            return (answer.key, answer.holder) == (expected.key, expected.holder)
        case list(), list():
            return _lists(answer, expected, hurt)
    return type(answer) is type(expected) and answer == expected


def _recovers(answer: Recovery, expected: Recovery) -> bool:
    """Nothing is invented, and whatever is left out is reported as damaged; one report more is allowed."""
    left = [checkpoint for checkpoint in expected.checkpoints if checkpoint in answer.checkpoints]
    missing = len(expected.checkpoints) - len(left)
    has_gap = answer.journal_offset > expected.journal_offset
    return (
        answer.record == expected.record
        and [*map(_whole, answer.checkpoints)] == [*map(_whole, left)]
        and missing + has_gap <= len(answer.damaged) <= missing + 1
    )


def _whole(checkpoint: StoredCheckpoint) -> tuple[StoredCheckpoint, str]:
    """The checkpoint with its chain, which `==` of checkpoints does not compare."""
    return checkpoint, checkpoint.info.chain


def _lists(answer: list[SessionRecord], expected: list[SessionRecord], hurt: Hurt) -> bool:
    """Every listed session is right; only damaged sessions, or any if an index is damaged, may be missing."""
    if hurt.hides:
        return len({record.key for record in answer}) == len(answer) and all(record in expected for record in answer)
    hidden = {hurt.key, hurt.other} - {record.key for record in answer}
    return answer == [record for record in expected if record.key not in hidden]


def _shown(answer: object) -> str:
    if isinstance(answer, Recovery):
        versions = [checkpoint.version for checkpoint in answer.checkpoints]
        return f"checkpoints {versions}, journal from {answer.journal_offset}, damaged {answer.damaged}"
    return str(answer)[:200]
