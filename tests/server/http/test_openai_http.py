"""OpenAI's own client, unmodified, against a real server: it chats, streams, lists models, and meets its own errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from testing.models import prose
from testing.replies import appended, asked, created, eventually, metric, problem, shown
from testing.serving import Server, client

TEXT = prose(81, 700).encode()
USER = [{"role": "user", "content": "Who came?"}]


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        with client(server) as http:
            created(http, id="book")
            appended(http, "book", TEXT)
        yield server


@pytest.fixture
def ai(server: Server) -> Iterator[Any]:
    """The client; what it takes is left untyped, for the tests send it more than its types allow."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as ai:
        yield ai


def test_the_model_is_listed(ai: Any) -> None:
    assert [model.id for model in ai.models.list()] == ["tiny"]


@pytest.mark.parametrize("way", ["header", "body"])
def test_a_chat_is_answered_from_a_session(ai: Any, http: httpx.Client, way: str) -> None:
    named = {"extra_headers": {"X-Session-ID": "book"}} if way == "header" else {"extra_body": {"session_id": "book"}}
    reply = ai.chat.completions.create(model="tiny", messages=USER, max_tokens=12, **named)
    native = asked(http, "book")
    assert reply.choices[0].message.content == native["answer"]
    assert reply.choices[0].finish_reason == native["finish_reason"]
    assert reply.usage.prompt_tokens == native["usage"]["prompt_tokens"]
    assert reply.usage.completion_tokens == native["usage"]["completion_tokens"]
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_streamed_chat_is_the_same_answer(ai: Any, http: httpx.Client) -> None:
    chunks = list(
        ai.chat.completions.create(
            model="tiny",
            messages=USER,
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
            logprobs=True,
            extra_headers={"X-Session-ID": "book"},
        )
    )
    native = asked(http, "book", logprobs=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == native["answer"]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == native["finish_reason"]
    assert chunks[-1].usage.completion_tokens == native["usage"]["completion_tokens"]
    scores = [
        token
        for chunk in chunks
        if chunk.choices and chunk.choices[0].logprobs
        for token in chunk.choices[0].logprobs.content
    ]
    assert [token.logprob for token in scores] == [token["logprob"] for token in native["logprobs"]]


def test_a_completion_is_answered_from_a_session(ai: Any, http: httpx.Client) -> None:
    session = {"extra_headers": {"X-Session-ID": "book"}}
    whole = ai.completions.create(model="tiny", prompt="Who came?", max_tokens=12, logprobs=1, **session)
    parts = ai.completions.create(model="tiny", prompt="Who came?", max_tokens=12, stream=True, **session)
    assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text == asked(http, "book")["answer"]
    assert "".join(whole.choices[0].logprobs.tokens).strip() == whole.choices[0].text
    assert all(logprob <= 0 for logprob in whole.choices[0].logprobs.token_logprobs)


def test_earlier_messages_are_read_behind_the_session_and_forgotten(ai: Any, http: httpx.Client) -> None:
    earlier = prose(82, 300)
    messages = [{"role": "system", "content": earlier}, *USER]
    reply = ai.chat.completions.create(
        model="tiny", messages=messages, max_tokens=12, extra_headers={"X-Session-ID": "book"}
    )
    # The twin: the same text, sent to the session itself.
    twin = created(http)
    appended(http, twin, TEXT + f"\n{earlier}\n".encode())
    assert reply.choices[0].message.content == asked(http, twin)["answer"]
    assert reply.usage.prompt_tokens > asked(http, twin)["usage"]["prompt_tokens"]
    assert shown(http, "book")["text"]["accepted_bytes"] == len(TEXT)


def test_without_a_session_the_prompt_is_all_there_is(ai: Any, http: httpx.Client) -> None:
    earlier = prose(83, 300)
    messages = [{"role": "user", "content": [{"type": "text", "text": earlier}]}, *USER]
    reply = ai.chat.completions.create(model="tiny", messages=messages, max_tokens=12)
    twin = created(http)
    appended(http, twin, f"\n{earlier}\n".encode())
    assert reply.choices[0].message.content == asked(http, twin)["answer"]


def test_an_answer_is_remembered_when_asked_to(ai: Any, http: httpx.Client) -> None:
    session, twin = created(http), created(http)
    appended(http, session, TEXT)
    answer = (
        ai.chat.completions.create(
            model="tiny", messages=USER, max_tokens=12, extra_body={"session_id": session, "remember": True}
        )
        .choices[0]
        .message.content
    )
    appended(http, twin, TEXT + f"\nWho came?\n{answer}\n".encode())
    assert asked(http, session)["answer"] == asked(http, twin)["answer"]


def test_stop_ends_an_answer(ai: Any, http: httpx.Client) -> None:
    whole = asked(http, "book")["answer"]
    middle = whole[len(whole) // 2]
    session = {"extra_headers": {"X-Session-ID": "book"}}
    reply = ai.chat.completions.create(model="tiny", messages=USER, max_tokens=12, stop=middle, **session)
    assert reply.choices[0].message.content == whole.partition(middle)[0]
    assert reply.choices[0].finish_reason == "stop"


def test_its_own_error_classes_come_up(ai: Any) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        ai.chat.completions.create(model="tiny", messages=USER, extra_headers={"X-Session-ID": "never"})
    assert missing.value.code == "session_not_found"
    with pytest.raises(openai.UnprocessableEntityError) as other:
        ai.chat.completions.create(model="gpt-4o", messages=USER)
    assert (other.value.code, other.value.param) == ("invalid_field", "model")
    wrongs: list[dict[str, Any]] = [{"n": 2}, {"messages": []}, {"temperature": -1}, {"top_logprobs": 3}]
    for wrong in wrongs:
        with pytest.raises(openai.UnprocessableEntityError):
            ai.chat.completions.create(**({"model": "tiny", "messages": USER} | wrong))


def test_what_contradicts_itself_is_refused(http: httpx.Client) -> None:
    body = {"messages": USER, "session_id": "book"}
    reply = http.post("/v1/chat/completions", json=body, headers={"X-Session-ID": "other"})
    problem(reply, 422, "invalid_field", "session_id")
    problem(
        http.post("/v1/chat/completions", json={"messages": USER, "remember": True}), 422, "invalid_field", "remember"
    )
    only = {"messages": [{"role": "system", "content": "x"}]}
    problem(http.post("/v1/chat/completions", json=only), 422, "invalid_field", "body")


def test_the_client_retries_after_retry_after(tiny_weights: Path) -> None:
    """Refused at first, the client waits for as long as Retry-After says, and is served."""
    rejected = 'onceread_requests_rejected_total{reason="quota_exceeded"}'
    with (
        Server(tiny_weights, "memory://", tenant_requests_per_second=str(12 / 60)) as server,
        client(server) as http,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=20) as patient,
    ):
        ai: Any = patient
        eventually(lambda: http.get("/v1/sessions").status_code == 429)
        before = metric(http, rejected)
        assert ai.chat.completions.create(model="tiny", messages=USER, max_tokens=1).choices
        assert metric(http, rejected) > before
