"""Questions to a session whose text is still being read wait behind pings, and no longer than they may.

The server's reader waits for a lease that the test holds.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from server.store import StoreOptions, open_store
from server.store.base import Lease, SessionKey, Store
from testing.models import prose
from testing.redis_servers import RedisServer
from testing.replies import asked, created, events, metric, must_be_problem, post, problem
from testing.serving import Server, client

T = TypeVar("T")
TEXT = prose(71, 600).encode()
PING_SECONDS = 0.05
ANSWER_SECONDS = 2.0
# A ping comes after PING_SECONDS or later: by then the question came longer ago than an answer may take.
PINGS = int(ANSWER_SECONDS / PING_SECONDS) + 1
ROUTES = {
    "queries": ("/v1/sessions/{}/queries", {"question": "Who came?", "max_tokens": 2}),
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Who came?"}], "max_tokens": 2}),
    "completions": ("/v1/completions", {"prompt": "Who came?", "max_tokens": 2}),
}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "seal.keys"


@pytest.fixture(scope="module")
def patient(redis_server: RedisServer, tiny_weights: Path, keys_file: Path) -> Iterator[Server]:
    """A server whose questions wait for longer than an answer may take."""
    settings = {"ping_seconds": str(PING_SECONDS), "answer_seconds": str(ANSWER_SECONDS)}
    with Server(tiny_weights, redis_server.url, seal_keys_file=str(keys_file), **settings) as server:
        yield server


@pytest.fixture(scope="module")
def server(redis_server: RedisServer, tiny_weights: Path, keys_file: Path) -> Iterator[Server]:
    """A server whose questions wait for next to no time."""
    settings = {"answer_wait_seconds": "0.3", "ping_seconds": str(PING_SECONDS)}
    with Server(tiny_weights, redis_server.url, seal_keys_file=str(keys_file), **settings) as server:
        yield server


@pytest.fixture
def unread(redis_server: RedisServer, keys_file: Path) -> Callable[[httpx.Client], Any]:
    """Makes a session with text that is not read before the block ends, or before its `release` is called."""
    options = StoreOptions(keys_file=keys_file)

    def with_store(work: Callable[[Store], Any]) -> Any:
        async def run() -> Any:
            store = await open_store(redis_server.url, options)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())

    @contextmanager
    def made(http: httpx.Client) -> Iterator[tuple[str, Callable[[], None]]]:
        session = created(http)
        key = SessionKey("default", session)
        lease: Lease = with_store(lambda store: store.lease(key, "the test", 600.0))
        acknowledged = post(http, session, TEXT).json()
        # Durable, and not read.
        assert (acknowledged["accepted_bytes"], acknowledged["read_bytes"]) == (len(TEXT), 0)
        yield session, lambda: with_store(lambda store: store.release(lease))
        http.delete(f"/v1/sessions/{session}")

    return made


def test_a_question_fails_with_reading_behind_after_its_wait_limit(server: Server, unread: Any) -> None:
    with client(server) as http, unread(http) as (session, release):
        question = {"question": "Who came?", "max_tokens": 2}
        reply = http.post(f"/v1/sessions/{session}/queries", json=question)
        body = problem(reply, 429, "reading_behind")
        assert int(reply.headers["Retry-After"]) >= 1
        assert (body["read_bytes"], body["accepted_bytes"]) == (0, len(TEXT))
        assert "wait=read" in body["detail"]
        assert metric(http, 'onceread_requests_rejected_total{reason="reading_behind"}') >= 1
        release()
        assert http.post(f"/v1/sessions/{session}/text", params={"wait": "read"}).status_code == 200
        assert asked(http, session, **question)["memory"]["offset"] == len(TEXT)


@pytest.mark.parametrize("route", ROUTES)
def test_a_streamed_question_beyond_its_wait_limit_ends_with_an_error_event(
    server: Server, unread: Any, route: str
) -> None:
    path, question = ROUTES[route]
    with client(server) as http, unread(http) as (session, _):
        body = question | {"stream": True}
        with http.stream("POST", path.format(session), json=body, headers={"X-Session-ID": session}) as reply:
            assert reply.status_code == 200
            *_, last = (json.loads(line[6:]) for line in reply.iter_lines() if line.startswith("data: "))
        must_be_problem(last, 429, "reading_behind")


@pytest.mark.parametrize("route", ROUTES)
def test_a_waiting_stream_sends_pings_and_the_wait_does_not_count_against_the_answers_time(
    patient: Server, unread: Any, route: str
) -> None:
    path, question = ROUTES[route]
    with client(patient) as http, unread(http) as (session, release):
        body = question | {"stream": True}
        with http.stream("POST", path.format(session), json=body, headers={"X-Session-ID": session}) as reply:
            assert reply.status_code == 200
            lines = reply.iter_lines()
            pings = 0
            while pings < PINGS:
                line = next(lines)
                pings += line == ": ping"
                assert "error" not in line
            release()
            rest = list(lines)
    if route == "queries":
        *_, (last, done) = events(rest)
        assert last == "done"
        assert done["memory"]["offset"] == len(TEXT)
    else:
        assert [line for line in rest if line][-1] == "data: [DONE]"


@pytest.mark.parametrize("route", ["chat", "completions"])
def test_a_stream_that_can_be_refused_at_once_has_an_error_status(server: Server, route: str) -> None:
    path, question = ROUTES[route]
    with client(server) as http:
        body = question | {"stream": True}
        missing = http.post(path, json=body, headers={"X-Session-ID": "never"})
        problem(missing, 404, "session_not_found", "id")
        problem(http.post(path, json=body | {"max_tokens": 4097}), 422, "invalid_field", "max_tokens")


def test_a_streamed_question_that_can_be_refused_at_once_has_an_error_status(server: Server) -> None:
    with client(server) as http:
        session = created(http)

        def refused(status: int, code: str, param: str | None, name: str = session, **body: Any) -> None:
            given = {"question": "Who came?", "stream": True} | body
            problem(http.post(f"/v1/sessions/{name}/queries", json=given), status, code, param)

        refused(404, "session_not_found", "id", name="never")
        refused(404, "snapshot_not_found", "name", snapshot="never")
        refused(422, "invalid_field", "question", question=" ")
