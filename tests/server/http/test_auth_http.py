"""API keys over HTTP: no response without a key, scopes, tenants' isolation, and no token in the log."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.http import api_keys
from server.http.permissions import CALLS, OPEN, SCOPES, Call, Scope
from testing.models import prose
from testing.replies import appended, asked, created, eventually, metric, problem, shown
from testing.serving import ROOT, Server, client

JSON = {"Content-Type": "application/json"}
WRONG = f"or_{'0' * 16}_{'5' * 64}"


class Keyring:
    """The keys file of the module's server, and every token of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens: list[str] = []
        self.of_scope = {scope: self.add("acme", scope) for scope in SCOPES}
        self.stranger = self.add("umbra", "admin")
        self.expired = self.add("acme", "admin", expires_at=time.time())

    def add(self, tenant: str, *scopes: Scope, expires_at: float | None = None) -> str:
        with api_keys.changing(self.path) as known:
            changed, _, token = known.with_new(tenant, scopes, time.time(), expires_at)
            api_keys.save(self.path, changed)
        self.tokens.append(token)
        return token


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return Keyring(tmp_path_factory.mktemp("keys") / "api_keys.json")


@pytest.fixture(scope="module")
def server(tiny_weights: Path, keyring: Keyring) -> Iterator[Server]:
    # With keys it may listen on all addresses.
    settings = {"keys_file": str(keyring.path), "log_level": "debug", "host": "0.0.0.0"}
    with Server(tiny_weights, "memory://", **settings) as server:
        yield server


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.fixture
def http(server: Server, keyring: Keyring) -> Iterator[httpx.Client]:
    """A client with an admin's key."""
    with client(server) as http:
        http.headers.update(bearer(keyring.of_scope["admin"]))
        yield http


@pytest.fixture
def bare(server: Server) -> Iterator[httpx.Client]:
    """A client without a key."""
    with client(server) as bare:
        yield bare


def send(http: httpx.Client, call: Call, session: str, token: str) -> httpx.Response:
    """The call as a client would make it."""
    path = call.path.replace("{id}", session).replace("{name}", "first").replace("{model}", "tiny")
    bodies: dict[tuple[str, str], dict[str, Any]] = {
        ("POST", "/v1/sessions"): {"json": {"from": {"session": session}}},
        ("PATCH", "/v1/sessions/{id}"): {"json": {"metadata": {"a": "b"}}},
        ("POST", "/v1/sessions/{id}/text"): {"content": b"more"},
        ("PATCH", "/v1/sessions/{id}/text"): {
            "content": b"more",
            "headers": {"Upload-Offset": "0", "Content-Type": "application/partial-upload"},
        },
        ("POST", "/v1/sessions/{id}/queries"): {"json": {"question": "Who came?", "max_tokens": 1}},
        ("POST", "/v1/sessions/{id}/snapshots"): {"json": {"name": "first"}},
        ("POST", "/v1/sessions/{id}/restore"): {"json": {"snapshot": "first"}},
        ("PUT", "/v1/sessions/{id}/memory"): {"content": b"no memory"},
        ("POST", "/v1/chat/completions"): {
            "json": {
                "model": "tiny",
                "messages": [{"role": "user", "content": "Who?"}],
                "max_tokens": 1,
                "session_id": session,
            }
        },
        ("POST", "/v1/completions"): {
            "json": {"model": "tiny", "prompt": "Who?", "max_tokens": 1, "session_id": session}
        },
    }
    options = bodies.get((call.method, call.path), {})
    options["headers"] = options.get("headers", {}) | bearer(token)
    return http.request(call.method, path, **options)


@pytest.mark.parametrize("path", sorted(OPEN))
def test_open_paths_need_no_key(bare: httpx.Client, path: str) -> None:
    assert bare.get(path).status_code == 200
    assert bare.get(path, headers=bearer(WRONG)).status_code == 200
    assert bare.post(path).status_code == 405


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_every_other_path_needs_a_valid_key(bare: httpx.Client, keyring: Keyring, call: Call) -> None:
    for token in ("", WRONG, keyring.expired, keyring.of_scope["admin"][:-1]):
        reply = send(bare, call, "never", token)
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        if call.method == "HEAD":
            assert reply.status_code == 401
        else:
            body = problem(reply, 401, "invalid_api_key")
            assert body["error"]["type"] == "authentication_error"
            assert token not in reply.text or not token


def test_the_files_of_the_page_need_no_key(bare: httpx.Client) -> None:
    for headers in ({}, bearer(WRONG)):
        assert bare.get("/console/main.js", headers=headers).status_code == 200
        problem(bare.get("/console/none.js", headers=headers), 404, "not_found")
        problem(bare.post("/console/main.js", headers=headers), 405, "method_not_allowed")


def test_unknown_paths_need_a_key_too(bare: httpx.Client, http: httpx.Client) -> None:
    problem(bare.get("/nowhere"), 401, "invalid_api_key")
    problem(bare.get("/console"), 401, "invalid_api_key")
    problem(http.get("/nowhere"), 404, "not_found")
    problem(http.put("/v1/sessions"), 405, "method_not_allowed")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_a_key_without_the_scope_gets_403(bare: httpx.Client, keyring: Keyring, call: Call) -> None:
    for scope, token in keyring.of_scope.items():
        reply = send(bare, call, "never", token)
        if call.scope in (None, scope) or scope == "admin":
            assert reply.status_code not in (401, 403), reply.text
        elif call.method == "HEAD":
            assert reply.status_code == 403
        else:
            body = problem(reply, 403, "not_allowed")
            assert body["scope"] == call.scope
            assert f"the scope {call.scope}" in body["detail"]
            assert body["error"]["type"] == "permission_error"


