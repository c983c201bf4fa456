"""What a conversation with the server is made of: steps that are wanted, and what came of them.

Pure: a flow is a generator that asks for steps; who carries them out, over which connection, it does not know.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

SILENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """One HTTP request; `repeatable` says that it may be sent again when nobody knows whether it arrived.

    The server may be silent for `silence_seconds` before the connection is given up.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    repeatable: bool = False
    silence_seconds: float = SILENCE_SECONDS


@dataclass(frozen=True)
class Reply:
    """The answer to a request; the names of `headers` are in lower case. A stream's body is empty."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    data: str


@dataclass(frozen=True)
class Send:
    """Send the request: gives a `Reply`, or raises `ConnectionFailed`."""

    request: Request


@dataclass(frozen=True)
class Open:
    """Send the request, and leave a reply that is a stream of events open: gives a `Reply`."""

    request: Request


@dataclass(frozen=True)
class NextEvent:
    """Gives the next `Event` of what is open, or None at its end."""


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Take:
    """Gives the source's bytes from `offset` on, at most `limit`, none only at its end.

    What is before `offset` may be let go. Raises `SourceNotRereadable` when the source can not go back so far.
    """

    offset: int
    limit: int


@dataclass(frozen=True)
class Tell:
    """Hand this to whoever is listening."""

    value: Any


Step: TypeAlias = Send | Open | NextEvent | Pause | Take | Tell
Flow: TypeAlias = Generator[Step, Any, T]


def sent(request: Request) -> Flow[Reply]:
    reply = yield Send(request)
    assert isinstance(reply, Reply)
    return reply


def opened(request: Request) -> Flow[Reply]:
    reply = yield Open(request)
    assert isinstance(reply, Reply)
    return reply


def next_event() -> Flow[Event | None]:
    event = yield NextEvent()
    assert event is None or isinstance(event, Event)
    return event


def taken(offset: int, limit: int) -> Flow[bytes]:
    piece = yield Take(offset, limit)
    assert isinstance(piece, bytes)
    return piece
