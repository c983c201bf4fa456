"""A session at hand: its state, how much of it is stored, and whoever waits for it to go on.

It knows no store and no engine; reading moves it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from model.checkpoint import Checkpoint
from server.store.contract import SessionKey


class Quarantined(Exception):
    """The session's stored memory is damaged beyond what the store can make good; it is not used."""


class Halted(Exception):
    """Reading has been told to stop, so what was waited for will not come."""


class Origin(NamedTuple):
    """Where a memory came from for a question: it was at hand, or restored from the store in so many seconds."""

    source: str
    seconds: float


@dataclass(eq=False)
class LiveSession:
    """A session at hand: its state, how much of it is stored, and the task that reads on."""

    key: SessionKey
    target: int = 0
    state: Checkpoint | None = None
    version: int = 0
    stored_segments: int = 0
    stored_offset: int = 0
    stored_at: float = 0.0
    restore_seconds: float = 0.0
    task: asyncio.Task[None] | None = None
    progressed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

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

    def report(self) -> None:
        """Wakes everyone who waits for this session."""
        event, self.progressed = self.progressed, asyncio.Event()
        event.set()
