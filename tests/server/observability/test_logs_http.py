"""The log of a running server: one line per request, JSON, without any text of requests or answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testing.models import prose
from testing.replies import appended, asked, created, eventually, post, problem
from testing.serving import Server, client

JSON = {"Content-Type": "application/json"}
CANARY = "zzCanaryzz"
ACCESS = {"time", "level", "logger", "message", "request_id", "status", "seconds", "received_bytes", "sent_bytes"}


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://", log_format="json", log_level="debug", idle_seconds="0") as server:
        yield server


def lines(server: Server, request_id: str) -> list[dict[str, Any]]:
    """All log lines of a request, once its access log line is there."""

    def logged() -> list[dict[str, Any]] | None:
        found = [line for line in map(json.loads, list(server.log)) if line.get("request_id") == request_id]
        return found if any(line["logger"] == "server.http.access_log" for line in found) else None

    return eventually(logged)


def access(server: Server, reply: httpx.Response) -> dict[str, Any]:
    (line,) = [
        found for found in lines(server, reply.headers["X-Request-ID"]) if found["logger"] == "server.http.access_log"
    ]
    return line


def test_the_access_log_has_one_line_per_request_with_route_and_counts(server: Server, http: httpx.Client) -> None:
    session = created(http)
    text = prose(71, 2000).encode()
    reply = post(http, session, text, X_Request_ID="the-one")
    line = access(server, reply)
    assert line.keys() == {*ACCESS, "accepted_bytes"}
    assert line["message"] == "POST /v1/sessions/{id}/text"
    assert (line["level"], line["status"], line["request_id"]) == ("info", 200, "the-one")
    assert (line["received_bytes"], line["accepted_bytes"]) == (len(text), len(text))
    assert line["sent_bytes"] == len(reply.content)
    assert line["seconds"] > 0


def test_the_access_log_of_a_question_has_its_offset(server: Server, http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, prose(72, 1000).encode())
    with http.stream(
        "POST", f"/v1/sessions/{session}/queries", json={"question": "Who?", "max_tokens": 4, "stream": True}
    ) as reply:
        body = reply.read()
    line = access(server, reply)
    assert (line["message"], line["status"]) == ("POST /v1/sessions/{id}/queries", 200)
    assert line["offset"] == http.get(f"/v1/sessions/{session}").json()["text"]["read_bytes"]
    assert line["sent_bytes"] == len(body)


def test_the_access_log_of_an_unknown_path_omits_the_query(server: Server, http: httpx.Client) -> None:
    reply = http.get("/v2/%0Aforged?secret=7")
    assert reply.status_code == 404
    line = access(server, reply)
    assert (line["message"], line["status"]) == ("GET /v2/%0Aforged", 404)


def test_no_text_of_requests_or_answers_is_logged(server: Server, http: httpx.Client) -> None:
    """Through good and bad requests alike, at the level that says most."""
    key = {"Authorization": f"Bearer {CANARY}-key"}
    session = created(http, metadata={"title": f"{CANARY} title"})
    text = f"{CANARY} lives in the kitchen. ".encode() * 200
    assert http.post(f"/v1/sessions/{session}/text?wait=read", content=text, headers=key).status_code == 200
    answers = []
    for seed in range(5):
        body = {"question": f"Where is {CANARY}?", "max_tokens": 40, "temperature": 2, "seed": seed, "stop": [CANARY]}
        answers.append(http.post(f"/v1/sessions/{session}/queries?{CANARY}", json=body, headers=key).json()["answer"])
    answers.append(asked(http, session, logprobs=True, max_tokens=40)["answer"])
    url = f"/v1/sessions/{session}"
    problem(
        http.post(f"{url}/queries", content=f'{{"question": "{CANARY}'.encode(), headers=JSON), 400, "invalid_request"
    )
    assert http.post(f"{url}/queries", json={"question": CANARY, "max_tokens": CANARY}).status_code == 422
    assert http.post(f"{url}/queries", json={CANARY: CANARY}).status_code == 422
    assert http.post(f"{url}/text", json={"text": [CANARY]}).status_code == 422
    problem(http.post(f"{url}/text", content=f"{CANARY}\xff".encode("latin-1")), 400, "invalid_utf8")
    assert http.post(f"{url}/text", content=b"x", headers={"Content-Type": f"text/{CANARY}"}).status_code == 415
    assert http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": CANARY}]}).status_code < 500
    last = http.get("/livez")
    access(server, last)
    log = "".join(server.log)
    assert CANARY not in log
    long = [answer for answer in answers if len(answer) > 8]
    assert long
    assert not any(answer in log or json.dumps(answer)[1:-1] in log for answer in long)


def test_every_json_log_line_is_an_object_even_of_libraries(server: Server, http: httpx.Client) -> None:
    access(server, http.get("/livez"))
    found = [json.loads(line) for line in list(server.log)]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in found)
    assert any(line["logger"].startswith("uvicorn") for line in found)


def test_the_text_format_is_one_plain_line(tiny_weights: Path) -> None:
    with Server(tiny_weights, "memory://") as server, client(server) as http:
        reply = http.get("/version", headers={"X-Request-ID": "the-one"})
        assert reply.status_code == 200
        server.terminate()
    (line,) = [line for line in server.log if "request_id=the-one" in line]
    assert " INFO server.http.access_log: GET /version status=200 seconds=" in line
