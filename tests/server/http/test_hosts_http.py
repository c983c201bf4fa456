"""What other people's web pages can do to a real server: by DNS rebinding, by forms, and where they are named."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.http import api_keys
from server.http.origins import REQUEST_HEADERS, RESPONSE_HEADERS
from server.http.permissions import CALLS, OPEN
from testing.replies import appended, created, metric, problem, shown
from testing.serving import Server, client

NOTES = "https://notes.example"
JSON = "Content-Type: application/json"
UNGUARDED = {"/livez", "/readyz", "/metrics"}


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        with client(server) as http:
            created(http, id="my-book")
            appended(http, "my-book", b"Mary went to the kitchen. ")
        yield server


@pytest.fixture(scope="module")
def known(tiny_weights: Path) -> Iterator[Server]:
    """A server that names another host and a page."""
    settings = {"hosts": "books.example,notes.example:8443", "origins": NOTES, "tenant_requests_per_second": "1000"}
    with Server(tiny_weights, "memory://", **settings) as server:
        yield server


def raw(server: Server, method: str, path: str, *headers: str, body: bytes = b"") -> tuple[int, str]:
    """The status and the whole response to a request with exactly these header lines, in HTTP/1.1."""
    lines = [f"{method} {path} HTTP/1.1", *headers, "Connection: close", f"Content-Length: {len(body)}", "", ""]
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall("\r\n".join(lines).encode() + body)
        reply = b""
        while data := connection.recv(65536):
            reply += data
    return int(reply.split()[1]), reply.decode()


def test_a_page_whose_name_is_resolved_to_this_server_gets_nothing(server: Server, http: httpx.Client) -> None:
    before = shown(http, "my-book")
    rebound = f"Host: evil.example:{server.port}", f"Origin: http://evil.example:{server.port}"
    for call in CALLS:
        path = call.path.replace("{id}", "my-book")
        status, reply = raw(server, call.method, path, *rebound, "Sec-Fetch-Site: same-origin")
        assert status == 421, call
        assert "my-book" not in reply
        if call.method != "HEAD":
            assert "host_not_allowed" in reply
            assert "ONCEREAD_HOSTS" in reply
    assert shown(http, "my-book") == before


@pytest.mark.parametrize("path", sorted({*OPEN, "/console/main.js", "/docs/", "/nowhere"} - UNGUARDED))
def test_a_foreign_name_gets_no_page_and_no_description(server: Server, path: str) -> None:
    assert raw(server, "GET", path, "Host: evil.example")[0] == 421
    assert raw(server, "GET", path, f"Host: 127.0.0.1:{server.port}")[0] != 421


@pytest.mark.parametrize("path", sorted(UNGUARDED))
def test_probes_and_metrics_are_asked_for_by_any_address(server: Server, path: str) -> None:
    for headers in ([], ["Host: 10.1.2.3:8000"], ["Host: a", "Host: b"]):
        assert raw(server, "GET", path, *headers)[0] == 200


def test_a_request_without_a_host_or_with_two_is_refused(server: Server) -> None:
    here = f"Host: localhost:{server.port}"
    assert raw(server, "GET", "/v1/sessions", here)[0] == 200
    for headers in ([], [here, here], [here, "Host: evil.example"], ["Host: evil.example", here], ["Host:"]):
        assert raw(server, "GET", "/v1/sessions", *headers)[0] == 421, headers


def test_a_form_or_a_script_of_another_page_changes_nothing(server: Server, http: httpx.Client) -> None:
    before = shown(http, "my-book")
    here = f"Host: 127.0.0.1:{server.port}"
    text = "Content-Type: text/plain"
    pages = [
        ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"],
        ["Origin: null"],
        ["Origin: http://localhost:3000", "Sec-Fetch-Site: same-site"],
        ["Sec-Fetch-Site: cross-site"],
        [f"Origin: http://127.0.0.1:{server.port}", "Origin: http://evil.example"],
    ]
    for page in pages:
        for method, path in (
            ("POST", "/v1/sessions/my-book/text"),
            ("POST", "/v1/sessions/my-book/rebuild"),
            ("POST", "/v1/sessions"),
            ("DELETE", "/v1/sessions/my-book"),
        ):
            status, reply = raw(server, method, path, here, text, *page, body=b"Mary went to the moon. ")
            assert (status, "origin_not_allowed" in reply) == (403, True), (page, method, path)
            assert "access-control" not in reply.lower()
    assert shown(http, "my-book") == before
    assert len(http.get("/v1/sessions").json()["data"]) == 1


def test_the_own_page_and_clients_that_are_no_browsers_may_do_everything(server: Server, http: httpx.Client) -> None:
    for headers in ({}, {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert http.post("/v1/sessions", json={"id": "own"}, headers=headers).status_code == 201
        assert http.delete("/v1/sessions/own", headers=headers).status_code == 204


def test_refusals_are_problems_with_the_requests_id_and_are_counted(server: Server, http: httpx.Client) -> None:
    counted = 'onceread_requests_rejected_total{reason="host_not_allowed"}'
    problem(http.get("/v1/sessions", headers={"Host": "evil.example"}), 421, "host_not_allowed")
    before = metric(http, counted)
    reply = http.get("/v1/sessions", headers={"Host": "evil.example", "X-Request-ID": "mine"})
    assert problem(reply, 421, "host_not_allowed")["request_id"] == reply.headers["X-Request-ID"] == "mine"
    assert metric(http, counted) == before + 1


def test_a_foreign_page_is_refused_before_its_body_is_read(server: Server) -> None:
    head = "POST /v1/sessions/my-book/text HTTP/1.1\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n"
    for more in ("Host: evil.example", "Host: localhost\r\nOrigin: http://evil.example"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(f"{head}{more}\r\n\r\n".encode())
            assert re.match(rb"HTTP/1.1 (421|403) ", connection.recv(65536))


def test_without_named_origins_no_preflight_is_granted(server: Server, http: httpx.Client) -> None:
    reply = http.options("/v1/sessions", headers={"Origin": NOTES, "Access-Control-Request-Method": "POST"})
    problem(reply, 405, "method_not_allowed")
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert not [name for name in http.get("/version", headers={"Origin": NOTES}).headers if name.startswith("access")]


def test_a_named_host_is_a_name_of_the_server(known: Server) -> None:
    for host, status in (
        ("books.example", 200),
        ("BOOKS.example.:1", 200),
        ("notes.example:8443", 200),
        ("notes.example", 421),
        ("evil.example", 421),
    ):
        assert raw(known, "GET", "/v1/sessions", f"Host: {host}")[0] == status, host
    own = "Host: books.example", "Origin: https://books.example"
    assert raw(known, "POST", "/v1/sessions", *own, JSON, body=b"{}")[0] == 201


def test_a_preflight_of_a_named_page_is_answered(known: Server) -> None:
    asked = {"Origin": NOTES, "Access-Control-Request-Headers": ", ".join(REQUEST_HEADERS).lower()}
    with client(known) as http:
        for call in CALLS:
            path = call.path.replace("{id}", "book")
            reply = http.options(path, headers={**asked, "Access-Control-Request-Method": call.method})
            assert reply.status_code == 200, reply.text
            assert reply.headers["Access-Control-Allow-Origin"] == NOTES
            assert call.method in reply.headers["Access-Control-Allow-Methods"].split(", ")
            assert "Access-Control-Allow-Credentials" not in reply.headers
        for wrong in (
            {"Origin": "https://evil.example"},
            {"Access-Control-Request-Method": "TRACE"},
            {"Access-Control-Request-Headers": "x-other"},
        ):
            headers = {**asked, "Access-Control-Request-Method": "POST", **wrong}
            assert http.options("/v1/sessions", headers=headers).status_code == 400, wrong
        private = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"}
        reply = http.options("/v1/sessions", headers={**asked, **private})
        assert reply.headers["Access-Control-Allow-Private-Network"] == "true"


def test_a_named_page_may_write_and_reads_results_and_refusals(known: Server) -> None:
    page = {"Origin": NOTES, "Sec-Fetch-Site": "cross-site"}
    with client(known) as http:
        session = created(http)
        sent = http.post(f"/v1/sessions/{session}/text", content=b"text", headers=page)
        missing = http.get("/v1/sessions/never", headers=page)
        assert (sent.status_code, missing.status_code) == (200, 404)
        foreign_name = http.get("/v1/sessions", headers={**page, "Host": "evil.example"})
        problem(foreign_name, 421, "host_not_allowed")
        for reply in (sent, missing, foreign_name):
            assert reply.headers["Access-Control-Allow-Origin"] == NOTES
            assert set(reply.headers["Access-Control-Expose-Headers"].split(", ")) == set(RESPONSE_HEADERS)
        foreign = http.post(f"/v1/sessions/{session}/text", content=b"text", headers={"Origin": "http://evil.example"})
        problem(foreign, 403, "origin_not_allowed")
        assert "Access-Control-Allow-Origin" not in foreign.headers


def test_every_header_of_the_api_is_exposed_to_a_named_page(known: Server) -> None:
    with client(known) as http:
        session = created(http)
        url = f"/v1/sessions/{session}"
        replies = [
            http.post("/v1/sessions", json={}),
            http.post(f"{url}/text", content=b"text"),
            http.post(f"{url}/text", content=b"text", headers={"Upload-Offset": "0"}),
            http.head(f"{url}/text"),
            http.post(f"{url}/text", content=b"text", headers={"Upload-Offset": "99"}),
            http.get(f"{url}/memory"),
        ]
        sent = {name for reply in replies for name in reply.headers}
    # What browsers show to every page, what only they and gateways use, and traces.
    others = "cache-control connection content-length content-type date etag traceparent transfer-encoding vary".split()
    assert sent - set(others) <= {name.lower() for name in RESPONSE_HEADERS}


def test_with_keys_neither_host_nor_origin_is_checked(tiny_weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with api_keys.changing(path) as kept:
        changed, _, token = kept.with_new("acme", ("admin",), time.time(), None)
        api_keys.save(path, changed)
    foreign = ["Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"]
    with Server(tiny_weights, "memory://", keys_file=str(path), origins=NOTES) as server:
        key = f"Authorization: Bearer {token}"
        assert raw(server, "POST", "/v1/sessions", *foreign, key, JSON, body=b"{}")[0] == 201
        assert raw(server, "GET", "/v1/sessions", key)[0] == 200
        assert raw(server, "GET", "/docs", *foreign)[0] == 200
        # A browser sends no key with a preflight, and a page must be able to read that its key is wrong.
        asking = "Access-Control-Request-Method: DELETE", "Access-Control-Request-Headers: authorization"
        preflight = raw(server, "OPTIONS", "/v1/sessions/a", "Host: a", f"Origin: {NOTES}", *asking)
        assert preflight[0] == 200
        status, reply = raw(server, "GET", "/v1/sessions", "Host: a", f"Origin: {NOTES}")
        assert (status, f"access-control-allow-origin: {NOTES}" in reply) == (401, True)


@pytest.mark.parametrize("name", ["hosts", "origins"])
def test_an_invalid_entry_ends_the_start(tiny_weights: Path, name: str) -> None:
    server = Server(tiny_weights, "memory://", **{name: "http://a/b"})
    with pytest.raises(AssertionError, match=rf"onceread: ONCEREAD_{name.upper()}: 'http://a/b' is no"):
        server.start()
