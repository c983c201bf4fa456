"""Slow clients are cut, and no others, on real sockets and with a clock that the test moves."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http.protocol import CHECK_SECONDS_MAX, BodyRate, ConnectionChecks
from tests.server.http.clocked import LARGE_BYTES, TEXT, Serving, is_open, must_be_refused, received, request, until


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"G", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\n", request()[:-1]])
def test_headers_time_out(serving: Serving, begun: bytes) -> None:
    with serving.connect(begun) as connection:
        serving.passes(10)
        assert is_open(connection)
        serving.passes(2)
        assert "headers took too long" in must_be_refused(connection, 408)
    assert serving.rejected == ["invalid_request"]


@pytest.mark.parametrize("dribbled", [b"X: y\r\n", b"x", b"\r\n"])
def test_trickled_headers_do_not_extend_the_timeout(serving: Serving, dribbled: bytes) -> None:
    for first in (b"", request(path="/", method="GET")):
        with serving.connect(first) as connection:
            if first:
                until(connection, b"\r\n\r\n0")
            if dribbled != b"\r\n":
                serving.send(connection, b"GET /slow HTTP/1.1\r\nHost: x\r\nX: ")
            serving.passes(11, lambda: serving.send(connection, dribbled))
            assert is_open(connection)
            serving.passes(1)
            must_be_refused(connection, 408)


def test_headers_in_small_pieces_are_accepted_in_time(serving: Serving) -> None:
    head = request(path="/", method="GET")
    with serving.connect() as connection:
        for start in range(0, len(head), 8):
            serving.send(connection, head[start : start + 8])
            serving.passes(1)
        assert until(connection, b"\r\n\r\n0").startswith(b"HTTP/1.1 200 ")
    assert serving.rejected == []


def test_timeouts_start_again_with_every_request_of_a_connection(serving: Serving) -> None:
    head = request(path="/", Content_Length=2900)
    with serving.connect() as connection:
        for _ in range(3):
            serving.send(connection, head[:20])
            serving.passes(9)
            serving.send(connection, head[20:])
            serving.passes(29, lambda: serving.send(connection, b"x" * 100))
            until(connection, b"\r\n\r\n2900")
            serving.passes(40)
    assert serving.rejected == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_below_the_minimum_rate_is_cut_and_the_application_sees_a_disconnect(
    serving: Serving, chunked: bool
) -> None:
    framing: dict[str, Any] = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": 10**9}
    piece = b"1\r\nx\r\n" if chunked else b"x"
    with serving.connect(request(X_Request_ID="mine", **framing)) as connection:
        serving.passes(5, lambda: serving.send(connection, piece))
        assert is_open(connection)
        serving.passes(3, lambda: serving.send(connection, piece) if is_open(connection) else None)
        detail = must_be_refused(connection, 408)
    assert "slower than 100 bytes a second" in detail
    serving.until_gone(TEXT)
    assert serving.rejected == ["invalid_request"]


def test_a_body_above_the_minimum_rate_has_no_deadline(serving: Serving) -> None:
    with serving.connect(request(Content_Length=100 * 200)) as connection:
        serving.passes(200, lambda: serving.send(connection, b"x" * 100))
        assert until(connection, b"20000").startswith(b"HTTP/1.1 200 ")


def test_a_body_may_stall_and_catch_up_within_the_allowance(serving: Serving) -> None:
    with serving.connect(request(Content_Length=30 * 500)) as connection:
        for _ in range(30):
            serving.send(connection, b"x" * 500)
            serving.passes(5)
        assert until(connection, b"15000").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("path", "content_type", "bounded"),
    [
        (TEXT, "text/plain", False),
        (TEXT, "application/x-ndjson", False),
        (TEXT, "application/json", True),
        ("/v1/sessions/a/queries", "application/json", True),
        ("/v1/sessions/a/queries", "text/plain", True),
        ("/nowhere", "text/plain", True),
    ],
)
def test_a_json_body_has_a_deadline(serving: Serving, path: str, content_type: str, bounded: bool) -> None:
    with serving.connect(request(path=path, Content_Type=content_type, Content_Length=10**9)) as connection:
        serving.passes(30, lambda: serving.send(connection, b"x" * 1000))
        assert is_open(connection)
        serving.passes(2)
        if bounded:
            assert "body took too long" in must_be_refused(connection, 408)
        else:
            assert is_open(connection)


def test_waiting_for_the_server_does_not_count_as_slow(serving: Serving) -> None:
    length = 10**6
    with (
        serving.connect(request("wait", Content_Length=length)) as paused,
        serving.connect(request("wait", Content_Length=5, Expect="100-continue")) as asking,
        serving.connect(request("read", Content_Length=length)) as slow,
    ):
        # As much as the server takes in before it stops reading, and what the sockets hold.
        paused.setblocking(False)
        sent = 0
        while select.select([], [paused], [], 0)[1]:
            sent += paused.send(b"x" * min(65536, length - sent)) if sent < length else 0
            serving.passes(1)
            if sent == length:
                break
        serving.passes(100)
        assert is_open(paused)
        assert is_open(asking)
        must_be_refused(slow, 408)
        serving.release()
        paused.settimeout(60)
        paused.sendall(b"x" * (length - sent))
        until(paused, str(length).encode())
        until(asking, b"100 Continue\r\n\r\n")
        serving.send(asking, b"12345")
        until(asking, b"\r\n\r\n5")


def test_the_rest_of_an_answered_body_has_a_deadline(serving: Serving) -> None:
    for piece in (b"", b"x" * 1000):
        with serving.connect(request("early", Content_Length=10**9)) as connection:
            until(connection, b"early")

            def send(connection: socket.socket = connection, piece: bytes = piece) -> None:
                if is_open(connection):
                    serving.send(connection, piece)

            serving.passes(4, send)
            assert is_open(connection)
            serving.passes(30, send)
            # It has had its answer: nothing more is said, and nothing is counted.
            assert not is_open(connection)
    assert serving.rejected == []


def test_a_response_has_no_deadline(serving: Serving) -> None:
    half = request(path="/next", method="GET")
    with serving.connect(request("stream", method="GET")) as connection:
        until(connection, b"begun")
        # The next request's head may begin meanwhile, and its time begins when it is its turn.
        serving.send(connection, half[:20])
        serving.passes(1000)
        assert is_open(connection)
        serving.release()
        until(connection, b"0\r\n\r\n")
        serving.passes(10)
        serving.send(connection, half[20:])
        until(connection, b"\r\n\r\n0")
        serving.send(connection, half[:20])
        serving.passes(12)
        must_be_refused(connection, 408)


@pytest.mark.parametrize("do", ["flood", "heap"])
@pytest.mark.parametrize("after", ["keep-alive", "close"])
def test_a_response_that_the_client_does_not_read_is_aborted(serving: Serving, do: str, after: str) -> None:
    with serving.connect(request(do, method="GET", Connection=after)) as connection:
        serving.passes(15)
        assert serving.open == 1
        # A reader that is only slow gets on.
        taken = 0
        while taken < 24 * 2**20:
            taken += len(connection.recv(2**20))
        serving.passes(18)
        assert serving.open == 1
        serving.passes(10)
        assert serving.open == 0
        assert len(received(connection)) < LARGE_BYTES - taken


def test_a_pause_of_the_server_cuts_no_connection(serving: Serving) -> None:
    with (
        serving.connect(request()[:-1]) as head,
        serving.connect(request(Content_Length=2)) as body,
        serving.connect(request(path="/", Content_Length=2)) as json_body,
    ):
        serving.passes(2)
        serving.stands_still(10_000)
        serving.passes(1)
        for connection, rest in ((head, b"\n"), (body, b"xx"), (json_body, b"xx")):
            assert is_open(connection)
            serving.send(connection, rest)
            until(connection, b"HTTP/1.1 200 ")


STEPS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 500)), max_size=30)


@given(st.integers(1, 100), st.integers(1, 30), STEPS)
def test_body_rate_equals_the_worst_window_of_an_exact_count(
    rate: int, stall: int, steps: list[tuple[int, int]]
) -> None:
    body = BodyRate(rate, stall)
    late: list[Fraction] = []
    for seconds, length_bytes in steps:
        body.received(length_bytes)
        body.waited(seconds)
        late.append(seconds - Fraction(length_bytes, rate))
        # The longest that any stretch up to now was late by; the bytes that came first in it are from before.
        worst = max(sum(late[start:]) + Fraction(steps[start][1], rate) for start in range(len(late)))
        over = worst > stall
        # One that is too slow is never checked again.
        assert body.too_slow == over or abs(worst - stall) < Fraction(1, 10**6)
        if over:
            return


@given(st.lists(st.floats(0, 1e6)))
def test_the_connections_clock_does_not_jump(pauses: list[float]) -> None:
    now = 0.0
    checks = ConnectionChecks(lambda: now)
    seen: list[float] = []

    class Looking:
        def check(self, now: float) -> None:
            seen.append(now)

    expected = 0.0
    for pause in pauses:
        now += pause
        expected += min(pause, CHECK_SECONDS_MAX)
        checks.check([Looking()])
        assert seen.pop() == pytest.approx(expected, abs=1e-3)
