"""A document that is deleted is gone for certain, and nothing else is; after a kill too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from model import weights
from testing.models import EPISODIC, random_model
from testing.replies import appended, asked, created, offsets, problem, shown
from testing.serving import Server, client
from tests.model.mechanisms.episodic.texts import TOKENIZER

NAMES = ("The Ægean / one", "two", "三")
BODIES = ("alpha beta. " * 30, "the quokka is fond of marzipan. " * 20, "gamma delta? " * 25)
TEXTS = dict(zip(NAMES, BODIES, strict=True))
SECRET = b"marzipan"
QUESTIONS = ("Is the quokka fond of marzipan?", "Is it alpha beta?", "Is it gamma delta?")


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("general")
    model = random_model(replace(EPISODIC, recall_tokens=48, capacity_tokens=80_000))
    weights.save(folder, model, TOKENIZER, torch.float32)
    return folder


@pytest.fixture(scope="module")
def server(general: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(general, f"sqlite:///{tmp_path_factory.mktemp('shared') / 'store'}") as server:
        yield server


@pytest.fixture
def alone(general: Path, tmp_path: Path) -> Iterator[Server]:
    """A server for one test, with its store in the folder `store` of the test's `tmp_path`."""
    with Server(general, f"sqlite:///{tmp_path / 'store'}") as server:
        yield server


def with_documents(http: httpx.Client, session: str, names: tuple[str, ...] = NAMES) -> None:
    for name in names:
        reply = http.post(
            f"/v1/sessions/{session}/text", params={"document": name, "wait": "read"}, content=TEXTS[name].encode()
        )
        assert reply.status_code == 200, reply.text


def deleted(http: httpx.Client, session: str, name: str, **params: str) -> dict[str, Any]:
    reply = http.delete(f"/v1/sessions/{session}/documents/{name}", params=params)
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def listed(http: httpx.Client, session: str) -> list[str]:
    return [document["name"] for document in http.get(f"/v1/sessions/{session}/documents").json()["data"]]


def sources(http: httpx.Client, session: str, question: str, **body: Any) -> list[tuple[str, str]]:
    answer = asked(http, session, question=question, max_tokens=2, sources=16, **body)
    return [(source["document"], source["text"]) for source in answer["sources"]]


def files_with(folder: Path, word: bytes) -> list[str]:
    return [file.name for file in folder.iterdir() if word in file.read_bytes()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep_text", [False, True])
def test_a_deleted_document_is_gone_and_the_others_answer_as_before(
    http: httpx.Client, name: str, keep_text: bool
) -> None:
    session = created(http, keep_text=keep_text)
    with_documents(http, session)
    left = [other for other in NAMES if other != name]
    without = created(http, keep_text=keep_text)
    with_documents(http, without, tuple(left))
    receipt = deleted(http, session, name)
    assert receipt["bytes"] == len(TEXTS[name].encode())
    assert listed(http, session) == left
    for question in QUESTIONS:
        assert sources(http, session, question) == sources(http, without, question)
    end = offsets(http, session)[0]
    assert end == sum(len(text.encode()) for text in TEXTS.values())
    appended(http, session, b"epsilon zeta! " * 30)
    assert any("epsilon" in text for _, text in sources(http, session, "Is it epsilon zeta?"))


@pytest.mark.parametrize("keep_text", [False, True])
def test_its_bytes_are_in_no_file_of_the_store_and_a_kill_does_not_bring_them_back(
    alone: Server, tmp_path: Path, keep_text: bool
) -> None:
    with client(alone) as http:
        session = created(http, keep_text=keep_text)
        with_documents(http, session)
        before = [sources(http, session, question) for question in QUESTIONS[1:]]
        deleted(http, session, "two")
    assert files_with(tmp_path / "store", SECRET) == []
    alone.kill()
    alone.start()
    with client(alone) as again:
        assert listed(again, session) == [NAMES[0], NAMES[2]]
        assert all("fond" not in text for question in QUESTIONS for _, text in sources(again, session, question))
        after = [sources(again, session, question) for question in QUESTIONS[1:]]
        assert [found[0] for found in after] == [found[0] for found in before]
        if keep_text:
            assert again.post(f"/v1/sessions/{session}/rebuild").status_code == 200
            assert all("fond" not in text for _, text in sources(again, session, QUESTIONS[0]))


def test_snapshots_follow_or_are_named(alone: Server, tmp_path: Path) -> None:
    with client(alone) as http:
        session = created(http)
        with_documents(http, session, NAMES[:1])
        assert http.post(f"/v1/sessions/{session}/snapshots", json={"name": "before"}).status_code == 201
        with_documents(http, session, NAMES[1:])
        assert http.post(f"/v1/sessions/{session}/snapshots", json={"name": "with"}).status_code == 201
        kept = deleted(http, session, "two")
        assert kept["snapshots"] == {"followed": [], "kept": ["with"]}
        assert any("fond" in text for _, text in sources(http, session, QUESTIONS[0], snapshot="with"))
        assert http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "with"}).status_code == 200
        assert listed(http, session) == [*NAMES]
        followed = deleted(http, session, "two", snapshots="follow")
        assert followed["snapshots"] == {"followed": ["with"], "kept": []}
        assert all("fond" not in text for _, text in sources(http, session, QUESTIONS[0], snapshot="with"))
        assert files_with(tmp_path / "store", SECRET) == []
        assert http.post(f"/v1/sessions/{session}/restore", json={"snapshot": "with"}).status_code == 200
        assert listed(http, session) == [NAMES[0], NAMES[2]]


