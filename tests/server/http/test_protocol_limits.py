"""Too large or malformed heads and too many connections are refused, on real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.http.clocked import SETTINGS, TEXT, Serving, is_open, must_be_refused, received, request, until


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


def test_the_number_of_connections_is_limited(serving: Serving) -> None:
    connections = [serving.connect() for _ in range(SETTINGS.connections_max)]
    for connection in connections:
        serving.send(connection, request(path="/", method="GET"))
        until(connection, b"\r\n\r\n0")
    with serving.connect() as beyond:
        assert "limit of open connections" in must_be_refused(beyond, 503, "not_ready")
    assert serving.rejected == ["not_ready"]
    connections.pop().close()
    serving.passes(1)
    with serving.connect(request(path="/", method="GET")) as another:
        until(another, b"\r\n\r\n0")
    for connection in connections:
        connection.close()


def sized_head(length: int) -> bytes:
    """A request whose headers have so many bytes together."""
    first = b"Host: x\r\nConnection: close\r\n"
    return b"GET / HTTP/1.1\r\n" + first + b"X: " + b"x" * (length - len(first) - 5) + b"\r\n\r\n"


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_header_and_url_limits_do_not_depend_on_chunks(serving: Serving, size: int) -> None:
    urls = [b"GET /" + b"x" * (length - 1) + b" HTTP/1.1\r\nConnection: close\r\n\r\n" for length in (199, 200, 201)]
    for whole in (*(sized_head(length) for length in (999, 1000, 1001)), *urls):
        with serving.connect() as connection:
            for start in range(0, len(whole), size):
                if not is_open(connection):
                    break
                serving.send(connection, whole[start : start + size])
            if whole in (sized_head(1001), urls[-1]):
                assert "more than 1000 bytes" in (detail := must_be_refused(connection, 400)) or "200 bytes" in detail
            else:
                assert received(connection).startswith(b"HTTP/1.1 200 ")


def test_an_endless_header_is_refused_before_it_ends(serving: Serving) -> None:
    with serving.connect(b"GET / HTTP/1.1\r\nX: ") as connection:
        serving.passes(1)
        for _ in range(20):
            if is_open(connection):
                serving.send(connection, b"x" * 100)
                serving.passes(0)
        assert "more than 1000 bytes" in must_be_refused(connection, 400)


def test_pipelined_requests_are_limited_separately(serving: Serving) -> None:
    each = request(path="/", method="GET", X="x" * 500)
    with serving.connect(each * 100 + each[:50]) as connection:
        replies = b""
        while replies.count(b"HTTP/1.1 200 ") < 100:
            replies += connection.recv(65536)
        serving.send(connection, each[50:])
        until(connection, b"HTTP/1.1 200 ")
    assert serving.rejected == []


def test_trailers_count_as_headers(serving: Serving) -> None:
    trailers = b"".join(b"T: " + b"x" * 100 + b"\r\n" for _ in range(20))
    with serving.connect(request(Transfer_Encoding="chunked") + b"1\r\nx\r\n0\r\n" + trailers + b"\r\n") as connection:
        assert received(connection).startswith(b"HTTP/1.1 400 ")
    serving.until_gone(TEXT)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_malformed_http_is_a_problem(serving: Serving, garbage: bytes) -> None:
    with serving.connect(garbage) as connection:
        assert "not an HTTP/1.1 request" in must_be_refused(connection, 400)
    assert serving.rejected == ["invalid_request"]


def test_garbage_after_a_request_does_not_corrupt_its_response(serving: Serving) -> None:
    with serving.connect(request("stream", method="GET")) as connection:
        until(connection, b"begun")
        serving.send(connection, b"\x00garbage\r\n\r\n")
        assert b"HTTP/1.1 400" not in received(connection)
    assert serving.rejected == []


def test_a_slow_pipelined_body_does_not_corrupt_a_response(serving: Serving) -> None:
    with serving.connect(request("listen", method="GET")) as connection:
        until(connection, b"begun")
        serving.send(connection, request(path="/next", Content_Length=10) + b"x")
        serving.passes(1)
        # While the next request waits nothing is read, until the application waits for a disconnect.
        serving.release()
        serving.passes(20)
        assert b"HTTP/1.1" not in received(connection)
    assert serving.rejected == []


def test_a_disconnect_is_noticed_with_a_pipelined_request_waiting(serving: Serving) -> None:
    with serving.connect(request("listen", path="/first", method="GET")) as connection:
        until(connection, b"begun")
        serving.send(connection, request(path="/next", method="GET"))
        serving.passes(1)
        serving.release()
    serving.until_gone("/first")