def test_a_key_is_refused_before_the_body_is_read(server: Server) -> None:
    head = "POST /v1/sessions/book/text HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_a_session_of_another_tenant_is_not_found(http: httpx.Client, bare: httpx.Client, keyring: Keyring) -> None:
    theirs = created(http, id="theirs", metadata={"title": "a secret"})
    appended(http, theirs, prose(71, 600).encode())
    http.post(f"/v1/sessions/{theirs}/snapshots", json={"name": "first"})
    before = shown(http, theirs)
    about_a_session = [
        call for call in CALLS if "{id}" in call.path or (call.method, call.phase) == ("POST", "queries")
    ]
    for call in (*about_a_session, Call("POST", "/v1/sessions", "read")):
        replies = [send(bare, call, session, keyring.stranger) for session in (theirs, "never1")]
        found, never = (without_names(reply, "theirs", "never1") for reply in replies)
        assert found == never, call
        # A memory that comes in makes a session, so the name is free for either; this one is none.
        expected = {422, 400} if call.method == "PUT" else {404}
        assert replies[0].status_code in expected, (call, replies[0].text)
    assert shown(http, theirs) == before
    assert asked(http, theirs)["memory"]["offset"] == before["text"]["accepted_bytes"]


def without_names(reply: httpx.Response, *names: str) -> tuple[int, str, set[str]]:
    """What is the same in two replies that tell nothing of their sessions."""
    text = reply.text.replace(reply.headers["X-Request-ID"], "")
    for name in names:
        text = text.replace(name, "")
    return reply.status_code, text, set(reply.headers)


def test_a_list_shows_only_the_tenants_sessions(bare: httpx.Client, http: httpx.Client, keyring: Keyring) -> None:
    created(http, id="listed")
    theirs = bearer(keyring.stranger)
    assert bare.post("/v1/sessions", json={"id": "listed"}, headers=theirs).status_code == 201
    assert bare.delete("/v1/sessions/listed", headers=theirs).status_code == 204
    assert [found["id"] for found in bare.get("/v1/sessions", headers=theirs).json()["data"]] == []
    assert "listed" in [found["id"] for found in http.get("/v1/sessions?limit=100").json()["data"]]


def test_all_keys_of_a_tenant_see_the_same_sessions(http: httpx.Client, keyring: Keyring) -> None:
    session = created(http)
    for token in keyring.of_scope.values():
        reply = http.get(f"/v1/sessions/{session}", headers=bearer(token))
        assert reply.json()["id"] == session


def test_created_and_revoked_keys_take_effect_without_a_restart(bare: httpx.Client, keyring: Keyring) -> None:
    token = keyring.add("acme", "ask")
    becomes(bare, token, 200)
    done = subprocess.run(
        [sys.executable, "-m", "server", "keys", "revoke", api_keys.id_of(token)],
        cwd=ROOT,
        env={"ONCEREAD_KEYS_FILE": str(keyring.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    becomes(bare, token, 401)
    assert "revoked" in bare.get("/v1/sessions", headers=bearer(token)).json()["detail"]


def becomes(bare: httpx.Client, token: str, status: int) -> None:
    """Returns once a request with the key gets this status."""
    eventually(lambda: bare.get("/v1/sessions", headers=bearer(token)).status_code == status)


def test_refusals_are_counted(bare: httpx.Client, keyring: Keyring) -> None:
    def counts() -> list[float]:
        for token in (WRONG, keyring.of_scope["read"]):
            assert bare.delete("/v1/sessions/never", headers=bearer(token)).status_code in (401, 403)
        return [
            metric(bare, f'onceread_requests_rejected_total{{reason="{code}"}}')
            for code in ("invalid_api_key", "not_allowed")
        ]

    before = counts()
    assert counts() == [count + 1 for count in before]


def test_no_token_is_ever_logged(server: Server, bare: httpx.Client, keyring: Keyring) -> None:
    secret = keyring.of_scope["admin"]
    for header in (f"Bearer {secret}", f"Bearer {secret}x", f"Basic {secret}", secret, f"Bearer {secret} {secret}"):
        bare.get("/v1/sessions", headers={"Authorization": header})
        bare.post("/v1/sessions", content=b"{", headers=JSON | {"Authorization": header, "X-Request-ID": "x"})
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {secret}\r\nno header\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    keyring.path.write_text(keyring.path.read_text().replace('"read"', '"reed"'))

    def damage_is_logged() -> bool:
        bare.get("/v1/sessions", headers=bearer(secret))
        return any("is damaged" in line for line in server.log)

    eventually(damage_is_logged)
    log = "".join(server.log)
    assert "is damaged" in log
    assert "Invalid HTTP request" in log
    for token in keyring.tokens:
        assert token not in log
        assert token.rpartition("_")[2] not in log
    content = keyring.path.read_text()
    assert api_keys.Keys.model_validate_json(content.replace('"reed"', '"read"')).pepper not in log


def test_remember_needs_the_scope_read(bare: httpx.Client, keyring: Keyring) -> None:
    bare.post("/v1/sessions", json={"id": "remembering"}, headers=bearer(keyring.of_scope["admin"]))
    asking = bearer(keyring.of_scope["ask"])
    native = {"question": "?", "max_tokens": 1}
    chat = {"messages": [{"role": "user", "content": "?"}], "max_tokens": 1, "session_id": "remembering"}
    for path, body in (("/v1/sessions/remembering/queries", native), ("/v1/chat/completions", chat)):
        assert bare.post(path, json=body, headers=asking).status_code == 200
        problem(bare.post(path, json=body | {"remember": True}, headers=asking), 403, "not_allowed")
        admin = bearer(keyring.of_scope["admin"])
        assert bare.post(path, json=body | {"remember": True}, headers=admin).status_code == 200
