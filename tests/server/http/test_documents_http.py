"""Documents inside a session over HTTP: how text is given to them, and what is refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import torch

from model import weights
from server.store.base import DOCUMENTS_MAX
from testing.models import EPISODIC, random_model
from testing.replies import created, offsets, problem
from testing.serving import Server
from tests.model.mechanisms.episodic.texts import TOKENIZER


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("documents")
    model = random_model(replace(EPISODIC, recall_tokens=48, capacity_tokens=80_000))
    weights.save(folder / "general", model, TOKENIZER, torch.float32)
    with Server(folder / "general", f"sqlite:///{folder / 'store'}") as server:
        yield server


def sent(http: httpx.Client, session: str, body: bytes, kind: str = "text/plain", **params: Any) -> httpx.Response:
    headers = {"Content-Type": kind}
    return http.post(f"/v1/sessions/{session}/text", params={"wait": "read"} | params, content=body, headers=headers)


def ndjson(*lines: dict[str, str]) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines)


def test_a_heading_stands_where_the_document_of_a_line_changes(http: httpx.Client) -> None:
    session = created(http)
    lines = ndjson({"text": "a", "document": "x"}, {"text": "b", "document": "x"}, {"text": "c", "document": "y/z"})
    assert sent(http, session, lines, "application/x-ndjson", document="x").status_code == 200
    assert offsets(http, session)[0] == len("ab\n\ny/z\n\nc")
    assert sent(http, session, b'{"text": "d", "document": "y/z"}', "application/json").status_code == 200
    assert offsets(http, session)[0] == len("ab\n\ny/z\n\nc\n\ny/z\n\nd")


@pytest.mark.parametrize("name", ["", "a" * 513, "a\nb", "a\x85b", "第" * 700])
def test_a_name_that_cannot_be_one_is_refused_and_shown_bounded(http: httpx.Client, name: str) -> None:
    session = created(http)
    value = json.dumps({"text": "a", "document": name}).encode()
    replies = [
        sent(http, session, b"text", document=name),
        http.patch(
            f"/v1/sessions/{session}/text",
            params={"document": name},
            content=b"text",
            headers={"Content-Type": "application/partial-upload", "Upload-Offset": "0"},
        ),
        sent(http, session, value, "application/json"),
        sent(http, session, value, "application/x-ndjson"),
    ]
    for reply in replies:
        body = problem(reply, 422, "invalid_field", "document")
        assert "document" in body["detail"]
        assert len(body["detail"]) < 300
    assert offsets(http, session)[0] == 0


def test_a_name_of_10_000_characters_is_shown_by_its_beginning_and_length(http: httpx.Client) -> None:
    session, name = created(http), "long " * 2000
    value = json.dumps({"text": "a", "document": name}).encode()
    detail = problem(sent(http, session, value, "application/json"), 422, "invalid_field", "document")["detail"]
    assert "10000 characters" in detail
    assert "long long" in detail
    assert len(detail) < 300


def test_a_document_cannot_begin_inside_a_character(http: httpx.Client) -> None:
    session = created(http)
    sent(http, session, "aé".encode()[:2])
    body = problem(sent(http, session, "é".encode()[1:], document="Emma"), 400, "invalid_utf8", "document")
    assert body["expected_offset"] == 2
    assert "inside a character" in body["detail"]
    assert sent(http, session, "é".encode()[1:]).status_code == 200
    assert sent(http, session, b"b", document="Emma").status_code == 200


def test_more_documents_than_a_session_may_have_are_refused(http: httpx.Client) -> None:
    session = created(http)
    lines = ndjson(*({"text": "a", "document": f"{number}"} for number in range(DOCUMENTS_MAX + 1)))
    body = problem(sent(http, session, lines, "application/x-ndjson"), 429, "quota_exceeded")
    assert f"{DOCUMENTS_MAX}" in body["detail"]
    assert body["expected_offset"] == offsets(http, session)[0]
    assert sent(http, session, b"the last one goes on").status_code == 200
