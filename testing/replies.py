"""Requests to a server under test, and the parts of its replies, each checked: sessions, events, problems, metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

POLL_SECONDS = 0.01


def eventually(check: Callable[[], T | None], seconds: float = 60) -> T:
    """Polls `check` until it returns something true, and returns that; AssertionError after `seconds`.

    An AssertionError of `check` counts as "not yet"; the last one is the cause of the final error.
    """
    deadline = time.monotonic() + seconds
    while True:
        cause: AssertionError | None = None
        try:
            if found := check():
                return found
        except AssertionError as error:
            cause = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds} s: {getattr(check, '__name__', check)}") from cause
        time.sleep(POLL_SECONDS)


def created(client: httpx.Client, **body: Any) -> str:
    """The id of a new session."""
    reply = client.post("/v1/sessions", json=body)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def appended(client: httpx.Client, session: str, text: bytes) -> dict[str, Any]:
    """The answer to an append that has been read to its end."""
    reply = client.post(f"/v1/sessions/{session}/text", params={"wait": "read"}, content=text)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def shown(client: httpx.Client, session: str) -> dict[str, Any]:
    reply = client.get(f"/v1/sessions/{session}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def shown_once(client: httpx.Client, session: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The session as soon as `wanted` is true of it."""

    def checked() -> dict[str, Any]:
        body = shown(client, session)
        assert wanted(body), f"the session is still {body}"
        return body

    return eventually(checked)


def asked(client: httpx.Client, session: str, **body: Any) -> dict[str, Any]:
    """The answer object for a question."""
    reply = client.post(f"/v1/sessions/{session}/queries", json={"question": "Who came?", "max_tokens": 12} | body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def offsets(client: httpx.Client, session: str) -> tuple[int, int]:
    """How far the text is accepted, and how far it has been read."""
    reply = client.head(f"/v1/sessions/{session}/text")
    assert reply.status_code == 200
    return int(reply.headers["Upload-Offset"]), int(reply.headers["Upload-Applied-Offset"])


def metric(client: httpx.Client, sample: str) -> float:
    """The value of one line of /metrics, named with its labels."""
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(sample + " ")).rsplit(" ", 1)[1])


def events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and data of each server-sent event; comments are left out."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def problem(reply: httpx.Response, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """The problem in a reply, once it is known to have the one shape that all errors share."""
    assert reply.status_code == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = reply.json()
    must_be_problem(body, status, code, param)
    assert body["request_id"] == reply.headers["X-Request-ID"]
    return body


def must_be_problem(body: dict[str, Any], status: int, code: str, param: str | None = None) -> None:
    assert body["type"] == f"urn:onceread:error:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["request_id"]
    assert len(body["detail"].split()) > 3, "a detail is a sentence that says what to do"
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"] == body["detail"]
    assert body["error"]["type"].endswith("_error")
    assert (body["error"]["code"], body["error"]["param"]) == (code, param)


def post(http: httpx.Client, session: str, content: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
    """An append of `content`; headers are named with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(f"/v1/sessions/{session}/text", content=content, headers=named)
