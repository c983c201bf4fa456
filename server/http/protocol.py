"""Connections: bounds on what comes in and on how long that takes, which uvicorn alone does not set.

It knows bytes, headers and time, and nothing of what is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.http.body_limits import is_long
from server.http.errors import HttpError, InvalidRequest, NotReady, TooSlow
from server.http.gate import request_id
from server.http.patience import Patience
from server.http.permissions import call_of
from server.http.problems import ErrorResponse, error_response
from server.settings import Settings

# Between two looks no more time than this passes for connections: what came while the server stood still waits to be
# taken in, and is not late.
LOOK_SECONDS_MAX = 2.0
_REQUEST_LINE_BYTES = 64
_HEADER_ENDS_BYTES = len(": \r\n")


class Refused(Exception):
    """Ends the parsing of a request."""


class Connection(HttpToolsProtocol):
    """Takes in a request's head, then its body, then nothing until the next; answers may be under way meanwhile."""

    def __init__(self, settings: Settings, rejected: Callable[[str], None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._settings, self._rejected = settings, rejected
        self._refusal: HttpError | None = None
        self._fed_bytes = self._head_bytes = self._header_bytes = self._unsent_bytes = 0
        self._patience = Patience(settings.body_bytes_per_second_min, settings.body_stall_seconds)
        self._is_long = False
        self._answered: RequestResponseCycle | None = None
        # Times begin with the first look that sees it so: they may end late, and never early.
        self._since: float | None = None
        self._looked_at = self._unread_since = 0.0
        self._taking: Literal["head", "body", "nothing"] = "head"

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self._settings.connections_max:
            self._end(NotReady("as many connections are open as this server takes; connect again later"))

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn tells the last request alone, and the one that is being answered may be another.
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        # It has been read, however much there is again by the next look.
        self._unsent_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self._taking == "nothing":
            # Not on_message_begin: the parser passes over blank lines, however many.
            self._take("head")
        self._fed_bytes = len(data)
        super().data_received(data)
        self._head_bytes += self._fed_bytes
        bound = self._settings.url_bytes + self._settings.header_bytes + _REQUEST_LINE_BYTES
        # A header that never ends is never given to on_header.
        if self._taking == "head" and self._head_bytes > bound and not self.transport.is_closing():
            self._end(self._large_head())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._take("head")
        self._header_bytes = 0
        # What else is in the data that it begins in may belong to the request before it.
        self._head_bytes = -self._fed_bytes

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self._settings.url_bytes:
            self._refuse(InvalidRequest(f"the URL is longer than {self._settings.url_bytes} bytes; shorten it"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + _HEADER_ENDS_BYTES
        if self._header_bytes > self._settings.header_bytes:
            self._refuse(self._large_head())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._take("body")
        types = [value.decode("latin-1") for name, value in self.headers if name == b"content-type"]
        self._is_long = is_long(call_of(self.scope["method"], self.scope["path"]), types[0] if types else "")
        self._patience = Patience(self._settings.body_bytes_per_second_min, self._settings.body_stall_seconds)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._patience.received(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._take("nothing")

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser gives up."""
        self._end(self._refusal or InvalidRequest("this is no request of HTTP/1.1; see /docs for those there are"))

    def look(self, now: float) -> None:
        """Ends the connection when its client keeps the server waiting for too long."""
        if self._since is None:
            self._since = self._looked_at = now
        waited_seconds, self._looked_at = now - self._looked_at, now
        if self._is_unread(now):
            self.transport.abort()
        elif self.transport.is_closing() or self._taking == "nothing":
            return
        elif not self._is_willing():
            self._since += waited_seconds
        elif self._taking == "head":
            if now - self._since > self._settings.header_seconds:
                self._end(TooSlow("the headers took too long to come; send the request again, faster"))
        else:
            self._patience.waited(waited_seconds)
            self._look_at_body(now - self._since)

    def _look_at_body(self, seconds: float) -> None:
        if self._is_long and self.cycle.response_complete:
            # Nobody wants the rest: its client has a while to find the answer.
            self._is_long, self._since = False, None
        elif not self._is_long and seconds > self._settings.body_seconds:
            self._end(TooSlow("the body took too long to come; send the request again, faster"))
        elif self._patience.is_over:
            rate = f"{self._settings.body_bytes_per_second_min:g} bytes a second"
            self._end(TooSlow(f"the body came slower than {rate}; what is durable is kept, go on from there, faster"))

    def _take(self, what: Literal["head", "body", "nothing"]) -> None:
        self._taking, self._since = what, None

    def _is_willing(self) -> bool:
        """Whether the client could send on, and is to."""
        if self.flow.read_paused:
            return False
        if self._taking == "head":
            return not self._is_answering()
        return not self.cycle.waiting_for_100_continue

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_unread(self, now: float) -> bool:
        """Whether nothing of what waits to be sent has been taken for too long."""
        unsent_bytes, before_bytes = self.transport.get_write_buffer_size(), self._unsent_bytes
        self._unsent_bytes = unsent_bytes
        if not 0 < before_bytes <= unsent_bytes:
            self._unread_since = now
        return now - self._unread_since > self._settings.unread_seconds

    def _refuse(self, error: HttpError) -> None:
        self._refusal = error
        raise Refused

    def _large_head(self) -> HttpError:
        return InvalidRequest(f"the headers have more than {self._settings.header_bytes} bytes; send fewer")

    def _end(self, error: HttpError) -> None:
        """The error, where an answer is due and none has begun, and then the end."""
        begun = self.cycle.response_started if self._taking == "body" else self._is_answering()
        if not begun and not self.pipeline:
            response = error_response(error)
            self._rejected(response.problem.code)
            self.transport.write(self._rendered(response))
        self.transport.close()

    def _rendered(self, response: ErrorResponse) -> bytes:
        state: Any = self.cycle.scope["state"] if self._taking == "body" else {}
        name = request_id(state.get("request_id", ""))
        headers, body = response.rendered(name)
        headers += [*self.server_state.default_headers, (b"x-request-id", name.encode()), (b"connection", b"close")]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return STATUS_LINE[response.problem.status] + lines + b"\r\n" + body


class Watch:
    """Looks at all connections, and keeps the time for them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._looked_at, self._now = clock, clock(), 0.0

    def look(self, connections: Iterable[Any]) -> None:
        looked_at = self._clock()
        self._now += min(looked_at - self._looked_at, LOOK_SECONDS_MAX)
        self._looked_at = looked_at
        for connection in list(connections):
            connection.look(self._now)
