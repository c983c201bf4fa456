"""Memories on the way to the store and back: from the device to a head and parts, and from these to the device."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from model.checkpoint import Checkpoint, EncodedCheckpoint, decode, encode
from model.memory import MemoryPart
from model.weights import LoadedModel
from server.engine.engine import Engine
from server.ingest.session_progress import ReadState
from server.store.base import Part, SessionKey, Store, StoredCheckpoint, StoredPart


class Memories:
    def __init__(self, store: Store, engine: Engine, loaded: LoadedModel) -> None:
        self._store = store
        self._engine = engine
        self._loaded = loaded
        self.initial = loaded.model.initial_memory(1)

    async def encode(self, read: ReadState, version: int) -> StoredCheckpoint:
        """The state as it is stored; its parts are those of the memory, which has their contents."""
        on_host = replace(read.state, memory=await self._engine.to_host(read.state.memory))
        encoded = await asyncio.to_thread(encode, on_host, self._loaded.fingerprint)
        return StoredCheckpoint(read.info(version), encoded.head, encoded.parts)

    async def open(self, key: SessionKey, stored: StoredCheckpoint) -> Checkpoint:
        """The state that a session has stored, on the device; `CheckpointError`, `DamagedValue`."""
        encoded = await fetched(self._store, key, stored)
        state = await asyncio.to_thread(decode, encoded, self._loaded.fingerprint, self.initial)
        return replace(state, memory=await self._engine.to_device(state.memory))


async def fetched(store: Store, key: SessionKey, stored: StoredCheckpoint) -> EncodedCheckpoint:
    """A memory that the store gave, with the contents of its parts; `DamagedValue`."""
    wanted = [part for part in stored.parts if isinstance(part, StoredPart)]
    contents = await store.load(key, wanted)
    return EncodedCheckpoint(stored.value, tuple(map(_held, wanted, contents)))


def new_bytes(newest: StoredCheckpoint, before: Sequence[Part]) -> int:
    """How many bytes of a memory are to be stored where these parts are stored already."""
    known = {part.digest for part in before}
    return len(newest.value) + sum(part.size for part in newest.parts if part.digest not in known)


def _held(part: StoredPart, content: bytes) -> MemoryPart:
    return MemoryPart(part.digest, part.size, lambda: content)
