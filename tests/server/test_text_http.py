"""Text over HTTP: however it comes in, it is accepted whole and in order, at its offset, or refused by name."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conftest import prose
from tests.server.replies import created, events, must_be_problem, offsets, problem
from tests.server.serving import Server, client


@pytest.fixture(scope="module")
def server(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tiny_weights, f"sqlite:///{tmp_path_factory.mktemp('store')}") as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with client(server) as http:
        yield http


@pytest.mark.parametrize("lines", [[b"the same\n"] * 24, [b"line %d\n" % number for number in range(24)]])
def test_appends_without_an_offset_all_go_to_the_end_however_many_come_at_once(
    server: Server, http: httpx.Client, lines: list[bytes]
) -> None:
    session = created(http)

    def append(line: bytes) -> httpx.Response:
        with client(server) as own:
            return own.post(f"/v1/sessions/{session}/text", content=line)

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(append, lines))
    assert [reply.status_code for reply in replies] == [200] * 24
    assert not any(reply.json()["replayed"] for reply in replies)
    total = sum(map(len, lines))
    assert max(reply.json()["accepted_bytes"] for reply in replies) == total
    assert offsets(http, session)[0] == total


def test_a_bad_byte_is_named_also_behind_a_character_that_an_append_ended_inside(http: httpx.Client) -> None:
    session = created(http)
    http.post(f"/v1/sessions/{session}/text", content="é".encode()[:1])
    reply = http.post(f"/v1/sessions/{session}/text", content="é".encode()[1:] + b"ab\xff")
    body = problem(reply, 400, "invalid_utf8")
    assert body["expected_offset"] == 1
    assert "byte 3 of the body" in body["detail"]


def test_whoever_waits_for_a_session_that_is_deleted_learns_that_it_is_gone(server: Server, http: httpx.Client) -> None:
    session = created(http)
    text = prose(5, 60_000).encode()

    def waited() -> httpx.Response:
        with client(server) as own:
            return own.post(f"/v1/sessions/{session}/text", params={"wait": "read"}, content=text)

    with ThreadPoolExecutor(1) as threads:
        reply = threads.submit(waited)
        while offsets(http, session)[1] == 0:
            pass
        assert http.delete(f"/v1/sessions/{session}").status_code == 204
        problem(reply.result(), 404, "session_not_found", "id")


def test_whoever_follows_a_session_that_is_deleted_learns_that_it_is_gone(http: httpx.Client, server: Server) -> None:
    session = created(http)
    headers = {"Accept": "text/event-stream", "X-Request-ID": "followed"}
    url, text = f"/v1/sessions/{session}/text", prose(5, 60_000).encode()
    with client(server) as own, own.stream("POST", url, content=text, headers=headers) as reply:
        stream = events(reply.iter_lines())
        assert next(stream)[0] == "progress"
        http.delete(f"/v1/sessions/{session}")
        *_, (last, body) = stream
    assert last == "error"
    must_be_problem(body, 404, "session_not_found", "id")
    assert body["request_id"] == "followed"
