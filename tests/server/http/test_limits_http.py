"""Every limit over HTTP: a request at the limit is accepted, and one beyond it refused by name."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.http import api_keys
from testing.models import prose
from testing.replies import appended, created, events, eventually, metric, post, problem
from testing.serving import Server, client

BODY_BYTES, JSON_DEPTH, QUESTION_CHARACTERS, ANSWER_TOKENS, QUESTIONS = 2048, 5, 40, 9, 3
HEADER_BYTES, URL_BYTES = 600, 200
JSON = {"Content-Type": "application/json"}
QUESTION = {"question": "Who?", "max_tokens": 1}
Send = Callable[[httpx.Client, int], httpx.Response]


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    settings = {
        "body_bytes": BODY_BYTES,
        "json_depth": JSON_DEPTH,
        "question_characters": QUESTION_CHARACTERS,
        "answer_tokens_max": ANSWER_TOKENS,
        "questions_max": QUESTIONS,
        "header_bytes": HEADER_BYTES,
        "url_bytes": URL_BYTES,
    }
    with Server(tiny_weights, "memory://", **{name: str(value) for name, value in settings.items()}) as server:
        with client(server) as http:
            created(http, id="book")
        yield server


def ask(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post("/v1/sessions/book/queries", json=QUESTION | body)


def nested(levels: int) -> bytes:
    return b'{"nested": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def sized(length: int, **body: Any) -> bytes:
    """JSON of so many bytes, white space included."""
    written = json.dumps(body).encode()
    return written + b" " * (length - len(written))


def url(length: int) -> str:
    path = "/v1/sessions?limit=1&x="
    return path + "x" * (length - len(path))


LIMITS: dict[str, tuple[int, int, str, Send]] = {
    "a JSON body": (
        BODY_BYTES,
        413,
        "body_too_large",
        lambda http, n: http.post("/v1/sessions/book/queries", content=sized(n, **QUESTION), headers=JSON),
    ),
    "a JSON body that is streamed": (
        BODY_BYTES,
        413,
        "body_too_large",
        lambda http, n: http.post("/v1/sessions/book/queries", content=iter([sized(n, **QUESTION)]), headers=JSON),
    ),
    "text as JSON": (
        BODY_BYTES,
        413,
        "body_too_large",
        lambda http, n: post(http, "book", sized(n, text="a"), Content_Type="application/json"),
    ),
    "a question": (
        QUESTION_CHARACTERS,
        422,
        "invalid_field",
        lambda http, n: ask(http, question="?" * n),
    ),
    "the tokens of an answer": (ANSWER_TOKENS, 422, "invalid_field", lambda http, n: ask(http, max_tokens=n)),
    "questions at once": (
        QUESTIONS,
        422,
        "invalid_field",
        lambda http, n: http.post("/v1/sessions/book/queries", json={"questions": ["Who?"] * n, "max_tokens": 1}),
    ),
    "a URL": (URL_BYTES, 400, "invalid_request", lambda http, n: http.get(url(n))),
}


@pytest.mark.parametrize("what", LIMITS)
def test_a_request_at_a_limit_is_accepted_and_one_beyond_it_refused(http: httpx.Client, what: str) -> None:
    limit, status, code, send = LIMITS[what]
    for taken in (limit - 1, limit):
        assert send(http, taken).status_code == 200, send(http, taken).text
    reply = send(http, limit + 1)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert str(limit) in reply.json()["detail"]
    assert send(http, limit).status_code == 200


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/sessions/book/queries", "/v1/sessions/book/text"])
def test_json_nesting_limit(http: httpx.Client, path: str) -> None:
    for levels in (JSON_DEPTH - 1, JSON_DEPTH):
        # Not too deep: what is wrong is the field.
        problem(http.post(path, content=nested(levels), headers=JSON), 422, "invalid_field", "nested")
    refused = problem(http.post(path, content=nested(JSON_DEPTH + 1), headers=JSON), 400, "invalid_request")
    assert f"nested {JSON_DEPTH + 1} deep, at most {JSON_DEPTH}" in refused["detail"]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":', b'{"question": [', b'"', b'{"question": "\\'])
def test_endless_nesting_and_endless_strings_are_refused_cleanly(server: Server, opening: bytes) -> None:
    with client(server) as http:
        for path in ("/v1/sessions", "/v1/sessions/book/queries", "/v1/sessions/book/text"):
            body = (opening * BODY_BYTES)[:BODY_BYTES]
            problem(http.post(path, content=body, headers=JSON), 400, "invalid_request")
        lines = (opening * BODY_BYTES)[: BODY_BYTES - 1] + b"\n"
        reply = post(http, "book", lines, Content_Type="application/x-ndjson")
        problem(reply, 400, "invalid_request")
        assert http.get("/livez").status_code == 200
    assert not any(" ERROR " in line for line in server.log)


def raw(server: Server, request: bytes) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to a request that no client would send."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        reply = b""
        while data := connection.recv(65536):
            reply += data
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"\r\nx-request-id: " in head
    return int(head.split()[1]), json.loads(body) if body else {}


@pytest.mark.parametrize(("more", "status"), [(-1, 200), (0, 200), (1, 400)])
@pytest.mark.parametrize("count", [1, 20])
def test_the_size_of_all_headers_is_limited(server: Server, more: int, status: int, count: int) -> None:
    first = b"Host: x\r\nConnection: close\r\n"
    left = HEADER_BYTES + more - len(first)
    lengths = [left // count] * (count - 1) + [left - left // count * (count - 1)]
    headers = b"".join(b"X: " + b"x" * (length - len(b"X: \r\n")) + b"\r\n" for length in lengths)
    assert len(first + headers) == HEADER_BYTES + more
    found, body = raw(server, b"GET /livez HTTP/1.1\r\n" + first + headers + b"\r\n")
    assert found == status
    if status == 400:
        assert body["error"]["code"] == "invalid_request"
        assert f"more than {HEADER_BYTES} bytes" in body["detail"]


@pytest.mark.parametrize(("more", "status"), [(0, b"100"), (1, b"413")])
def test_a_too_large_content_length_is_refused_without_100_continue(server: Server, more: int, status: bytes) -> None:
    head = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {BODY_BYTES + more}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)


def test_an_endless_url_is_refused_before_it_ends(server: Server) -> None:
    status, body = raw(server, b"GET /" + b"x" * URL_BYTES)
    assert (status, body["error"]["code"]) == (400, "invalid_request")
    assert f"longer than {URL_BYTES} bytes" in body["detail"]


def test_refusals_of_limits_are_counted(server: Server, http: httpx.Client) -> None:
    raw(server, b"GET /" + b"x" * URL_BYTES)
    before = metric(http, 'onceread_requests_rejected_total{reason="invalid_request"}')
    raw(server, b"GET /" + b"x" * URL_BYTES)
    assert metric(http, 'onceread_requests_rejected_total{reason="invalid_request"}') == before + 1


REQUESTS = 12


class Tenants:
    """A server whose tenants have quotas, and a key of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens = {name: self._token(name) for name in ("busy", "writer", "asker", "other")}

    def _token(self, tenant: str) -> str:
        with api_keys.changing(self.path) as known:
            changed, _, token = known.with_new(tenant, ("admin",), 0.0, None)
            api_keys.save(self.path, changed)
        return token


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    return Tenants(tmp_path_factory.mktemp("keys") / "api_keys.json")


