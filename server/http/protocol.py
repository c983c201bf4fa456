"""Connections with limits of size and time that uvicorn does not have.

They hold without a gateway, which is how the image runs by default: a minimum rate of bodies (no gateway of `deploy/`
has one), the end of responses that are not read, timeouts of headers, and problems as bodies of refusals. They build
on uvicorn's private parts, so its minor version is pinned, and `tests/server/http/test_protocol*.py` cover each limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.http.body_limits import is_long
from server.http.gate import request_id
from server.http.permissions import call_of
from server.http.problems import ErrorResponse, error_response
from server.http.refusals import HttpError, InvalidRequest, NotReady, TooSlow
from server.settings import ConnectionSettings

# The most time that passes for connections between two checks: after a pause of the server, bytes that arrived
# meanwhile are not late.
CHECK_SECONDS_MAX = 2.0
_REQUEST_LINE_BYTES = 64
_HEADER_ENDS_BYTES = len(": \r\n")


class Refused(Exception):
    """Ends the parsing of a request."""


class BodyRate:
    """A minimum rate as an allowance in seconds: waiting spends it, bytes earn it back, up to where it began."""

    def __init__(self, bytes_per_second_min: float, stall_seconds: float) -> None:
        self._bytes_per_second = bytes_per_second_min
        self._stall_seconds = stall_seconds
        self._left_seconds = stall_seconds

    def received(self, length_bytes: int) -> None:
        self._left_seconds = min(self._stall_seconds, self._left_seconds + length_bytes / self._bytes_per_second)

    def waited(self, seconds: float) -> None:
        self._left_seconds -= seconds

    @property
    def too_slow(self) -> bool:
        return self._left_seconds < 0


class Connection(HttpToolsProtocol):
    """Receives a request's head, then its body, then nothing until the next; responses may be in flight meanwhile."""

    def __init__(self, settings: ConnectionSettings, rejected: Callable[[str], None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._settings, self._rejected = settings, rejected
        self._refusal: HttpError | None = None
        self._fed_bytes = self._head_bytes = self._header_bytes = self._unsent_bytes = 0
        self._rate = BodyRate(settings.body_bytes_per_second_min, settings.body_stall_seconds)
        self._is_long = False
        self._answered: RequestResponseCycle | None = None
        # Times start at the first check that sees the state: timeouts may be late, never early.
        self._since: float | None = None
        self._checked_at = self._unread_since = 0.0
        self._receiving: Literal["head", "body", "nothing"] = "head"

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self._settings.connections_max:
            self._end(NotReady("the limit of open connections is reached; connect again later"))

    def connection_lost(self, exc: Exception | None) -> None:
        # uvicorn notifies only the last request; the one being answered may be an earlier one.
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        # The client has read; what is queued by the next check is new.
        self._unsent_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self._receiving == "nothing":
            # Not in on_message_begin: the parser skips any number of blank lines before it.
            self._receive("head")
        self._fed_bytes = len(data)
        super().data_received(data)
        self._head_bytes += self._fed_bytes
        bound = self._settings.url_bytes + self._settings.header_bytes + _REQUEST_LINE_BYTES
        # An unterminated header never reaches on_header.
        if self._receiving == "head" and self._head_bytes > bound and not self.transport.is_closing():
            self._end(self._large_head())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._receive("head")
        self._header_bytes = 0
        # The data in which it begins may hold the end of the previous request.
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
        self._receive("body")
        types = [value.decode("latin-1") for name, value in self.headers if name == b"content-type"]
        self._is_long = is_long(call_of(self.scope["method"], self.scope["path"]), types[0] if types else "")
        self._rate = BodyRate(self._settings.body_bytes_per_second_min, self._settings.body_stall_seconds)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._rate.received(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._receive("nothing")

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn when the parser fails."""
        self._end(self._refusal or InvalidRequest("this is not an HTTP/1.1 request; see /docs for the API"))

    def check(self, now: float) -> None:
        """Closes the connection if its client has kept the server waiting too long."""
        if self._since is None:
            self._since = self._checked_at = now
        waited_seconds, self._checked_at = now - self._checked_at, now
        if self._is_unread(now):
            self.transport.abort()
        elif self.transport.is_closing() or self._receiving == "nothing":
            return
        elif not self._client_may_send():
            self._since += waited_seconds
        elif self._receiving == "head":
            if now - self._since > self._settings.header_seconds:
                self._end(TooSlow("the headers took too long; send the request again, faster"))
        else:
            self._rate.waited(waited_seconds)
            self._check_body(now - self._since)

    def _check_body(self, seconds: float) -> None:
        if self._is_long and self.cycle.response_complete:
            # The rest is not needed; the client gets some time to read the response.
            self._is_long, self._since = False, None
        elif not self._is_long and seconds > self._settings.body_seconds:
            self._end(TooSlow("the body took too long; send the request again, faster"))
        elif self._rate.too_slow:
            rate = f"{self._settings.body_bytes_per_second_min:g} bytes a second"
            self._end(TooSlow(f"the body was slower than {rate}; durable text is kept: continue from there, faster"))

    def _receive(self, what: Literal["head", "body", "nothing"]) -> None:
        self._receiving, self._since = what, None

    def _client_may_send(self) -> bool:
        """Whether the client can and should send more."""
        if self.flow.read_paused:
            return False
        if self._receiving == "head":
            return not self._is_answering()
        return not self.cycle.waiting_for_100_continue

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_unread(self, now: float) -> bool:
        """Whether the client has read nothing of the queued response for too long."""
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
        """Sends the error if a response is due and none has begun, then closes the connection."""
        begun = self.cycle.response_started if self._receiving == "body" else self._is_answering()
        if not begun and not self.pipeline:
            response = error_response(error)
            self._rejected(response.problem.code)
            self.transport.write(self._rendered(response))
        self.transport.close()

    def _rendered(self, response: ErrorResponse) -> bytes:
        state: Any = self.cycle.scope["state"] if self._receiving == "body" else {}
        name = request_id(state.get("request_id", ""))
        headers, body = response.rendered(name)
        headers += [*self.server_state.default_headers, (b"x-request-id", name.encode()), (b"connection", b"close")]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return STATUS_LINE[response.problem.status] + lines + b"\r\n" + body


class ConnectionChecks:
    """Checks all connections; its clock does not jump when the server pauses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checked_at = clock()
        self._now = 0.0

    def check(self, connections: Iterable[Any]) -> None:
        checked_at = self._clock()
        self._now += min(checked_at - self._checked_at, CHECK_SECONDS_MAX)
        self._checked_at = checked_at
        for connection in list(connections):
            connection.check(self._now)
