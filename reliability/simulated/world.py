"""What the simulated replicas use: a store that checks itself, an unreliable network to it, and transcript memories."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import detangle

from model.checkpoint import Checkpoint, EncodedCheckpoint
from model.memory import MemoryState, PartBytes
from model.weights import LoadedModel
from server.engine.engine import ReadResult
from server.store.base import (
    Appended,
    Lease,
    SessionKey,
    SessionRecord,
    StoredCheckpoint,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from server.store.in_memory import MemoryStore
from server.store.text_hash import EMPTY_CHAIN, extended

SEGMENT_TOKENS = 4
# One delay is much longer than all others together, so that the first call may be answered last.
PAUSES_SECONDS = (0.0, 0.001, 0.004, 0.016, 0.064, 0.4)


@dataclass(frozen=True)
class Transcript:
    """A memory that lists the segments it has read, so that a lost, repeated or misplaced segment shows."""

    segments: tuple[bytes, ...] = ()
    nbytes: int = 32
    parts: tuple[PartBytes, ...] = ()

    @property
    def blocks(self) -> tuple[Transcript]:
        return (self,)


def serial(text: bytes, offset: int) -> Checkpoint:
    """The state after reading the text up to `offset` once, in order."""
    whole = offset - offset % SEGMENT_TOKENS
    segments = tuple(text[begin : begin + SEGMENT_TOKENS] for begin in range(0, whole, SEGMENT_TOKENS))
    tail = tuple(text[whole:offset])
    return Checkpoint(cast(MemoryState, Transcript(segments)), tail, b"", offset, offset, len(segments))


def encode(state: Checkpoint, _: str) -> EncodedCheckpoint:
    return EncodedCheckpoint(pickle.dumps(state))


def decode(stored: EncodedCheckpoint, *_: object) -> Checkpoint:
    return cast(Checkpoint, pickle.loads(stored.head))


# Every byte is a token.
LOADED = cast(
    LoadedModel,
    SimpleNamespace(
        name="transcript",
        fingerprint="f00d",
        tokenizer=SimpleNamespace(advance=lambda pending, data: (list(data), b""), flush=lambda pending: []),
        model=SimpleNamespace(
            config=SimpleNamespace(segment_tokens=SEGMENT_TOKENS), initial_memory=lambda batch: Transcript()
        ),
    ),
)


@dataclass
class Life:
    """One session from creation to deletion, as the store saw it; `promised` bytes were acknowledged."""

    text: bytes = b""
    promised: int = 0
    read: int = 0
    version: int = 0
    holders: dict[int, str] = field(default_factory=dict)
    born_at: float = field(default_factory=detangle.now)
    ended_at: float | None = None

    def lived_since(self, began: float) -> bool:
        return self.ended_at is None or self.ended_at >= began


class WatchedStore(MemoryStore):
    """A store that records its history, and every violation in it."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.lives: dict[str, Life] = {}

    def present(self, key: SessionKey) -> SessionRecord | None:
        return self._sessions[key].record if key in self._sessions else None

    def _life(self, key: SessionKey) -> Life:
        return self.lives[self._session(key).record.lineage]

    async def create(
        self, record: SessionRecord, checkpoint: StoredCheckpoint | None = None, source: SessionKey | None = None
    ) -> None:
        await super().create(record, checkpoint, source)
        self.lives[record.lineage] = Life()

    async def delete(self, key: SessionKey) -> None:
        life = self._life(key)
        await super().delete(key)
        life.ended_at = detangle.now()

    async def append(
        self,
        key: SessionKey,
        offset: int,
        piece: bytes,
        at: float,
        repeats: bool = True,
        document: str | None = None,
    ) -> Appended:
        appended = await super().append(key, offset, piece, at, repeats, document)
        life = self._life(key)
        new = appended.accepted_bytes - len(life.text)
        life.text += piece[len(piece) - new :]
        if new < 0 or appended.record.chain != extended(EMPTY_CHAIN, life.text):
            self.wrong.append(f"the accepted text went from {len(life.text)} to {appended.accepted_bytes} bytes")
        return appended

    async def lease(self, key: SessionKey, holder: str, seconds: float, ask: bool = False) -> Lease:
        lease = await super().lease(key, holder, seconds, ask)
        holders = self._life(key).holders
        if lease.epoch <= max(holders, default=0):
            self.wrong.append(f"epoch {lease.epoch} was given after {max(holders)}")
        holders[lease.epoch] = holder
        return lease

    async def checkpoint(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        await super().checkpoint(lease, checkpoint, at)
        life = self._life(lease.key)
        if life.holders.get(lease.epoch) != lease.holder or lease.epoch != max(life.holders):
            self.wrong.append(f"a checkpoint of epoch {lease.epoch} was kept, the latest is {max(life.holders)}")
        if checkpoint.version != life.version + 1:
            self.wrong.append(f"version {checkpoint.version} came behind version {life.version}")
        if not life.read <= checkpoint.offset <= len(life.text):
            self.wrong.append(f"reading went from {life.read} to {checkpoint.offset} of {len(life.text)} bytes")
        life.version, life.read = checkpoint.version, checkpoint.offset
        same = decode(EncodedCheckpoint(checkpoint.value)) == serial(life.text, checkpoint.offset)
        if not same or checkpoint.info.chain != extended(EMPTY_CHAIN, life.text[: checkpoint.offset]):
            self.wrong.append(f"checkpoint {checkpoint.version} is not what reading {checkpoint.offset} bytes makes")


@dataclass
class Weather:
    """How long operations take, and how often an operation or its answer is lost."""

    loss: float = 0.0

    def loses(self) -> str:
        """How an operation is lost; mostly not at all."""
        return detangle.choice(("there", "late", "back")) if detangle.flip(self.loss) else ""

    async def pause(self) -> None:
        if seconds := detangle.choice(PAUSES_SECONDS):
            await asyncio.sleep(seconds)


class Way:
    """A process's connection to the store, as a store: operations take time, and may be lost.

    One that is lost on the way there does not happen, or happens late; one whose answer is lost has happened. A
    checkpoint may find the store full.
    Operations of a process that has died still happen; a stopped process sends and receives nothing.
    """

    durability = "volatile"
    shared = True

    def __init__(self, store: WatchedStore, weather: Weather) -> None:
        self.store, self._weather = store, weather
        self.dead = False
        self.stopped_until = 0.0

    def __getattr__(self, name: str) -> Any:
        return partial(self._ask, getattr(self.store, name))

    async def runs(self) -> None:
        """Returns when the process runs; never, once it is dead."""
        if (still_seconds := self.stopped_until - detangle.now()) > 0:
            await asyncio.sleep(still_seconds)
            await self.runs()
        elif self.dead:
            await asyncio.get_running_loop().create_future()

    async def _ask(self, operation: Any, *arguments: Any, **options: Any) -> Any:
        await self.runs()
        lost = self._weather.loses()
        await self._weather.pause()
        if lost == "late":
            self._late = asyncio.create_task(self._happen_late(operation, *arguments, **options))
        try:
            if lost in ("late", "there"):
                raise StoreUnavailable(f"{operation.__name__} was lost on its way")
            if operation.__name__ == "checkpoint" and detangle.flip(self._weather.loss):
                raise StoreFull("no room for a checkpoint")
            detangle.note(f"{operation.__name__} happens")
            return await operation(*arguments, **options)
        finally:
            await self._weather.pause()
            await self.runs()
            if lost == "back":
                raise StoreUnavailable(f"the answer to {operation.__name__} was lost on its way")

    async def _happen_late(self, operation: Any, *arguments: Any, **options: Any) -> None:
        await self._weather.pause()
        detangle.note(f"{operation.__name__} happens late, without an answer")
        with suppress(StoreError):
            await operation(*arguments, **options)


class Reader:
    """An engine that reads in simulated time."""

    def __init__(self, way: Way, weather: Weather) -> None:
        self._way, self._weather = way, weather
        self._halting = False

    def has_room(self, tenant: str) -> bool:
        return True

    def halt_reading(self) -> None:
        self._halting = True

    async def to_host(self, memory: Transcript) -> Transcript:
        return memory

    async def to_device(self, memory: Transcript) -> Transcript:
        return memory

    async def read(self, memory: Transcript, segments: Sequence[Sequence[int]], tenant: str) -> ReadResult:
        if segments:
            await self._weather.pause()
            await self._way.runs()
        done = 0 if self._halting else len(segments)
        after = Transcript((*memory.segments, *(bytes(segment) for segment in segments[:done])))
        return ReadResult(cast(MemoryState, after), done)
