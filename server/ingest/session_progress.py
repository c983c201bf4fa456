"""How far a session's text is accepted, read and stored, as a value: what this process knows of one session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from model.checkpoint import Checkpoint
from model.memory import HeldBytes
from server.store.base import CheckpointInfo, Mark, SessionRecord


class MemorySource(NamedTuple):
    """Where the memory for a question came from: the device, or the store, which took `seconds`."""

    source: str
    seconds: float


class ReadState(NamedTuple):
    """A state and the chain of the text that it was made from."""

    state: Checkpoint
    chain: str

    def info(self, version: int) -> CheckpointInfo:
        """What a checkpoint of this state covers."""
        state = self.state
        return CheckpointInfo(
            version, state.offset, state.tokens, state.segments, memory_bytes=state.memory.nbytes, chain=self.chain
        )


class Reached(NamedTuple):
    """A state that covers the text that was asked for, the session's newest version, and where the memory came from."""

    read: ReadState
    version: int
    source: MemorySource


@dataclass(frozen=True)
class Progress:
    """Offsets count bytes of the session's text.

    `accepted_bytes` is the highest accepted offset known here, `marks` are those of the text up to it. `read` is the
    resident state, `stored` the newest
    stored one that is resident too. `version` and `stored_bytes` are those of the newest checkpoint in the store.
    `engine_bytes` of the text behind `read` are with the engine.
    """

    lineage: str
    accepted_bytes: int = 0
    marks: tuple[Mark, ...] = ()
    read: ReadState | None = None
    stored: ReadState | None = None
    version: int = 0
    stored_bytes: int = 0
    engine_bytes: int = 0

    @property
    def state(self) -> Checkpoint | None:
        return self.read.state if self.read else None

    @property
    def offset(self) -> int:
        return self.read.state.offset if self.read else 0

    @property
    def tokens(self) -> int:
        return self.read.state.tokens if self.read else 0

    @property
    def blocks(self) -> list[HeldBytes]:
        """What the resident states hold in RAM; they share most of it with each other."""
        states = [held.state for held in (self.read, self.stored) if held]
        return [block for state in states for block in state.memory.blocks]

    @property
    def unread_bytes(self) -> int:
        return max(0, self.accepted_bytes - max(self.offset, self.stored_bytes))

    @property
    def waiting_bytes(self) -> int:
        """Unread text that the engine has not been given yet."""
        return max(0, self.unread_bytes - self.engine_bytes)

    @property
    def known_bytes(self) -> int:
        """How much of the text behind what was read here is known here: no more is read, its marks are not known."""
        return max(0, self.accepted_bytes - self.offset)

    @property
    def complete(self) -> bool:
        """Whether all text that is known here has been read here."""
        return self.read is not None and self.offset >= self.accepted_bytes

    @property
    def unstored_segments(self) -> int:
        return self.read.state.segments - self.stored.state.segments if self.read and self.stored else 0

    def accepts(self, record: SessionRecord) -> Progress:
        """With the text that this record has, unless more is known."""
        if record.accepted_bytes <= self.accepted_bytes:
            return self
        return replace(self, accepted_bytes=record.accepted_bytes, marks=record.marks)

    def restored(self, read: ReadState, version: int, stored_bytes: int) -> Progress:
        return replace(self, read=read, stored=read, version=version, stored_bytes=stored_bytes, engine_bytes=0)

    def without_read(self) -> Progress:
        """Without the resident state: what the store has is right."""
        return replace(self, read=None, stored=None, engine_bytes=0)

    def follows(self, record: SessionRecord) -> bool:
        """Whether what was read here is of the text that this record has, as far as this process can tell."""
        if self.lineage != record.lineage or self.offset > record.accepted_bytes:
            return False
        return self.read is None or self.offset < record.accepted_bytes or self.read.chain == record.chain

    def covers(self, record: SessionRecord) -> bool:
        """Whether the resident state is of all the text that this record has, or of more."""
        return self.read is not None and self.offset >= record.accepted_bytes and not self.contradicts(record)

    def contradicts(self, record: SessionRecord) -> bool:
        """Whether what was read is surely of another text, or of another session."""
        other_text = self.read is not None and self.read.chain != record.chain
        return self.lineage != record.lineage or (other_text and self.offset == record.accepted_bytes)

    def is_newest(self, record: SessionRecord) -> bool:
        """Whether the resident stored state is the one that this record names as its newest."""
        return (
            self.stored is not None
            and (self.lineage, self.version) == (record.lineage, record.version)
            and self.stored.chain == record.info.chain
        )