@pytest.fixture(scope="module")
def limited(roomy_weights: Path, tenants: Tenants) -> Iterator[Server]:
    settings = {
        "keys_file": str(tenants.path),
        # Of each a whole one comes back in five seconds, or much later.
        "tenant_requests_per_second": str(REQUESTS / 60),
        "tenant_text_bytes_per_second": str(30 / 60),
        "tenant_answers_max": "1",
    }
    with Server(roomy_weights, "memory://", **settings) as server:
        yield server


@pytest.fixture
def of(limited: Server, tenants: Tenants) -> Iterator[Callable[[str], httpx.Client]]:
    """Clients by their tenants."""
    clients: list[httpx.Client] = []

    def of(tenant: str) -> httpx.Client:
        http = httpx.Client(
            base_url=limited.url, timeout=60, headers={"Authorization": f"Bearer {tenants.tokens[tenant]}"}
        )
        clients.append(http)
        return http

    yield of
    for http in clients:
        http.close()


def test_request_rate_limit_over_http(of: Callable[[str], httpx.Client]) -> None:
    busy = of("busy")
    replies = [busy.get("/v1/sessions") for _ in range(REQUESTS)]
    assert {reply.status_code for reply in replies} == {200}
    assert replies[0].headers["RateLimit-Policy"] == (
        f'"requests";q={REQUESTS};w=60;qu="requests", "text";q=30;w=60;qu="content-bytes", '
        '"answers";q=1;qu="concurrent-requests"'
    )
    assert replies[0].headers["RateLimit"].startswith(f'"requests";r={REQUESTS - 1};t=')
    for reply in (busy.get("/v1/sessions"), busy.post("/v1/sessions/x/queries", json={"question": "?"})):
        refused = problem(reply, 429, "quota_exceeded")
        assert refused["error"]["type"] == "rate_limit_error"
        assert 1 <= int(reply.headers["Retry-After"]) <= 5
        assert reply.headers["RateLimit"].startswith('"requests";r=0;t=')
        assert "RateLimit-Policy" in reply.headers
    # What needs no key has no quota, and another tenant has its own.
    assert busy.get("/readyz").status_code == 200
    assert "RateLimit" not in busy.get("/readyz").headers
    assert of("other").get("/v1/sessions").status_code == 200


def test_upload_rate_limit_over_http(of: Callable[[str], httpx.Client]) -> None:
    writer = of("writer")
    session = created(writer)
    text = prose(81, 100).encode()[:40]
    # An upload that has begun is accepted beyond the limit, and the next one is refused.
    for piece in (text[:9], text[9:29], text[29:]):
        assert post(writer, session, piece).status_code == 200
    reply = post(writer, session, b"more")
    assert "the upload rate limit is reached" in problem(reply, 429, "quota_exceeded")["detail"]
    assert 10 <= int(reply.headers["Retry-After"]) <= 24
    assert '"text";r=0;t=' in reply.headers["RateLimit"]
    assert writer.get(f"/v1/sessions/{session}").json()["text"]["accepted_bytes"] == len(text)


def test_concurrent_answers_limit_over_http(of: Callable[[str], httpx.Client]) -> None:
    asker, another = of("asker"), of("asker")
    session = created(asker)
    appended(asker, session, b"some text")
    path = f"/v1/sessions/{session}/queries"
    with asker.stream("POST", path, json={"question": "Who came?", "max_tokens": 1024, "stream": True}) as reply:
        stream = events(reply.iter_lines())
        assert next(stream)[0] == "delta"
        refused = another.post(path, json={"question": "?"})
        assert "requests are being answered" in problem(refused, 429, "quota_exceeded")["detail"]
        assert '"answers";r=0' in refused.headers["RateLimit"]
        # What asks nothing goes on.
        assert another.get(f"/v1/sessions/{session}").status_code == 200
        assert list(stream)[-1][0] == "done"
    # The client may have the end of the answer before the server has released its slot.
    eventually(lambda: another.post(path, json={"question": "?", "max_tokens": 1}).status_code == 200)
