"""What calls give back: sessions, answers, snapshots, progress, as plain values.

It knows the fields of the interface, and nothing of the replies that they come in. Lengths are bytes of UTF-8, times
are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True)
class TextCounts:
    """How far a session's text is durable, and how far it has been read."""

    accepted_bytes: int
    read_bytes: int
    tokens: int


@dataclass(frozen=True)
class MemoryCounts:
    version: int
    segments: int
    bytes: int


@dataclass(frozen=True)
class SessionInfo:
    """A session as it was when the server was asked."""

    id: str
    created_at: float
    updated_at: float
    expires_at: float | None
    metadata: dict[str, str]
    model: str
    fingerprint: str
    status: Literal["idle", "reading", "quarantined"]
    text: TextCounts
    memory: MemoryCounts


@dataclass(frozen=True)
class SessionPage:
    """One page of a list; `last_id` is where the next one begins, None behind the last."""

    sessions: list[SessionInfo]
    last_id: str | None


@dataclass(frozen=True)
class Snapshot:
    """A memory that is kept under a name, and the offset of the text that it covers."""

    session: str
    name: str
    created_at: float
    fingerprint: str
    offset: int
    tokens: int
    memory: MemoryCounts


@dataclass(frozen=True)
class Usage:
    """`prompt_tokens` were computed for the question, `memory_tokens` could be drawn on."""

    prompt_tokens: int
    completion_tokens: int
    memory_tokens: int


@dataclass(frozen=True)
class MemoryUsed:
    """The memory that was asked: its version, how much text it covers, where it was at hand."""

    version: int
    offset: int
    restored_from: str
    restore_seconds: float


@dataclass(frozen=True)
class TokenScore:
    """A token of an answer, and its log-probability."""

    token: str
    logprob: float


@dataclass(frozen=True)
class Answer:
    """An answer, what it cost, and the memory that gave it; `logprobs` where they were asked for."""

    text: str
    finish_reason: str
    usage: Usage
    memory: MemoryUsed
    logprobs: list[TokenScore] | None = None


AsyncAnswer: TypeAlias = Awaitable[Answer]


@dataclass(frozen=True)
class Progress:
    """How far a source has been sent, made durable and read, in bytes from its first one on.

    `total_bytes` is None where nobody knows it. `tokens` counts the whole session's; both token figures are the
    server's latest.
    """

    sent_bytes: int = 0
    accepted_bytes: int = 0
    read_bytes: int = 0
    total_bytes: int | None = None
    tokens: int = 0
    tokens_per_second: float = 0.0


@dataclass(frozen=True)
class ServerInfo:
    """What a server says of itself; `fields` is all of it."""

    version: str
    model: str
    fingerprint: str
    fields: Mapping[str, Any]
