"""A session at hand: its state, how much of it is stored, and whoever waits for it to go on.

It knows no store and no engine; reading moves it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from model.checkpoint import Checkpoint
from server.ingest.lease_manager import HeldLease
from server.store.base import SessionKey, SessionRecord


class Quarantined(Exception):
    """The session's stored memory is damaged beyond what the store can make good; it is not used."""


class Halted(Exception):
    """Reading has been told to stop, so what was waited for will not come."""


class SessionDropped(Exception):
    """Reading was ended here, for what was at hand is of no use any more; the store knows what there is."""


class MemorySource(NamedTuple):
    """Where a memory came from for a question: it was at hand, or restored from the store in so many seconds."""

    source: str
    seconds: float


class ReadState(NamedTuple):
    """A state and the chain of the text that it was made from."""

    state: Checkpoint
    chain: str


@dataclass(eq=False)
class ResidentSession:
    """A session at hand: what was read of it, what of that is stored, and the task that reads on.

    `target` is the highest accepted offset known here; `asked` says that somebody waits for it to be read here;
    `taken_bytes` of the text behind what was read the engine has; `unstored_since` is that of a monotonic clock.
    """

    key: SessionKey
    lineage: str
    target: int = 0
    reached: ReadState | None = None
    stored: ReadState | None = None
    version: int = 0
    stored_offset: int = 0
    stored_at: float = 0.0
    taken_bytes: int = 0
    unstored_since: float | None = None
    storing_seconds: float = 0.0
    restore_seconds: float = 0.0
    held: HeldLease | None = None
    restored_under: HeldLease | None = None
    asked: bool = False
    task: asyncio.Task[bool] | None = None
    progressed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    @property
    def state(self) -> Checkpoint | None:
        return self.reached.state if self.reached else None

    @property
    def resident_bytes(self) -> int:
        return self.state.memory.nbytes if self.state else 0

    @property
    def busy(self) -> bool:
        return self.task is not None

    @property
    def offset(self) -> int:
        return self.state.offset if self.state else 0

    @property
    def behind_bytes(self) -> int:
        return max(0, self.target - max(self.offset, self.stored_offset))

    @property
    def unstored_seconds(self) -> float:
        """How long there has been a memory here that is not stored."""
        return 0.0 if self.unstored_since is None else time.monotonic() - self.unstored_since

    def read_on(self, reached: ReadState) -> None:
        """Takes what the engine has made of the text that it was given."""
        if self.unstored_since is None and self.state and reached.state.segments > self.state.segments:
            self.unstored_since = time.monotonic()
        self.reached, self.taken_bytes = reached, 0

    def follows(self, record: SessionRecord) -> bool:
        """Whether what was read here is of the text that this record has, as far as it can tell."""
        if self.lineage != record.lineage or self.offset > record.accepted_bytes:
            return False
        return self.reached is None or self.offset < record.accepted_bytes or self.reached.chain == record.chain

    def covers(self, record: SessionRecord) -> bool:
        """Whether the state at hand is of all the text that this record has, or of more."""
        return self.reached is not None and self.offset >= record.accepted_bytes and not self.contradicts(record)

    def contradicts(self, record: SessionRecord) -> bool:
        """Whether what was read is surely of another text, or of another session."""
        other_text = self.reached is not None and self.reached.chain != record.chain
        return self.lineage != record.lineage or (other_text and self.offset == record.accepted_bytes)

    def is_newest(self, record: SessionRecord) -> bool:
        """Whether the stored state at hand is the one that this record names as its newest."""
        return (
            self.stored is not None
            and (self.lineage, self.version) == (record.lineage, record.version)
            and self.stored.chain == record.read_chain
        )

    def drop(self) -> None:
        """Forgets what was read: what is stored is right."""
        self.reached = self.stored = self.unstored_since = None
        self.taken_bytes = 0

    def report(self) -> None:
        """Wakes everyone who waits for this session."""
        event, self.progressed = self.progressed, asyncio.Event()
        event.set()
