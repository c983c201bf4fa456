"""A simulated server without connections: it keeps one text with offsets and receipts, and loses requests on demand."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from enum import Enum, auto
from hashlib import sha256
from typing import Any, TypeVar

from onceread import errors
from onceread._sync.sources import TextSource
from onceread.results import Progress
from onceread.wire.steps import Emit, Event, Flow, NextEvent, OpenStream, Pause, Reply, Request, Send, Step, Take

T = TypeVar("T")


class Fate(Enum):
    """What happens to a request."""

    WELL = auto()
    REFUSED_CONNECTION = auto()
    LOST_BEFORE = auto()
    LOST_AFTER = auto()
    CUT_INSIDE = auto()
    OVERLOADED = auto()
    STORE_GONE = auto()
    DAMAGED_UNDERWAY = auto()
    STREAM_CUT = auto()


class ModelServer:
    def __init__(self, fates: Iterator[Fate], durable_bytes: int) -> None:
        self.text, self.fates, self.durable_bytes = b"", fates, durable_bytes
        self.read_bytes, self.lineage, self.paused_seconds = 0, 0, 0.0
        self.emitted: list[Any] = []
        self.rollbacks: list[int] = []
        self.forgotten_bytes = 0
        self.bodies: list[int] = []
        self._events: Iterator[Event] = iter(())

    def carry_out(self, flow: Flow[T], source: TextSource | None = None) -> T:
        """The flow's result against this server."""
        try:
            step = next(flow)
            while True:
                try:
                    came = self._perform(step, source)
                except errors.OncereadError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(came)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, step: Step, source: TextSource | None) -> Any:
        match step:
            case Send(request) | OpenStream(request):
                return self._answer(request, next(self.fates, Fate.WELL))
            case NextEvent():
                return next(self._events, None)
            case Take(offset, limit):
                assert source is not None
                return source.take(offset, limit)
            case Emit(value):
                assert not isinstance(value, Progress) or value.accepted_bytes <= len(self.text)
                self.emitted.append(value)
            case Pause(seconds):
                self.paused_seconds += seconds
        return None

    def _answer(self, request: Request, fate: Fate) -> Reply:
        if request.method == "PATCH":
            self.bodies.append(len(request.content))
        match fate:
            case Fate.REFUSED_CONNECTION:
                raise errors.ConnectionFailed("nobody listens", maybe_arrived=False)
            case Fate.LOST_BEFORE:
                raise errors.ConnectionFailed("lost on its way")
            case Fate.OVERLOADED:
                return self._problem(429, "overloaded", {"Retry-After": "1"})
            case Fate.STORE_GONE:
                return self._problem(503, "store_unavailable", {"Retry-After": "2"})
            case Fate.DAMAGED_UNDERWAY if request.content:
                request = Request(
                    request.method, request.path, request.headers, content=b"\0" + request.content[1:], repeatable=True
                )
        if self.rollbacks and request.method == "PATCH":
            self.text = self.text[: self.rollbacks.pop()]
            self.read_bytes = min(self.read_bytes, len(self.text))
        reply = self._route(request, fate)
        if fate in (Fate.LOST_AFTER, Fate.CUT_INSIDE):
            raise errors.ConnectionFailed("the answer was lost")
        return reply

    def _route(self, request: Request, fate: Fate) -> Reply:
        if request.method == "GET":
            return Reply(200, {}, json.dumps({"text": self._counts()}).encode())
        receipt = request.headers.get("Onceread-Receipt")
        if receipt is not None and (int(receipt) > len(self.text)):
            return self._problem(409, "text_rolled_back", expected_offset=len(self.text))
        offset = int(request.headers.get("Upload-Offset", len(self.text)))
        if offset > len(self.text):
            return self._problem(409, "offset_mismatch", expected_offset=len(self.text))
        if "Accept" in request.headers:
            return self._follow(fate)
        if not request.content:
            return self._counted()
        digest = b64encode(sha256(request.content).digest()).decode()
        if request.headers["Content-Digest"] != f"sha-256=:{digest}:":
            return self._problem(400, "digest_mismatch")
        if offset < self.forgotten_bytes:
            return self._problem(409, "offset_mismatch", expected_offset=len(self.text))
        content = request.content
        if fate is Fate.CUT_INSIDE:
            content = content[: len(content) // 2 // self.durable_bytes * self.durable_bytes]
        known = self.text[offset : offset + len(content)]
        if content[: len(known)] != known:
            return self._problem(409, "content_conflict", expected_offset=len(self.text))
        self.text += content[len(known) :]
        return self._counted()

    def _counted(self) -> Reply:
        return Reply(200, {"onceread-receipt": str(len(self.text))}, json.dumps(self._counts()).encode())

    def _follow(self, fate: Fate) -> Reply:
        half = {"read_bytes": (self.read_bytes + len(self.text)) // 2}
        events = [Event("progress", json.dumps(self._counts() | half))]
        if fate is not Fate.STREAM_CUT:
            self.read_bytes = len(self.text)
            events.append(Event("done", json.dumps(self._counts())))
        self._events = iter(events)
        return Reply(200, {})

    def _counts(self) -> dict[str, int]:
        return {"accepted_bytes": len(self.text), "read_bytes": self.read_bytes, "tokens": self.read_bytes // 4}

    def _problem(self, status: int, code: str, headers: dict[str, str] | None = None, **members: Any) -> Reply:
        body = {"detail": "a model refuses", "request_id": "r", **members, "error": {"code": code, "param": None}}
        return Reply(
            status, {name.lower(): value for name, value in (headers or {}).items()}, json.dumps(body).encode()
        )
