"""Work beyond the limits is refused before its body is sent, and work whose client has gone is cancelled."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.store.base import PIECE_BYTES_MAX
from testing.models import prose
from testing.replies import appended, asked, created, events, eventually, metric, problem, shown
from testing.serving import Server, client

RUNNING = 'onceread_num_requests_running{phase="answer"}'
WAITING = 'onceread_num_requests_waiting{phase="answer"}'
WRITTEN = "onceread_generation_tokens_total"
LONG = {"question": "Who came?", "max_tokens": 2048}
SHORT = {"question": "Who came?", "max_tokens": 20}


@pytest.fixture(scope="module")
def server(roomy_weights: Path) -> Iterator[Server]:
    with Server(roomy_weights, "memory://", answers_max="1", answers_waiting_max="1") as server:
        yield server


@pytest.fixture(scope="module")
def session(server: Server) -> str:
    with client(server) as http:
        session = created(http)
        appended(http, session, prose(51, 3000).encode())
    return session


@pytest.fixture(scope="module")
def whole(server: Server, session: str) -> int:
    """The tokens of the long answer when nobody leaves it."""
    with client(server) as http:
        return int(asked(http, session, **LONG)["usage"]["completion_tokens"])


def becomes(http: httpx.Client, sample: str, value: float) -> None:
    """Returns once the metric has this value."""
    eventually(lambda: metric(http, sample) == value)


def send_raw(server: Server, path: str, headers: dict[str, str], body: bytes = b"") -> socket.socket:
    """A connection on which a request was sent, and nothing was waited for."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    fields = (f"{name}: {value}" for name, value in ({"Host": "localhost"} | headers).items())
    lines = [f"POST {path} HTTP/1.1", *fields, "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)
    return connection


def test_more_questions_than_may_wait_are_refused_and_the_others_answered(
    server: Server, http: httpx.Client, session: str
) -> None:
    expected = asked(http, session, **SHORT)["answer"]
    url = f"/v1/sessions/{session}/queries"

    def ask(_: int) -> httpx.Response:
        with client(server) as own:
            return own.post(url, json=SHORT)

    with http.stream("POST", url, json=LONG | {"stream": True}) as reply:
        stream = events(reply.iter_lines())
        assert next(stream)[0] == "delta"
        with ThreadPoolExecutor(8) as threads:
            replies = list(threads.map(ask, range(8)))
        last, done = list(stream)[-1]
    assert last == "done"
    assert done["usage"]["completion_tokens"] > 1000
    refused = [reply for reply in replies if reply.status_code != 200]
    assert 1 <= len(refused) <= 7
    for reply in refused:
        problem(reply, 429, "overloaded")
        assert int(reply.headers["Retry-After"]) >= 1
    assert {reply.json()["answer"] for reply in replies if reply.status_code == 200} == {expected}
    assert metric(http, 'onceread_requests_rejected_total{reason="overloaded"}') >= len(refused)
    assert asked(http, session, **SHORT)["answer"] == expected


def test_several_questions_in_one_request_are_queued_together(http: httpx.Client, session: str) -> None:
    # Alone they are let in: else they could never be asked.
    several = {"questions": ["Who?", "Where?", "When?"], "max_tokens": 2}
    assert len(http.post(f"/v1/sessions/{session}/queries", json=several).json()["answers"]) == 3
    becomes(http, WAITING, 0)
    becomes(http, RUNNING, 0)


def test_text_is_refused_before_it_is_sent_while_too_much_is_unread(tiny_weights: Path) -> None:
    with Server(tiny_weights, "memory://", backlog_bytes=str(PIECE_BYTES_MAX)) as server, client(server) as http:
        session, other = created(http), created(http)
        text = prose(52, 2 * PIECE_BYTES_MAX).encode()[: 2 * PIECE_BYTES_MAX - 3]
        assert http.post(f"/v1/sessions/{session}/text", content=text).status_code == 200
        # A megabyte is announced and not a byte of it is sent.
        with send_raw(server, f"/v1/sessions/{other}/text", {"Content-Length": str(1 << 20)}) as connection:
            head = connection.recv(65536).decode()
        assert head.startswith("HTTP/1.1 429 ")
        assert "retry-after: " in head.lower()
        problem(http.post(f"/v1/sessions/{other}/queries", json=SHORT), 429, "overloaded")
        # What makes no such work goes on, and what is forgotten is not waited for.
        assert shown(http, other)["text"]["accepted_bytes"] == 0
        assert created(http)
        assert http.delete(f"/v1/sessions/{session}").status_code == 204
        assert appended(http, other, b"some text")["read_bytes"] == 9


def leave_a_stream(server: Server, path: str) -> None:
    with client(server) as http, http.stream("POST", path, json=LONG | {"stream": True}) as reply:
        assert next(events(reply.iter_lines()))[0] == "delta"


def leave_an_answer(server: Server, path: str) -> None:
    body = json.dumps(LONG).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    with send_raw(server, path, headers, body), client(server) as http:
        becomes(http, RUNNING, 1)


@pytest.mark.parametrize("leave", [leave_a_stream, leave_an_answer])
def test_an_answer_whose_client_has_gone_is_cancelled(
    server: Server, http: httpx.Client, session: str, whole: int, leave: Callable[[Server, str], Any]
) -> None:
    path = f"/v1/sessions/{session}/queries"
    before = metric(http, WRITTEN)
    leave(server, path)
    becomes(http, RUNNING, 0)
    assert metric(http, WRITTEN) - before < whole
    assert asked(http, session, **SHORT)["answer"]


def test_a_queued_question_whose_client_has_gone_leaves_the_queue(
    server: Server, http: httpx.Client, session: str
) -> None:
    path = f"/v1/sessions/{session}/queries"
    body = b'{"question": "Who came?"}'
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    with http.stream("POST", path, json=LONG | {"stream": True}) as reply:
        stream = events(reply.iter_lines())
        assert next(stream)[0] == "delta"
        with client(server) as other:
            before = metric(other, WRITTEN)
            with send_raw(server, path, headers, body):
                becomes(other, WAITING, 1)
            becomes(other, WAITING, 0)
            # Tokens are counted when their answer ends, and the one that it waited for has not.
            assert metric(other, WRITTEN) == before
