"""What a store keeps of a session beside its journal and its memories: the record, and where the rest must lie.

It knows neither where an entry is kept nor how it is sealed.
"""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

from server.store.contract import SessionKey, SessionRecord, StoredCheckpoint


class Mark(NamedTuple):
    """All of a kept checkpoint but its value; `attempt` tells where that lies when the version alone does not."""

    version: int
    offset: int
    tokens: int
    segments: int
    memory_bytes: int
    chain: str
    attempt: str = ""
    value_bytes: int = 0

    @classmethod
    def of(cls, checkpoint: StoredCheckpoint, attempt: str = "") -> "Mark":
        return cls(
            checkpoint.version,
            checkpoint.offset,
            checkpoint.tokens,
            checkpoint.segments,
            checkpoint.memory_bytes,
            checkpoint.chain,
            attempt,
            len(checkpoint.value),
        )

    def checkpoint(self, value: bytes) -> StoredCheckpoint:
        return StoredCheckpoint(
            self.version, self.offset, value, self.tokens, self.segments, self.memory_bytes, self.chain
        )


@dataclass(frozen=True)
class Entry:
    """A record, the offset from which its journal is kept, and its checkpoints, oldest first.

    All under one seal, so that a lost value is found as surely as a changed one.
    """

    record: SessionRecord
    journal_offset: int
    marks: tuple[Mark, ...] = ()

    def encode(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()


def decode(value: bytes) -> Entry:
    entry = json.loads(value)
    record = entry["record"]
    return Entry(
        record=SessionRecord(**record | {"key": SessionKey(*record["key"])}),
        journal_offset=entry["journal_offset"],
        marks=tuple(Mark(*mark) for mark in entry["marks"]),
    )
