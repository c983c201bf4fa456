"""Sessions over HTTP: create within limits, list by pages, get, and delete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from testing.replies import created, problem, shown
from testing.serving import Server, client


@pytest.fixture(scope="module")
def server(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tiny_weights, f"sqlite:///{tmp_path_factory.mktemp('store')}") as server:
        yield server


def test_a_new_session_has_every_field(http: httpx.Client) -> None:
    reply = http.post("/v1/sessions", json={"id": "Moby_Dick-1", "metadata": {"title": "Ærø, 第一章"}})
    assert reply.status_code == 201
    assert reply.headers["Location"] == "/v1/sessions/Moby_Dick-1"
    body = reply.json()
    served = http.get("/version").json()
    assert body["created_at"] == body["updated_at"] > 1.6e9
    assert body == {
        "id": "Moby_Dick-1",
        "object": "session",
        "created_at": body["created_at"],
        "updated_at": body["updated_at"],
        "expires_at": None,
        "metadata": {"title": "Ærø, 第一章"},
        "model": served["model"],
        "fingerprint": served["fingerprint"],
        "status": "idle",
        "text": {"accepted_bytes": 0, "read_bytes": 0, "tokens": 0},
        "memory": {"version": 0, "segments": 0, "bytes": 0},
    }
    assert http.get(reply.headers["Location"]).json() == body


def test_without_an_id_the_server_creates_one(http: httpx.Client) -> None:
    for body in (None, b"", b"{}", b'{"id": null}'):
        reply = http.post("/v1/sessions", content=body, headers={"Content-Type": "application/json"})
        assert reply.status_code == 201, body
        id_ = reply.json()["id"]
        assert id_.startswith("sess_")
        assert reply.headers["Location"] == f"/v1/sessions/{id_}"
        assert shown(http, id_)["metadata"] == {}


def test_an_id_is_unique(http: httpx.Client) -> None:
    created(http, id="twice", metadata={"first": "yes"})
    problem(http.post("/v1/sessions", json={"id": "twice"}), 409, "session_exists")
    assert shown(http, "twice")["metadata"] == {"first": "yes"}


@pytest.mark.parametrize("id_", ["", "a b", "a/b", "é", "a.b", "x" * 65, "line\n", 7])
def test_an_invalid_id_is_refused_by_field(http: httpx.Client, id_: object) -> None:
    problem(http.post("/v1/sessions", json={"id": id_}), 422, "invalid_field", "id")


@pytest.mark.parametrize("id_", ["a b", "é", "a.b", "x" * 65, "line\n"])
def test_an_invalid_id_in_the_path_is_refused_by_field(http: httpx.Client, id_: str) -> None:
    quoted = f"/v1/sessions/{quote(id_)}"
    for reply in (
        http.get(quoted),
        http.delete(quoted),
        http.post(f"{quoted}/text", content=b"x"),
        http.post(f"{quoted}/queries", json={"question": "?"}),
    ):
        problem(reply, 422, "invalid_field", "id")


def test_the_longest_id_is_accepted(http: httpx.Client) -> None:
    assert created(http, id="x" * 64) == "x" * 64


@pytest.mark.parametrize(
    "metadata",
    [
        {str(number): "" for number in range(15)},
        {str(number): "" for number in range(16)},
        {"k" * 63: "v" * 511},
        {"é" * 64: "🙂" * 512},
    ],
)
def test_metadata_within_its_limits_is_kept(http: httpx.Client, metadata: dict[str, str]) -> None:
    assert shown(http, created(http, metadata=metadata))["metadata"] == metadata


@pytest.mark.parametrize(
    "metadata",
    [{str(number): "" for number in range(17)}, {"k" * 65: ""}, {"": ""}, {"key": "v" * 513}, {"key": 1}, [], "x"],
)
def test_metadata_beyond_its_limits_is_refused_by_field(http: httpx.Client, metadata: object) -> None:
    body = problem_of_creation(http, {"metadata": metadata})
    assert body["error"]["param"].split(".")[0] == "metadata"


def problem_of_creation(http: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    reply = http.post("/v1/sessions", json=body)
    return problem(reply, 422, "invalid_field", reply.json()["error"]["param"])


@pytest.mark.parametrize("body", [{"metadata": {"key": "\ud800"}}, {"metadata": {"\ud800": "value"}}, {"id": "\ud800"}])
def test_a_lone_surrogate_is_refused(http: httpx.Client, body: dict[str, Any]) -> None:
    reply = http.post("/v1/sessions", content=json.dumps(body), headers={"Content-Type": "application/json"})
    problem(reply, 422, "invalid_field", reply.json()["error"]["param"])


def test_an_unknown_field_is_refused_by_name(http: httpx.Client) -> None:
    assert problem_of_creation(http, {"name": "x"})["error"]["param"] == "name"


def test_pages_list_every_session_once_newest_first(http: httpx.Client) -> None:
    ids = [created(http) for _ in range(7)]
    found: list[str] = []
    after: dict[str, str] = {}
    while len(found) < len(ids):
        page = http.get("/v1/sessions", params={"limit": 3, **after}).json()
        assert page.keys() == {"data", "has_more", "last_id"}
        assert len(page["data"]) == 3
        assert page["last_id"] == page["data"][-1]["id"]
        assert page["has_more"] is True
        found += [session["id"] for session in page["data"]]
        after = {"after": page["last_id"]}
    assert found[:7] == ids[::-1]
    assert page["data"][0] == shown(http, page["data"][0]["id"])


def test_the_last_page_has_no_more(tiny_weights: Path) -> None:
    with Server(tiny_weights, "memory://") as server, client(server) as http:
        assert http.get("/v1/sessions").json() == {"data": [], "has_more": False, "last_id": None}
        ids = [created(http) for _ in range(5)][::-1]
        pages = [http.get("/v1/sessions", params={"limit": 5}).json()]
        pages.append(http.get("/v1/sessions", params={"limit": 2, "after": ids[2]}).json())
        assert [session["id"] for session in pages[0]["data"]] == ids
        assert [session["id"] for session in pages[1]["data"]] == ids[3:]
        assert [(page["has_more"], page["last_id"]) for page in pages] == [(False, ids[-1])] * 2
        end = http.get("/v1/sessions", params={"after": ids[-1]}).json()
        assert end == {"data": [], "has_more": False, "last_id": None}


@pytest.mark.parametrize(("name", "value"), [("limit", "0"), ("limit", "101"), ("limit", "x"), ("after", "a b")])
def test_an_invalid_page_is_refused_by_field(http: httpx.Client, name: str, value: str) -> None:
    problem(http.get("/v1/sessions", params={name: value}), 422, "invalid_field", name)


def test_a_deleted_session_is_not_found(http: httpx.Client) -> None:
    session = created(http)
    http.post(f"/v1/sessions/{session}/text", params={"wait": "read"}, content=b"text that is read " * 20)
    reply = http.delete(f"/v1/sessions/{session}")
    assert (reply.status_code, reply.content) == (204, b"")
    for gone in (
        http.get(f"/v1/sessions/{session}"),
        http.delete(f"/v1/sessions/{session}"),
        http.post(f"/v1/sessions/{session}/text", content=b"more"),
        http.post(f"/v1/sessions/{session}/queries", json={"question": "Who?"}),
    ):
        problem(gone, 404, "session_not_found", "id")
    # A session of the same name is a new one.
    assert shown(http, created(http, id=session))["text"] == {"accepted_bytes": 0, "read_bytes": 0, "tokens": 0}


@pytest.mark.parametrize("given", ["mine", "a.b:c-d_e", "x" * 128])
def test_a_valid_request_id_is_echoed(http: httpx.Client, given: str) -> None:
    session = created(http)
    for path in (f"/v1/sessions/{session}", "/v1/sessions/never", "/nowhere", "/livez"):
        assert http.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", '"><script>'])
def test_an_invalid_request_id_is_replaced(http: httpx.Client, given: str) -> None:
    ids = {http.get("/v1/sessions", headers={"X-Request-ID": given}).headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
    assert all(id_.startswith("req_") for id_ in ids)
