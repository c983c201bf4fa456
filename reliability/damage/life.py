"""The sessions whose stored values are damaged: their text, memories and checkpoints, and a reference store of them."""

from __future__ import annotations

import pickle
import random
from collections.abc import AsyncIterator
from functools import cache

import torch

from model.checkpoint import Checkpoint, encode
from model.mechanisms.base import MemoryTransformer
from model.tokenizer import TextTokenizer
from server.store.base import LEASE_SECONDS, CheckpointInfo, SessionKey, SessionRecord, Store, StoredCheckpoint
from server.store.in_memory import MemoryStore
from server.store.text_hash import EMPTY_CHAIN, extended
from testing.models import prose, random_model, tiny_config

KEYS = (SessionKey("acme", "a"), SessionKey("acme", "b"), SessionKey("other", "a"))
FINGERPRINT = "f00d"
AT = 2.0
TTL_SECONDS = 1e9
TEXT_CHARACTERS = 300
PIECES = 7
# Numbers of pieces. The third checkpoint trims the journal's first pieces, and leaves only their repeat entries.
CHECKPOINTED_AFTER = (3, 5, 6)
OTHER_TEXT = "Another text — naïve, 第一章. ".encode() * 3


@cache
def model() -> MemoryTransformer:
    return random_model(tiny_config())


@cache
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train([prose(1, 20_000)], 340)


def read_on(state: Checkpoint, data: bytes) -> Checkpoint:
    """The state after reading more text segment by segment, as the server does."""
    ids, pending = tokenizer().advance(state.pending, data)
    unread, step, memory = [*state.tail, *ids], model().config.segment_tokens, state.memory
    whole = len(unread) // step
    for index in range(whole):
        memory = model().read(torch.tensor([unread[index * step : (index + 1) * step]]), memory)
    tail, offset = tuple(unread[whole * step :]), state.offset + len(data)
    return Checkpoint(memory, tail, pending, offset, state.tokens + len(ids), state.segments + whole)


def read_whole(text: bytes) -> Checkpoint:
    return read_on(Checkpoint(model().initial_memory(1), (), b"", 0, 0, 0), text)


async def kept(store: Store, key: SessionKey, checkpoint: StoredCheckpoint) -> None:
    """Stores the checkpoint under a lease, and releases the lease for the next reader."""
    lease = await store.lease(key, "reader", LEASE_SECONDS)
    try:
        await store.checkpoint(lease, checkpoint, AT)
    finally:
        await store.release(lease)


class Life:
    """One session: its text, the ends of the appended pieces, and the offsets of its checkpoints."""

    def __init__(self, dice: random.Random, key: SessionKey, created_at: float) -> None:
        ttl_seconds = dice.choice((None, TTL_SECONDS))
        self.record = SessionRecord(
            key, created_at, created_at, "tiny", FINGERPRINT, lineage=f"{dice.getrandbits(64):x}",
            ttl_seconds=ttl_seconds, expires_at=ttl_seconds,
        )  # fmt: skip
        self.key = key
        self.text = prose(dice.getrandbits(30), TEXT_CHARACTERS).encode()
        self.ends = sorted(dice.sample(range(20, TEXT_CHARACTERS - 60), PIECES))
        within = sorted(dice.sample(range(self.ends[2]), 2))
        self.offsets = [*within, dice.randint(self.ends[2], self.ends[5])]
        self._states = {0: read_whole(b"")}
        self._values: dict[int, bytes] = {}

    @property
    def end(self) -> int:
        return self.ends[-1]

    def other_text(self, offset: int) -> bytes:
        """Other valid text for this offset; completes a character that was split there."""
        rest = self.text[offset : offset + 3]
        begun = next((length for length, byte in enumerate(rest) if byte & 0xC0 != 0x80), len(rest))
        return rest[:begun] + OTHER_TEXT

    def state_at(self, offset: int) -> Checkpoint:
        if offset not in self._states:
            near = max(known for known in self._states if known <= offset)
            self._states[offset] = read_on(self._states[near], self.text[near:offset])
        return self._states[offset]

    def checkpoint(self, version: int, offset: int) -> StoredCheckpoint:
        state, chain = self.state_at(offset), extended(EMPTY_CHAIN, self.text[:offset])
        # Encoded once, since the bytes of equal states may differ in order.
        value = self._values.setdefault(offset, encode(state, FINGERPRINT).head)
        info = CheckpointInfo(version, offset, state.tokens, state.segments, state.memory.nbytes, chain)
        return StoredCheckpoint(info, value)

    async def live(self, *stores: Store) -> AsyncIterator[None]:
        """Makes the same calls to every store, step by step."""
        versions = dict(zip(CHECKPOINTED_AFTER, enumerate(self.offsets, 1), strict=True))
        for store in stores:
            await store.create(self.record)
        for number, (start, end) in enumerate(zip([0, *self.ends], self.ends, strict=False), 1):
            for store in stores:
                await store.append(self.key, start, self.text[start:end], AT)
            yield
            if number in versions:
                for store in stores:
                    await kept(store, self.key, self.checkpoint(*versions[number]))
                yield


class History:
    """Several sessions, and an in-memory reference store that an undamaged store must agree with."""

    def __init__(self, seed: str) -> None:
        dice = random.Random(seed)
        self.lives = {key: Life(dice, key, 1.0 + number) for number, key in enumerate(KEYS)}
        self._twin = MemoryStore()
        self._all = b""

    async def live(self, store: Store) -> AsyncIterator[tuple[SessionKey, bytes]]:
        """After each step, the session's key and the pickled reference store."""
        for key, life in self.lives.items():
            async for _ in life.live(store, self._twin):
                self._all = pickle.dumps(self._twin)
                yield key, self._all

    def twin(self, key: SessionKey, older: bytes | None) -> MemoryStore:
        """A copy of the reference store, with the session `key` as of the pickle `older` if that is given."""
        twin: MemoryStore = pickle.loads(self._all)
        if older is not None:
            twin._sessions[key] = pickle.loads(older)._sessions[key]
        return twin
