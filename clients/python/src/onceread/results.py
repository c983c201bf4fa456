"""The results of calls: sessions, answers, snapshots, progress. Lengths are bytes of UTF-8, times are Unix seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
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
    """A session at the time of the server's reply."""

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
    """One page of a list; the next one begins after `last_id`, which is None on the last page."""

    sessions: list[SessionInfo]
    last_id: str | None


@dataclass(frozen=True)
class Document:
    """A document of a session's text: the offset at which it begins, and the bytes and tokens of all of its parts."""

    name: str
    offset: int
    bytes: int
    tokens: int


@dataclass(frozen=True)
class TextRange:
    """A part of a session's text: `bytes` of it from `offset` on, as they were sent, all of one document or of none."""

    offset: int
    bytes: int
    text: str
    document: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """A memory kept under a name, and the offset up to which it covers the text."""

    session: str
    name: str
    created_at: float
    fingerprint: str
    offset: int
    tokens: int
    memory: MemoryCounts


@dataclass(frozen=True)
class Usage:
    """`prompt_tokens` were computed for this question; `memory_tokens` is the size of the memory that it could use."""

    prompt_tokens: int
    completion_tokens: int
    memory_tokens: int


@dataclass(frozen=True)
class MemoryUsed:
    """The memory that answered: its version, how much text it covers, and from where it was loaded."""

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
class Source:
    """A place of the text that an answer was drawn from.

    `offset` and `bytes` count bytes of the text as it was sent; a higher `score` is better within one answer.
    """

    offset: int
    bytes: int
    text: str
    score: float
    document: str | None = None


@dataclass(frozen=True)
class Answer:
    """An answer, its sources, its token counts and its memory; `logprobs` if they were requested.

    `sources` come best first. `found` says whether the text has the answer, None where the server's memory cannot tell.
    """

    text: str
    finish_reason: str
    usage: Usage
    memory: MemoryUsed
    logprobs: list[TokenScore] | None = None
    found: bool | None = None
    sources: list[Source] = field(default_factory=list)


AsyncAnswer: TypeAlias = Awaitable[Answer]


@dataclass(frozen=True)
class Progress:
    """How much of a source has been sent, is durable and has been read, in bytes.

    `total_bytes` is None where it is unknown. `tokens` are those of the whole session; both token figures are from the
    server's last reply.
    """

    sent_bytes: int = 0
    accepted_bytes: int = 0
    read_bytes: int = 0
    total_bytes: int | None = None
    tokens: int = 0
    tokens_per_second: float = 0.0


@dataclass(frozen=True)
class ServerInfo:
    """The server's version and model; `fields` has every field of the reply."""

    version: str
    model: str
    fingerprint: str
    fields: Mapping[str, Any]
