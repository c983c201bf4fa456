"""Every error that a request can bring about has its status, its code, and the one body that all routes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from server.engine.engine import EngineStopped
from server.http.problems import as_api_error
from server.sessions import errors
from server.store.base import DamagedValue, StaleCheckpoint, StoreFull, StoreUnavailable
from testing.replies import asked, created, must_be_problem, problem, shown
from testing.serving import Server, client

JSON = {"Content-Type": "application/json"}
# What needs a server in another state: the tests of restarts and of overload bring these about, the last one of
# this module what takes a failure underneath.
ELSEWHERE = {
    errors.FingerprintMismatch,
    errors.SessionExpired,
    errors.TextRolledBack,
    errors.InvalidApiKey,
    errors.NotAllowed,
    errors.TooSlow,
    errors.QuotaExceeded,
    errors.Overloaded,
    errors.InternalError,
    errors.NotReady,
    errors.Draining,
    errors.StoreUnavailable,
    errors.SessionQuarantined,
    errors.StoreFull,
}
KINDS = {
    400: "invalid_request_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
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


CASES: list[tuple[type[errors.ApiError], str | None, Send]] = [
    (errors.InvalidRequest, None, query(b"{")),
    (errors.InvalidRequest, None, query(b'{"question": "\xff"}')),
    (errors.InvalidRequest, None, text(b"{", Content_Type="application/json")),
    (errors.InvalidRequest, None, lambda http: http.post("/v1/sessions", content=b"{", headers=JSON)),
    (errors.InvalidUtf8, None, text(b"\xff")),
    (errors.NotFound, None, get("/nowhere")),
    (errors.NotFound, None, get("/v1/sessions/book/nowhere")),
    (errors.NotFound, None, get("/v1/sessions/a/b/text")),
    (errors.NotFound, None, lambda http: http.post("/v1", content=b"x")),
    (errors.MethodNotAllowed, None, lambda http: http.put("/v1/sessions")),
    (errors.MethodNotAllowed, None, get("/v1/sessions/book/queries")),
    (errors.MethodNotAllowed, None, get("/v1/sessions/book/text")),
    (errors.MethodNotAllowed, None, lambda http: http.post("/livez")),
    (errors.SessionNotFound, "id", get("/v1/sessions/never")),
    (errors.SessionNotFound, "id", lambda http: http.delete("/v1/sessions/never")),
    (errors.SessionNotFound, "id", lambda http: http.post("/v1/sessions/never/text", content=b"x")),
    (errors.SessionNotFound, "id", lambda http: http.post("/v1/sessions/never/queries", json={"question": "?"})),
    (errors.InvalidField, "limit", get("/v1/sessions?limit=0")),
    (errors.InvalidField, "id", get("/v1/sessions/a.b")),
    (errors.InvalidField, "name", lambda http: http.post("/v1/sessions", json={"name": "x"})),
    (errors.InvalidField, "max_tokens", query(b'{"question": "?", "max_tokens": 0}')),
    (errors.InvalidField, "question", query(b'{"question": " "}')),
    (errors.InvalidField, "question", query(b'{"question": "\\ud800"}')),
    (errors.InvalidField, "questions.1", query(b'{"questions": ["?", ""]}')),
    (errors.InvalidField, "upload-offset", text(b"x", Upload_Offset="x")),
    (errors.InvalidField, "text", text(b"{}", Content_Type="application/json")),
    (errors.InvalidField, "ttl_seconds", lambda http: http.post("/v1/sessions", json={"ttl_seconds": 0})),
    (errors.InvalidField, "Onceread-Receipt", text(b"x", Onceread_Receipt="bm90aGluZw==")),
    (errors.DigestMismatch, None, text(b"x", Content_Digest="sha-256=:AAAA:")),
    (errors.SnapshotNotFound, "name", get("/v1/sessions/book/snapshots/never")),
    (errors.SnapshotExists, None, lambda http: http.post("/v1/sessions/book/snapshots", json={"name": "first"})),
    (errors.SessionExists, None, lambda http: http.post("/v1/sessions", json={"id": "book"})),
    (errors.OffsetMismatch, None, text(b"x", Upload_Offset="7")),
    (errors.ContentConflict, None, text(b"x", Upload_Offset="0")),
    (errors.BodyTooLarge, None, query(b" " * (1 << 20) + b'{"question": "?"}')),
    (errors.BodyTooLarge, None, lambda http: http.post("/v1/sessions", content=b" " * (1 << 20) + b"{}", headers=JSON)),
    (errors.BodyTooLarge, None, text(b'{"text": "' + b"x" * (1 << 20) + b'"}', Content_Type="application/json")),
    (errors.UnsupportedMediaType, None, text(b"x", Content_Type="image/png")),
]


@pytest.mark.parametrize(("kind", "param", "send"), CASES)
def test_a_refusal_is_a_problem(http: httpx.Client, kind: type[errors.ApiError], param: str | None, send: Send) -> None:
    body = problem(send(http), kind.status, kind.code, param)
    members = {"type", "title", "status", "detail", "request_id", "error"}
    if kind in (errors.OffsetMismatch, errors.ContentConflict, errors.InvalidUtf8):
        assert body["expected_offset"] == 6
        members.add("expected_offset")
    assert body.keys() == members
    assert body["title"] == kind.title
    assert body["error"]["type"] == KINDS[kind.status]
    # Nothing of it changed the session, and the connection serves on.
    assert shown(http, "book")["text"]["accepted_bytes"] == 6


def test_every_code_is_met_here_or_where_it_belongs() -> None:
    here = {kind for kind, _, _ in CASES}
    assert here.isdisjoint(ELSEWHERE)
    assert here | ELSEWHERE == set(errors.ApiError.__subclasses__())


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/sessions", {"GET", "POST"}),
        ("PUT", "/v1/sessions/book", {"GET", "PATCH", "DELETE"}),
        ("GET", "/v1/sessions/book/text", {"HEAD", "PATCH", "POST"}),
        ("DELETE", "/v1/sessions/book/queries", {"POST"}),
        ("POST", "/livez", {"GET"}),
    ],
)
def test_a_method_that_is_not_taken_is_told_which_are(
    http: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    reply = http.request(method, path)
    problem(reply, 405, "method_not_allowed")
    assert set(reply.headers["Allow"].split(", ")) == allowed


def test_one_client_is_served_on_through_every_refusal(http: httpx.Client) -> None:
    for _, _, send in CASES:
        assert send(http).status_code >= 400
        assert asked(http, "book", max_tokens=1)["object"] == "answer"


def test_a_body_without_a_type_is_not_taken_for_json(http: httpx.Client) -> None:
    problem(http.post("/v1/sessions/book/queries", content=b'{"question": "?"}'), 422, "invalid_field", "body")


def test_a_refusal_repeats_nothing_of_what_was_sent(http: httpx.Client) -> None:
    for content in (b'{"question": 7, "secret": "hunter2"}', b'{"question": ["hunter2"]}'):
        assert "hunter2" not in query(content)(http).text


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (StoreFull("the disk is full"), errors.StoreFull),
        (StoreUnavailable("the disk failed"), errors.StoreUnavailable),
        (StaleCheckpoint("version 3 does not follow"), errors.StoreUnavailable),
        (DamagedValue("the record of a session"), errors.SessionQuarantined),
        (EngineStopped("the engine has stopped; restart the server"), errors.NotReady),
        (RuntimeError("secret"), errors.InternalError),
        (ExceptionGroup("several", [RuntimeError("secret"), ValueError()]), errors.InternalError),
    ],
)
def test_a_failure_underneath_is_a_problem_too(failure: Exception, kind: type[errors.ApiError]) -> None:
    known = as_api_error(failure)
    body = known.body("req_1")
    must_be_problem(body, kind.status, kind.code)
    assert body["request_id"] == "req_1"
    assert body["error"]["type"] == "server_error"
    assert "secret" not in body["detail"]
    # A 503 or 507 passes, so it says when to come again; a 500 does not.
    assert ("Retry-After" in (known.headers or {})) == (kind is not errors.InternalError)
