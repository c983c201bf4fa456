"""Flows and their steps.

A flow is a generator that yields the steps it needs (send this request, pause, take bytes of the source) and receives
their results. The connection carries them out, synchronously or asynchronously.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

SILENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Request:
    """One HTTP request; a `repeatable` one may be sent again when it is unknown whether it arrived.

    The connection is given up when nothing comes from the server for `silence_seconds`.
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
    """The reply to a request; the names of `headers` are in lower case. A stream's body is empty."""

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
    """Sends the request; the result is a `Reply`. Raises `ConnectionFailed`."""

    request: Request


@dataclass(frozen=True)
class OpenStream:
    """Sends the request and keeps a reply that is a stream of events open; the result is a `Reply`."""

    request: Request


@dataclass(frozen=True)
class NextEvent:
    """The next `Event` of the open stream; None at its end."""


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Take:
    """The source's bytes from `offset` on, at most `limit`; empty only at its end.

    Bytes before `offset` may be dropped. Raises `SourceNotRereadable` when the source cannot go back so far.
    """

    offset: int
    limit: int


@dataclass(frozen=True)
class Emit:
    """Passes a value to the caller: progress, or a piece of an answer."""

    value: Any


Step: TypeAlias = Send | OpenStream | NextEvent | Pause | Take | Emit
Flow: TypeAlias = Generator[Step, Any, T]


def send(request: Request) -> Flow[Reply]:
    reply = yield Send(request)
    assert isinstance(reply, Reply)
    return reply


def open_stream(request: Request) -> Flow[Reply]:
    reply = yield OpenStream(request)
    assert isinstance(reply, Reply)
    return reply


def next_event() -> Flow[Event | None]:
    event = yield NextEvent()
    assert event is None or isinstance(event, Event)
    return event


def take(offset: int, limit: int) -> Flow[bytes]:
    piece = yield Take(offset, limit)
    assert isinstance(piece, bytes)
    return piece
