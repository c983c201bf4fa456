"""The text around a place over HTTP: what was sent is read back, and a range that is not held says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from model import weights
from testing.models import EPISODIC, MECHANISMS, prose, random_model
from testing.replies import appended, asked, created, problem
from testing.serving import Server, client
from tests.model.mechanisms.episodic.texts import TOKENIZER

TEXT = ("\ufeff" + prose(5, 6_000).replace("\n\n", "\r\n")).encode()
DOCUMENTS = {name: prose(seed, 500) for seed, name in enumerate(("one", "two / 二", "three"))}
CONFIG = replace(EPISODIC, recall_tokens=48, capacity_tokens=8_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ranges")
    weights.save(folder / "general", random_model(CONFIG), TOKENIZER, torch.float32)
    with Server(folder / "general", f"sqlite:///{folder / 'store'}") as server:
        with client(server) as http:
            created(http, id="book")
            appended(http, "book", TEXT)
        yield server


def get(http: httpx.Client, session: str, offset: int = 0, size: int | None = None, **params: Any) -> httpx.Response:
    query = {"offset": offset} | ({} if size is None else {"bytes": size}) | params
    return http.get(f"/v1/sessions/{session}/text", params=query)


def shown(http: httpx.Client, session: str, offset: int, size: int | None = None, **params: Any) -> dict[str, Any]:
    reply = get(http, session, offset, size, **params)
    assert reply.status_code == 200, reply.text
    body = dict(reply.json())
    assert body["bytes"] == len(body["text"].encode()) > 0
    return body


def with_documents(http: httpx.Client, **settings: Any) -> str:
    session = created(http, **settings)
    for name, text in DOCUMENTS.items():
        reply = http.post(f"/v1/sessions/{session}/text", params={"document": name}, content=text.encode())
        assert reply.status_code == 200, reply.text
    return session


def test_the_text_is_read_back_range_by_range_as_it_was_sent(http: httpx.Client) -> None:
    first = shown(http, "book", 0)
    assert [*first] == ["object", "session", "offset", "bytes", "document", "text"]
    assert (first["object"], first["session"], first["offset"], first["document"]) == ("text.range", "book", 0, None)
    assert 4_096 - 3 <= first["bytes"] <= 4_096
    whole = b""
    while len(whole) < len(TEXT):
        part = shown(http, "book", len(whole), 777)
        assert part["offset"] == len(whole)
        whole += part["text"].encode()
    assert whole == TEXT


def test_a_source_of_an_answer_is_read_back_as_its_own_text(http: httpx.Client) -> None:
    sources = asked(http, "book", question="Who came upon the quoted House?", sources=16)["sources"]
    assert len(sources) > 3
    for source in sources:
        found = shown(http, "book", source["offset"], source["bytes"])
        assert found["text"] == source["text"]
        around = shown(http, "book", max(0, source["offset"] - 40), source["bytes"] + 80)
        assert source["text"] in around["text"]


def test_text_is_shown_as_soon_as_it_is_acknowledged(http: httpx.Client) -> None:
    """In no segment yet, and its last bytes in no token."""
    session = created(http)
    for end in range(1, 40):
        http.post(f"/v1/sessions/{session}/text", content=TEXT[end - 1 : end])
        whole = TEXT[:end].decode(errors="ignore")
        if whole:
            assert shown(http, session, 0)["text"] == whole
        else:
            body = problem(get(http, session, 0), 404, "text_not_found", "offset")
            assert f"the text ends at {end}" in body["detail"]


def test_a_range_lies_in_one_document(http: httpx.Client) -> None:
    session, begin = with_documents(http), 0
    for name, text in DOCUMENTS.items():
        found = shown(http, session, begin)
        assert (found["document"], found["text"]) == (name, text)
        begin += len(text.encode())
    assert shown(http, session, begin - 5)["document"] == "three"


def test_an_offset_behind_the_text_says_where_it_ends(http: httpx.Client) -> None:
    for offset in (len(TEXT), len(TEXT) + 1, 2**63 - 1):
        body = problem(get(http, "book", offset), 404, "text_not_found", "offset")
        assert f"the text ends at {len(TEXT)}" in body["detail"]
        assert body["next_offset"] is None
    problem(get(http, created(http), 0), 404, "text_not_found", "offset")
    problem(get(http, "none", 0), 404, "session_not_found", "id")


@pytest.mark.parametrize("keep_text", [False, True])
def test_a_deleted_document_is_a_hole_that_says_where_the_text_goes_on(http: httpx.Client, keep_text: bool) -> None:
    session = with_documents(http, keep_text=keep_text)
    one, two, _ = (len(text.encode()) for text in DOCUMENTS.values())
    assert http.delete(f"/v1/sessions/{session}/documents/two / 二").status_code == 200
    for offset in (one, one + two - 1):
        body = problem(get(http, session, offset), 404, "text_not_found", "offset")
        assert body["next_offset"] == one + two
        assert f"goes on at {one + two}" in body["detail"]
    assert shown(http, session, 0, 65_536)["text"] == DOCUMENTS["one"]
    assert shown(http, session, one + two)["text"] == DOCUMENTS["three"]


def test_a_forgotten_place_says_so(tmp_path: Path) -> None:
    weights.save(tmp_path / "general", random_model(EPISODIC), TOKENIZER, torch.float32)
    with Server(tmp_path / "general", "memory://") as server, client(server) as http:
        session = created(http)
        appended(http, session, TEXT)
        at, holes = 0, 0
        while at is not None and at < len(TEXT):
            reply = get(http, session, at)
            if reply.status_code == 200:
                found = reply.json()
                assert TEXT[found["offset"] :].startswith(found["text"].encode())
                at = found["offset"] + found["bytes"]
            else:
                body = problem(reply, 404, "text_not_found", "offset")
                assert "forgotten" in body["detail"]
                at, holes = body["next_offset"], holes + 1
        assert at == len(TEXT)
        assert holes > 0


def test_a_snapshot_shows_the_text_that_it_covers(http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, b"The text before it.")
    assert http.post(f"/v1/sessions/{session}/snapshots", json={"name": "then"}).status_code == 201
    appended(http, session, b" And after it.")
    assert shown(http, session, 4)["text"] == "text before it. And after it."
    assert shown(http, session, 4, snapshot="then")["text"] == "text before it."
    problem(get(http, session, 30, snapshot="then"), 404, "text_not_found", "offset")
    problem(get(http, session, 0, snapshot="never"), 404, "snapshot_not_found", "name")


def test_a_range_that_is_too_small_for_a_character_is_refused(http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, "🙂é".encode())
    body = problem(get(http, session, 0, 3), 422, "invalid_field", "bytes")
    assert "ask for more" in body["detail"]
    assert shown(http, session, 0, 4)["text"] == "🙂"
    assert shown(http, session, 1, 5) == {
        **{"object": "text.range", "session": session, "offset": 4, "bytes": 2, "document": None, "text": "é"}
    }


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"offset": -1}, "offset"),
        ({"offset": 2**63}, "offset"),
        ({"offset": "x"}, "offset"),
        ({"offset": 0, "bytes": 0}, "bytes"),
        ({"offset": 0, "bytes": 65_537}, "bytes"),
        ({"offset": 0, "snapshot": "a/b"}, "snapshot"),
    ],
)
def test_a_wrong_parameter_is_named(http: httpx.Client, query: dict[str, Any], param: str) -> None:
    problem(http.get("/v1/sessions/book/text", params=query), 422, "invalid_field", param)


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_memory_without_text_shows_what_the_session_keeps(name: str, tmp_path: Path) -> None:
    weights.save(tmp_path / "weights", random_model(MECHANISMS[name]), TOKENIZER, torch.float32)
    with Server(tmp_path / "weights", f"sqlite:///{tmp_path / 'store'}") as server, client(server) as http:
        session, begin = with_documents(http, keep_text=True), 0
        for document, text in DOCUMENTS.items():
            found = shown(http, session, begin)
            assert (found["document"], found["text"]) == (document, text)
            begin += len(text.encode())
        for offset in (begin, begin + 9):
            body = problem(get(http, session, offset), 404, "text_not_found", "offset")
            assert f"the text ends at {begin}" in body["detail"]
        forgetful = created(http)
        appended(http, forgetful, TEXT)
        assert "keep_text" in problem(get(http, forgetful, 0), 400, "invalid_request")["detail"]
        assert http.post(f"/v1/sessions/{session}/snapshots", json={"name": "then"}).status_code == 201
        assert "snapshot" in problem(get(http, session, 0, snapshot="then"), 400, "invalid_request")["detail"]


def test_kept_text_that_a_restored_snapshot_does_not_have_says_so(tmp_path: Path) -> None:
    weights.save(tmp_path / "weights", random_model(MECHANISMS["delta"]), TOKENIZER, torch.float32)
    with Server(tmp_path / "weights", f"sqlite:///{tmp_path / 'store'}") as server, client(server) as http:
        session = created(http, keep_text=True)
        for name, text in (("first", b"It began. "), ("second", b"It went on. ")):
            appended(http, session, text)
            assert http.post(f"/v1/sessions/{session}/snapshots", json={"name": name}).status_code == 201
        assert http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "first"}).status_code == 200
        appended(http, session, b"It went otherwise. ")
        assert shown(http, session, 0)["text"] == "It began. It went otherwise. "
        assert http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "second"}).status_code == 200
        appended(http, session, b"It ended.")
        body = problem(get(http, session, 0), 404, "text_not_found", "offset")
        assert "a snapshot was restored" in body["detail"]
        assert shown(http, session, 22)["text"] == "It ended."
