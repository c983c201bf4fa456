"""Documents inside a session over HTTP: how text is given to them, and what is refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from model import weights
from server.store.base import DOCUMENTS_MAX
from testing.models import EPISODIC, prose, random_model
from testing.replies import asked, created, offsets, problem, shown
from testing.serving import Server, client
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


def listed(http: httpx.Client, session: str, **params: Any) -> dict[str, Any]:
    reply = http.get(f"/v1/sessions/{session}/documents", params=params)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def test_documents_are_listed_in_order_page_by_page_with_all_of_their_parts(http: httpx.Client) -> None:
    session = created(http)
    assert listed(http, session) == {"data": [], "has_more": False, "last_id": None}
    parts = [(None, prose(1, 90)), ("Emma", prose(2, 200)), ("第一章/2", prose(3, 70)), ("Emma", prose(4, 300))]
    for name, text in parts:
        sent(http, session, text.encode(), **({} if name is None else {"document": name}))
    begins = [0, *(sum(len(text.encode()) for _, text in parts[: number + 1]) for number in range(4))]
    whole = listed(http, session)
    assert [(each["object"], each["name"], each["offset"], each["bytes"]) for each in whole["data"]] == [
        ("document", "Emma", begins[1], begins[2] - begins[1] + begins[4] - begins[3]),
        ("document", "第一章/2", begins[2], begins[3] - begins[2]),
    ]
    assert all(0 < each["tokens"] <= each["bytes"] for each in whole["data"])
    first = listed(http, session, limit=1)
    assert (first["data"], first["has_more"], first["last_id"]) == (whole["data"][:1], True, "Emma")
    assert listed(http, session, after="Emma")["data"] == whole["data"][1:]
    problem(http.get(f"/v1/sessions/{session}/documents", params={"after": "none"}), 422, "invalid_field", "after")


def test_forks_snapshots_and_files_have_the_documents(http: httpx.Client) -> None:
    session = created(http)
    sent(http, session, prose(5, 500).encode(), document="one")
    sent(http, session, prose(6, 500).encode(), document="two")
    whole = listed(http, session)["data"]
    assert http.post(f"/v1/sessions/{session}/snapshots", json={"name": "then"}).status_code == 201
    file = http.get(f"/v1/sessions/{session}/memory").content
    assert http.put("/v1/sessions/imported/memory", content=file).status_code == 201
    fork = created(http, **{"from": {"session": session}})
    of_snapshot = created(http, **{"from": {"session": session, "snapshot": "then"}})
    sent(http, session, prose(7, 50).encode(), document="three")
    assert http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "then"}).status_code == 200
    for copy in (session, "imported", fork, of_snapshot):
        assert listed(http, copy)["data"] == whole
        sent(http, copy, b"more of it")
        assert [each["name"] for each in listed(http, copy)["data"]] == ["one", "two"]
        assert listed(http, copy)["data"][1]["bytes"] == whole[1]["bytes"] + len(b"more of it")


def test_a_source_names_its_document_and_lies_in_it(http: httpx.Client) -> None:
    session, texts = created(http), {f"{number}": prose(20 + number, 400 + 7 * number) for number in range(9)}
    for name, text in texts.items():
        sent(http, session, text.encode(), document=name)
    parts = {each["name"]: each for each in listed(http, session)["data"]}
    sources = asked(http, session, question="Who came upon the quoted House?", sources=16)["sources"]
    assert sources
    for source in sources:
        part = parts[source["document"]]
        assert part["offset"] <= source["offset"]
        assert source["offset"] + source["bytes"] <= part["offset"] + part["bytes"]
        begin = source["offset"] - part["offset"]
        cut = texts[source["document"]].encode()[begin : begin + source["bytes"]]
        assert cut.decode(errors="ignore") == source["text"]
    tokens = shown(http, session)["text"]["tokens"]
    assert sum(part["tokens"] for part in parts.values()) == tokens


def test_documents_and_their_sources_are_the_same_after_a_kill(tmp_path: Path) -> None:
    """Checkpoints are rare: most of the text is read again, with its marks."""
    weights.save(tmp_path / "general", random_model(EPISODIC), TOKENIZER, torch.float32)
    with Server(tmp_path / "general", f"sqlite:///{tmp_path / 'store'}", checkpoint_segments="1000") as server:
        with client(server) as http:
            session = created(http, keep_text=True)
            for number in range(7):
                sent(http, session, prose(40 + number, 150).encode(), document=f"{number % 3}")
            before = listed(http, session), asked(http, session, question="Who came?", max_tokens=4)["sources"]
        server.kill()
        server.start()
        with client(server) as http:
            for _ in range(2):
                after = listed(http, session), asked(http, session, question="Who came?", max_tokens=4)["sources"]
                assert after == before
                assert http.post(f"/v1/sessions/{session}/rebuild").status_code == 200
