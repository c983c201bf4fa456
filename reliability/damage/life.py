"""What the sessions lived through whose stored values are damaged: real text, real memories, and a twin beside them.

It does not know how a store keeps anything, nor what is damaged.
"""

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
# After so many pieces: with the third checkpoint the journal's first pieces are gone, and only their lines are left.
CHECKPOINTED_AFTER = (3, 5, 6)
OTHER_TEXT = "Another text — naïve, 第一章. ".encode() * 3


@cache
def model() -> MemoryTransformer:
    return random_model(tiny_config())


@cache
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train([prose(1, 20_000)], 340)


def read_on(state: Checkpoint, data: bytes) -> Checkpoint:
    """The state after more text, a segment after the other: what the server does, without the server."""
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
    """Keeps the checkpoint under a lease that is let go of, for whoever reads next."""
    lease = await store.lease(key, "reader", LEASE_SECONDS)
    try:
        await store.checkpoint(lease, checkpoint, AT)
    finally:
        await store.release(lease)


class Life:
    """One session: its text, the ends of the pieces that it came in, and where it was checkpointed."""

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
        """What could have come there too; a character that was begun is ended."""
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
        # Once, for the same state may be encoded in another order.
        value = self._values.setdefault(offset, encode(state, FINGERPRINT))
        info = CheckpointInfo(version, offset, state.tokens, state.segments, state.memory.nbytes, chain)
        return StoredCheckpoint(info, value)

    async def live(self, *stores: Store) -> AsyncIterator[None]:
        """A step at a time, the same in every store."""
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
    """Some lives, and the twin that has seen them all; stores that are not damaged answer as it does."""

    def __init__(self, seed: str) -> None:
        dice = random.Random(seed)
        self.lives = {key: Life(dice, key, 1.0 + number) for number, key in enumerate(KEYS)}
        self._twin = MemoryStore()
        self._all = b""

    async def live(self, store: Store) -> AsyncIterator[tuple[SessionKey, bytes]]:
        """Whose step was taken, and the twin behind it."""
        for key, life in self.lives.items():
            async for _ in life.live(store, self._twin):
                self._all = pickle.dumps(self._twin)
                yield key, self._all

    def twin(self, key: SessionKey, older: bytes | None) -> MemoryStore:
        """A twin of one's own; what it has of one session may be `older`."""
        twin: MemoryStore = pickle.loads(self._all)
        if older is not None:
            twin._sessions[key] = pickle.loads(older)._sessions[key]
        return twin
