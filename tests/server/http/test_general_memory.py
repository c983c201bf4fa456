"""The general memory over HTTP: an answer's sources, what is not in the text, and what survives a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from model import weights
from model.tokenizer import TextTokenizer
from server.sessions.answers import NOT_IN_THE_TEXT
from testing.models import EPISODIC, prose, random_model
from testing.replies import appended, asked, created
from testing.serving import Server, client
from tests.model.mechanisms.episodic.texts import TOKENIZER


@pytest.fixture(scope="module")
def server(tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("general")
    weights.save(folder / "weights", random_model(EPISODIC), tokenizer, torch.float32)
    with Server(folder / "weights", f"sqlite:///{folder / 'store'}") as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with client(server) as http:
        yield http


def test_what_the_text_does_not_have_is_said_and_the_model_is_not_asked(http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, prose(1, 2_000).encode())
    answer = asked(http, session, question="Zyzzyva qophs?", max_tokens=4)
    assert answer["answer"] == NOT_IN_THE_TEXT
    assert answer["usage"]["completion_tokens"] == 0
    body = {"questions": ["Zyzzyva qophs?", "Who could know the little morning upon the river?"], "max_tokens": 4}
    both = http.post(f"/v1/sessions/{session}/queries", json=body).json()["answers"]
    assert both[0]["answer"] == NOT_IN_THE_TEXT
    assert both[1]["usage"]["completion_tokens"] > 0


def test_without_a_text_the_model_answers_from_its_weights(http: httpx.Client) -> None:
    empty = asked(http, created(http), question="Zyzzyva qophs?", max_tokens=4)
    assert empty["usage"]["completion_tokens"] > 0
    message = {"role": "user", "content": "Zyzzyva qophs?"}
    model = http.get("/v1/models").json()["data"][0]["id"]
    reply = http.post("/v1/chat/completions", json={"model": model, "messages": [message], "max_tokens": 4})
    assert reply.json()["usage"]["completion_tokens"] > 0, reply.text


def test_a_session_survives_another_reader_and_no_other_tokeniser(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    for name, seed, own in [("one", 1, tokenizer), ("other", 2, tokenizer), ("foreign", 1, TOKENIZER)]:
        weights.save(tmp_path / name, random_model(EPISODIC, seed), own, torch.float32)
    store, text = f"sqlite:///{tmp_path / 'store'}", prose(3, 2_000)
    question = " ".join(text.split()[20:30])
    with Server(tmp_path / "one", store) as server, client(server) as http:
        session = created(http)
        appended(http, session, text.encode())
        before = asked(http, session, question=question, max_tokens=4)
    with Server(tmp_path / "other", store) as server, client(server) as http:
        after = asked(http, session, question=question, max_tokens=4)
        assert (after["sources"], after["memory"]["offset"]) == (before["sources"], before["memory"]["offset"])
        appended(http, session, b" More text.")
    with Server(tmp_path / "foreign", store) as server, client(server) as http:
        refused = http.post(f"/v1/sessions/{session}/queries", json={"question": question})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "fingerprint_mismatch")


def test_a_question_in_another_language_is_answered_or_not_in_the_text(http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, prose(2, 2_000).encode())
    for question in ("Où est la maison ?", "家在哪里？", "أين المنزل؟", "🙂?", "???"):
        assert asked(http, session, question=question, max_tokens=4)["finish_reason"] in ("stop", "length")
