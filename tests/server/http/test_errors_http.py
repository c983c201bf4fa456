"""Every error has its status, its code and its title, in the one body that all routes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from server.engine.engine import EngineStopped, StepFailed
from server.http import problems
from server.http.problems import PROBLEM_TYPES, ProblemType, error_response
from server.ingest.errors import ReaderDropped, ReaderStopped, ReadingFailed
from server.store.base import DamagedValue, LeaseHeld, StaleCheckpoint, StoreFull, StoreUnavailable
from testing.replies import asked, created, must_be_problem, problem, shown
from testing.serving import Server, client

JSON = {"Content-Type": "application/json"}
# What needs a server in another state: the tests of restarts and of overload bring these about, the last one of
# this module what takes a failure underneath.
ELSEWHERE = {
    problems.FINGERPRINT_MISMATCH,
    problems.SESSION_EXPIRED,
    problems.DOCUMENT_NOT_FOUND,
    problems.TEXT_NOT_FOUND,
    problems.NOT_FORGETTABLE,
    problems.NOT_EXTRACTABLE,
    problems.TEXT_ROLLED_BACK,
    problems.INVALID_API_KEY,
    problems.NOT_ALLOWED,
    problems.TOO_SLOW,
    problems.QUOTA_EXCEEDED,
    problems.OVERLOADED,
    problems.READING_BEHIND,
    problems.INTERNAL_ERROR,
    problems.NOT_READY,
    problems.DRAINING,
    problems.STORE_UNAVAILABLE,
    problems.SESSION_QUARANTINED,
    problems.STORE_FULL,
}
KINDS = {
    400: "invalid_request_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    421: "invalid_request_error",
    422: "invalid_request_error",
}
Send = Callable[[httpx.Client], httpx.Response]


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        with client(server) as http:
            created(http, id="book")
            http.post("/v1/sessions/book/text", content=b"abcdef")
            http.post("/v1/sessions/book/snapshots", json={"name": "first"})
        yield server


def text(content: bytes, **headers: str) -> Send:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda http: http.post("/v1/sessions/book/text", content=content, headers=named)


def query(content: bytes, kind: str = "application/json") -> Send:
    return lambda http: http.post("/v1/sessions/book/queries", content=content, headers={"Content-Type": kind})


def get(path: str) -> Send:
    return lambda http: http.get(path)


CASES: list[tuple[ProblemType, str | None, Send]] = [
    (problems.INVALID_REQUEST, None, query(b"{")),
    (problems.INVALID_REQUEST, None, query(b'{"question": "\xff"}')),
    (problems.INVALID_REQUEST, None, text(b"{", Content_Type="application/json")),
    (problems.INVALID_REQUEST, None, lambda http: http.post("/v1/sessions", content=b"{", headers=JSON)),
    (problems.INVALID_UTF8, None, text(b"\xff")),
    (problems.NOT_FOUND, None, get("/nowhere")),
    (problems.NOT_FOUND, None, get("/v1/sessions/book/nowhere")),
    (problems.NOT_FOUND, None, get("/v1/sessions/a/b/text")),
    (problems.NOT_FOUND, None, lambda http: http.post("/v1", content=b"x")),
    (problems.METHOD_NOT_ALLOWED, None, lambda http: http.put("/v1/sessions")),
    (problems.METHOD_NOT_ALLOWED, None, get("/v1/sessions/book/queries")),
    (problems.METHOD_NOT_ALLOWED, None, lambda http: http.put("/v1/sessions/book/text")),
    (problems.METHOD_NOT_ALLOWED, None, lambda http: http.post("/livez")),
    (problems.SESSION_NOT_FOUND, "id", get("/v1/sessions/never")),
    (problems.SESSION_NOT_FOUND, "id", lambda http: http.delete("/v1/sessions/never")),
    (problems.SESSION_NOT_FOUND, "id", lambda http: http.post("/v1/sessions/never/text", content=b"x")),
    (problems.SESSION_NOT_FOUND, "id", lambda http: http.post("/v1/sessions/never/queries", json={"question": "?"})),
    (problems.INVALID_FIELD, "limit", get("/v1/sessions?limit=0")),
    (problems.INVALID_FIELD, "id", get("/v1/sessions/a.b")),
    (problems.INVALID_FIELD, "name", lambda http: http.post("/v1/sessions", json={"name": "x"})),
    (problems.INVALID_FIELD, "max_tokens", query(b'{"question": "?", "max_tokens": 0}')),
    (problems.INVALID_FIELD, "question", query(b'{"question": " "}')),
    (problems.INVALID_FIELD, "question", query(b'{"question": "\\ud800"}')),
    (problems.INVALID_FIELD, "questions.1", query(b'{"questions": ["?", ""]}')),
    (problems.INVALID_FIELD, "upload-offset", text(b"x", Upload_Offset="x")),
    (problems.INVALID_FIELD, "text", text(b"{}", Content_Type="application/json")),
    (problems.INVALID_FIELD, "ttl_seconds", lambda http: http.post("/v1/sessions", json={"ttl_seconds": 0})),
    (problems.INVALID_FIELD, "Onceread-Receipt", text(b"x", Onceread_Receipt="bm90aGluZw==")),
    (problems.DIGEST_MISMATCH, None, text(b"x", Content_Digest="sha-256=:AAAA:")),
    (problems.SNAPSHOT_NOT_FOUND, "name", get("/v1/sessions/book/snapshots/never")),
    (problems.SNAPSHOT_EXISTS, None, lambda http: http.post("/v1/sessions/book/snapshots", json={"name": "first"})),
    (problems.SESSION_EXISTS, None, lambda http: http.post("/v1/sessions", json={"id": "book"})),
    (problems.OFFSET_MISMATCH, None, text(b"x", Upload_Offset="7")),
    (problems.CONTENT_CONFLICT, None, text(b"x", Upload_Offset="0")),
    (problems.BODY_TOO_LARGE, None, query(b" " * (1 << 20) + b'{"question": "?"}')),
    (
        problems.BODY_TOO_LARGE,
        None,
        lambda http: http.post("/v1/sessions", content=b" " * (1 << 20) + b"{}", headers=JSON),
    ),
    (problems.BODY_TOO_LARGE, None, text(b'{"text": "' + b"x" * (1 << 20) + b'"}', Content_Type="application/json")),
    (problems.UNSUPPORTED_MEDIA_TYPE, None, text(b"x", Content_Type="image/png")),
    (problems.HOST_NOT_ALLOWED, None, text(b"x", Host="evil.example")),
    (problems.ORIGIN_NOT_ALLOWED, None, text(b"x", Origin="http://evil.example")),
]


@pytest.mark.parametrize(("expected", "param", "send"), CASES)
def test_every_refusal_is_a_problem_with_status_code_and_title(
    http: httpx.Client, expected: ProblemType, param: str | None, send: Send
) -> None:
    body = problem(send(http), expected.status, expected.code, param)
    members = {"type", "title", "status", "detail", "request_id", "error"}
    if expected in (problems.OFFSET_MISMATCH, problems.CONTENT_CONFLICT, problems.INVALID_UTF8):
        assert body["expected_offset"] == 6
        members.add("expected_offset")
    assert body.keys() == members
    assert body["title"] == expected.title
    assert body["error"]["type"] == KINDS[expected.status]
    # Nothing of it changed the session, and the connection serves on.
    assert shown(http, "book")["text"]["accepted_bytes"] == 6


def test_every_problem_type_has_a_test() -> None:
    here = {expected for expected, _, _ in CASES}
    assert here.isdisjoint(ELSEWHERE)
    assert here | ELSEWHERE == PROBLEM_TYPES


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/sessions", {"GET", "POST"}),
        ("PUT", "/v1/sessions/book", {"GET", "PATCH", "DELETE"}),
        ("PUT", "/v1/sessions/book/text", {"GET", "HEAD", "PATCH", "POST"}),
        ("DELETE", "/v1/sessions/book/queries", {"POST"}),
        ("POST", "/livez", {"GET"}),
    ],
)
def test_method_not_allowed_lists_the_allowed_methods(
    http: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    reply = http.request(method, path)
    problem(reply, 405, "method_not_allowed")
    assert set(reply.headers["Allow"].split(", ")) == allowed


def test_a_connection_survives_every_refusal(http: httpx.Client) -> None:
    for _, _, send in CASES:
        assert send(http).status_code >= 400
        assert asked(http, "book", max_tokens=1)["object"] == "answer"


def test_a_body_without_content_type_is_not_parsed_as_json(http: httpx.Client) -> None:
    problem(http.post("/v1/sessions/book/queries", content=b'{"question": "?"}'), 422, "invalid_field", "body")


def test_a_refusal_does_not_echo_the_body(http: httpx.Client) -> None:
    for content in (b'{"question": 7, "secret": "hunter2"}', b'{"question": ["hunter2"]}'):
        assert "hunter2" not in query(content)(http).text


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (StoreFull("the disk is full"), problems.STORE_FULL),
        (StoreUnavailable("the disk failed"), problems.STORE_UNAVAILABLE),
        (StaleCheckpoint("version 3 does not follow"), problems.STORE_UNAVAILABLE),
        (DamagedValue("the record of a session"), problems.SESSION_QUARANTINED),
        (EngineStopped("the engine has stopped; restart the server"), problems.NOT_READY),
        (StepFailed("the model failed at this work: secret"), problems.INTERNAL_ERROR),
        (ReadingFailed("the model failed at the text behind offset 7"), problems.INTERNAL_ERROR),
        (ReaderDropped(), problems.NOT_READY),
        (ReaderStopped("the server is shutting down before the text was read"), problems.DRAINING),
        (LeaseHeld("replica 2"), problems.STORE_UNAVAILABLE),
        (RuntimeError("secret"), problems.INTERNAL_ERROR),
        (ExceptionGroup("several", [RuntimeError("secret"), ValueError()]), problems.INTERNAL_ERROR),
    ],
)
def test_failures_of_store_and_engine_are_problems(failure: Exception, expected: ProblemType) -> None:
    response = error_response(failure)
    body = response.body("req_1")
    must_be_problem(body, expected.status, expected.code)
    assert body["request_id"] == "req_1"
    assert body["error"]["type"] == "server_error"
    assert "secret" not in body["detail"]
    # A 503 or 507 passes, so it says when to come again; a 500 does not.
    assert ("Retry-After" in response.headers) == (expected is not problems.INTERNAL_ERROR)
