"""Sources over HTTP: an answer names the places of the text that it was drawn from, by the bytes as they were sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
import torch

from model import weights
from testing.models import EPISODIC, prose, random_model
from testing.replies import appended, asked, created, events
from testing.serving import Server, client
from tests.model.mechanisms.episodic.texts import TOKENIZER

# Longer than what is read again at a question, with line ends of any kind.
TEXT = ("\ufeff" + prose(5, 6_000).replace("\n\n", "\r\n")).encode()
# Of a few hundred segments six are read again, and none is forgotten.
CONFIG = replace(EPISODIC, recall_tokens=48, capacity_tokens=8_000)
QUESTION = "Who came upon the quoted House?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sources")
    weights.save(folder / "general", random_model(CONFIG), TOKENIZER, torch.float32)
    with Server(folder / "general", f"sqlite:///{folder / 'store'}") as server:
        with client(server) as http:
            created(http, id="book")
            appended(http, "book", TEXT)
        yield server


@pytest.fixture
def ai(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as ai:
        yield ai


def place(source: dict[str, Any]) -> bytes:
    return TEXT[source["offset"] : source["offset"] + source["bytes"]]


def test_sources_are_places_of_the_text_as_it_was_sent_best_first(http: httpx.Client) -> None:
    answer = asked(http, "book", question=QUESTION, sources=16)
    assert len(answer["sources"]) > 3
    for source in answer["sources"]:
        assert [*source] == ["offset", "bytes", "document", "text", "score"]
        assert source["document"] is None
        # A token may end inside a character.
        assert source["text"] == place(source).decode(errors="ignore")
        assert source["bytes"] > 0
    scores = [source["score"] for source in answer["sources"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["found"] in (True, None)


def test_a_question_says_how_many_sources_it_wants(http: httpx.Client) -> None:
    most = asked(http, "book", question=QUESTION, sources=16)["sources"]
    assert asked(http, "book", question=QUESTION)["sources"] == most[:3]
    assert asked(http, "book", question=QUESTION, sources=1)["sources"] == most[:1]
    assert asked(http, "book", question=QUESTION, sources=0)["sources"] == []


def test_a_streamed_answer_ends_with_its_sources(http: httpx.Client) -> None:
    body = {"question": QUESTION, "max_tokens": 12, "stream": True, "sources": 2}
    with http.stream("POST", "/v1/sessions/book/queries", json=body) as reply:
        *_, (name, done) = events(reply.iter_lines())
    assert name == "done"
    assert done["sources"] == asked(http, "book", question=QUESTION, sources=2)["sources"]


def test_each_of_several_answers_has_its_own_sources(http: httpx.Client) -> None:
    questions = [QUESTION, "What would the Morning like?", "Zyzzyva qophs?"]
    body = {"questions": questions, "max_tokens": 1, "sources": 1}
    several = http.post("/v1/sessions/book/queries", json=body).json()
    assert not {"found", "sources"} & several.keys()
    for question, part in zip(questions, several["answers"], strict=True):
        alone = asked(http, "book", question=question, sources=1, max_tokens=1)
        assert (part["found"], part["sources"]) == (alone["found"], alone["sources"])
    assert several["answers"][2]["found"] is False


def test_a_session_that_has_read_nothing_says_that_nothing_is_found(http: httpx.Client) -> None:
    answer = asked(http, created(http), question=QUESTION)
    assert (answer["found"], answer["sources"]) == (False, [])


def test_a_chat_cites_the_sources_as_annotations(ai: Any, http: httpx.Client) -> None:
    message = {"role": "user", "content": QUESTION}
    named = {"extra_headers": {"X-Session-ID": "book"}, "model": "general", "messages": [message], "max_tokens": 12}
    native = asked(http, "book", question=QUESTION)["sources"]
    reply = ai.chat.completions.create(**named).choices[0].message
    assert len(reply.annotations) == len(native) == 3
    for annotation, source in zip(reply.annotations, native, strict=True):
        first, last = source["offset"], source["offset"] + source["bytes"] - 1
        assert annotation.type == "url_citation"
        assert annotation.url_citation.url == f"urn:onceread:session:book#bytes={first}-{last}"
        assert (annotation.url_citation.start_index, annotation.url_citation.end_index) == (0, len(reply.content))
        assert 0 < len(annotation.url_citation.title) <= 80
        assert annotation.source == source
    chunks = list(ai.chat.completions.create(**named, stream=True))
    streamed = [chunk.choices[0].delta for chunk in chunks]
    assert streamed[-1].annotations == [annotation.model_dump() for annotation in reply.annotations]
    assert not any(hasattr(delta, "annotations") for delta in streamed[:-1])
    one = ai.chat.completions.create(**named, extra_body={"sources": 1}).choices[0].message
    assert one.annotations == reply.annotations[:1]


def test_what_the_request_itself_says_is_not_cited(ai: Any) -> None:
    messages = [{"role": "system", "content": prose(6, 3_000)}, {"role": "user", "content": QUESTION}]
    alone = ai.chat.completions.create(model="general", messages=messages, max_tokens=4)
    assert alone.choices[0].message.annotations == []
    beside = ai.chat.completions.create(
        model="general", messages=messages, max_tokens=4, extra_body={"session_id": "book", "sources": 16}
    )
    offsets = [annotation.source["offset"] for annotation in beside.choices[0].message.annotations]
    assert all(offset < len(TEXT) for offset in offsets)