def test_a_fork_keeps_its_copy(http: httpx.Client) -> None:
    session = created(http)
    with_documents(http, session)
    fork = http.post("/v1/sessions", json={"from": {"session": session}}).json()["id"]
    deleted(http, session, "two")
    assert any("fond" in text for _, text in sources(http, fork, QUESTIONS[0]))
    deleted(http, fork, "two")
    assert all("fond" not in text for _, text in sources(http, fork, QUESTIONS[0]))


def test_an_exported_memory_does_not_have_it_and_can_be_imported(http: httpx.Client) -> None:
    session = created(http)
    with_documents(http, session)
    for name in reversed(NAMES):
        deleted(http, session, name)
        file = http.get(f"/v1/sessions/{session}/memory").content
        copy = f"copy-{len(listed(http, session))}"
        assert http.put(f"/v1/sessions/{copy}/memory", content=file).status_code == 201
        assert listed(http, copy) == listed(http, session)
    assert asked(http, session, question=QUESTIONS[0])["found"] is False


def test_a_document_that_does_not_exist_is_refused(http: httpx.Client) -> None:
    session = created(http)
    with_documents(http, session, NAMES[:1])
    for name in ("other", "x" * 500):
        reply = http.delete(f"/v1/sessions/{session}/documents/{name}")
        problem(reply, 404, "document_not_found")
    deleted(http, session, NAMES[0])
    problem(http.delete(f"/v1/sessions/{session}/documents/{NAMES[0]}"), 404, "document_not_found")


def test_a_document_that_ends_inside_a_character_is_refused(http: httpx.Client) -> None:
    session = created(http)
    with_documents(http, session, NAMES[:1])
    appended(http, session, "é".encode()[:1])
    problem(http.delete(f"/v1/sessions/{session}/documents/{NAMES[0]}"), 400, "invalid_utf8")
    appended(http, session, "é".encode()[1:])
    deleted(http, session, NAMES[0])


def test_a_memory_that_cannot_forget_says_so(roomy_weights: Path, tmp_path: Path) -> None:
    with Server(roomy_weights, f"sqlite:///{tmp_path / 'delta'}") as server, client(server) as http:
        session = created(http)
        with_documents(http, session)
        problem(http.delete(f"/v1/sessions/{session}/documents/two"), 422, "not_forgettable")
        assert listed(http, session) == [*NAMES]


def test_a_receipt_shows_that_a_deletion_was_lost(alone: Server, tmp_path: Path) -> None:
    with client(alone) as http:
        session = created(http)
        with_documents(http, session)
    assert alone.terminate() == 0
    old = {file.name: file.read_bytes() for file in (tmp_path / "store").iterdir()}
    alone.start()
    with client(alone) as again:
        receipt = deleted(again, session, "two")["receipt"]
        headers = {"Onceread-Receipt": receipt}
        assert again.head(f"/v1/sessions/{session}/text", headers=headers).status_code == 200
    assert alone.terminate() == 0
    for name, value in old.items():
        (tmp_path / "store" / name).write_bytes(value)
    alone.start()
    with client(alone) as again:
        reply = again.post(f"/v1/sessions/{session}/queries", json={"question": "?"}, headers=headers)
        problem(reply, 409, "text_rolled_back")


def test_a_receipt_of_before_a_deletion_stays_valid(http: httpx.Client) -> None:
    session = created(http, keep_text=True)
    with_documents(http, session)
    receipt = http.head(f"/v1/sessions/{session}/text").headers["Onceread-Receipt"]
    deleted(http, session, "two")
    assert http.head(f"/v1/sessions/{session}/text", headers={"Onceread-Receipt": receipt}).status_code == 200
    assert shown(http, session)["text"]["accepted_bytes"] == offsets(http, session)[0]
