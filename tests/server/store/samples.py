"""Small sample sessions, records and checkpoints for the store's tests."""

from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

from server.store.base import (
    LEASE_SECONDS,
    Appended,
    CheckpointInfo,
    DamagedValue,
    SessionKey,
    SessionRecord,
    Store,
    StoredCheckpoint,
    StoredPart,
)
from server.store.text_hash import EMPTY_CHAIN, extended


def key(id: str = "book", tenant: str = "acme") -> SessionKey:
    return SessionKey(tenant, id)


def record(id: str = "book", tenant: str = "acme", created_at: float = 1.0) -> SessionRecord:
    return SessionRecord(
        key=SessionKey(tenant, id),
        created_at=created_at,
        updated_at=created_at,
        model="delta",
        fingerprint="f00d",
        metadata={"title": "Ærø, 第一章"},
    )


def checkpoint(version: int, offset: int) -> StoredCheckpoint:
    value = f"memory {version} at {offset}".encode() * 10
    info = CheckpointInfo(version, offset, tokens=offset // 2, segments=version, memory_bytes=len(value))
    return StoredCheckpoint(info, value)


def read(text: bytes, version: int, value_bytes: int = 0) -> StoredCheckpoint:
    """The memory that has read all of this text, in at least `value_bytes` bytes."""
    memory = checkpoint(version, len(text))
    value = memory.value.ljust(value_bytes, b".")
    info = memory.info._replace(memory_bytes=len(value), chain=extended(EMPTY_CHAIN, text))
    return StoredCheckpoint(info, value)


def beginning(record: SessionRecord, memory: StoredCheckpoint) -> SessionRecord:
    """The record of a session that starts with this memory."""
    return replace(
        record,
        accepted_bytes=memory.offset,
        info=memory.info,
        chain=memory.info.chain,
        open_bytes=None if memory.offset else b"",
    )


async def with_text(store: Store, *pieces: bytes, keep_text: bool = False) -> None:
    await store.create(replace(record(), keep_text=keep_text))
    end = 0
    for piece in pieces:
        end = (await store.append(key(), end, piece, at=2.0)).accepted_bytes


async def keep(store: Store, key: SessionKey, checkpoint: StoredCheckpoint, at: float) -> None:
    """Stores the checkpoint as the session's only reader does: under a new lease, with its text's chain."""
    lease = await store.lease(key, "reader", LEASE_SECONDS)
    record = await store.get(key)
    if record.read_bytes <= checkpoint.offset <= record.accepted_bytes:
        # Damaged text cannot have been read: then the checkpoint keeps its own chain.
        with suppress(DamagedValue):
            text = await store.journal(key, record.read_bytes, checkpoint.offset - record.read_bytes)
            chain = extended(record.info.chain, text)
            checkpoint = replace(checkpoint, info=checkpoint.info._replace(chain=chain))
    await store.checkpoint(lease, checkpoint, at)


def acknowledged(appended: Appended) -> tuple[int, bool]:
    """How far the text is durable, and whether all bytes were stored before."""
    return appended.accepted_bytes, appended.replayed


class SamplePart:
    """A part with this content."""

    def __init__(self, value: bytes) -> None:
        self.value, self.digest, self.size = value, sha256(value).digest(), len(value)

    def content(self) -> bytes:
        return self.value


class KnownPart(SamplePart):
    """A part whose content is not in this process: the store must have it."""

    def content(self) -> bytes:
        raise DamagedValue("this part's content was asked for again")


def in_parts(memory: StoredCheckpoint, *values: bytes) -> StoredCheckpoint:
    """The same memory with parts."""
    return replace(memory, parts=tuple(SamplePart(value) for value in values))


async def contents(store: Store, key: SessionKey, memory: StoredCheckpoint) -> list[bytes]:
    """The parts of a memory that the store gave."""
    return await store.load(key, [part for part in memory.parts if isinstance(part, StoredPart)])
