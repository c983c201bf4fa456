"""A session whose text the model fails at, and a question that it fails at, take nobody's work with them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import torch
from safetensors.torch import load

from model import weights
from model.tokenizer import TextTokenizer
from testing.models import prose, random_model, tiny_config
from testing.replies import appended, asked, created, events, problem
from testing.serving import Server, client

TEXTS = [prose(seed, 3_000) for seed in range(6)]
MARK = "@"
BAD = (TEXTS[0] + MARK + TEXTS[1]).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("failing")
    # Without a threshold every segment is read by the layers.
    weights.save(folder / "weights", random_model(tiny_config(write_threshold=0.0)), tokenizer, torch.float32)
    [token] = tokenizer.encode(MARK)
    server = Server(folder / "weights", f"sqlite:///{folder / 'store'}", step_tokens="64")
    server.module = ("tests.server.http.failing", str(token))
    with server:
        yield server


def memory_of(http: httpx.Client, text: str) -> dict[str, torch.Tensor]:
    """The memory of a new session that has read the text."""
    session = created(http)
    appended(http, session, text.encode())
    return load(http.get(f"/v1/sessions/{session}/memory").content)


def test_a_text_that_the_model_fails_at_fails_alone(server: Server, http: httpx.Client) -> None:
    alone = [memory_of(http, text) for text in TEXTS]

    def beside(text: str) -> dict[str, torch.Tensor]:
        with client(server) as own:
            return memory_of(own, text)

    def bad(number: int) -> httpx.Response:
        with client(server) as own:
            session = created(own, id=f"bad-{number}")
            return own.post(f"/v1/sessions/{session}/text", params={"wait": "read"}, content=BAD)

    with ThreadPoolExecutor(9) as pool:
        refused, memories = pool.map(bad, range(3)), pool.map(beside, TEXTS)
        for mine, theirs in zip(memories, alone, strict=True):
            assert torch.equal(mine["memory.context"], theirs["memory.context"])
            torch.testing.assert_close(mine["memory.associations"], theirs["memory.associations"], rtol=1e-3, atol=1e-3)
        for reply in refused:
            body = problem(reply, 500, "internal_error")
            assert "the text is kept" in body["detail"]
    assert http.get("/livez").status_code == 200
    # A question has it tried again, once, and says the same.
    problem(http.post("/v1/sessions/bad-0/queries", json={"question": "Who?"}), 500, "internal_error")
    assert any("reading session 'bad-0' failed" in line for line in server.log)
    assert http.delete("/v1/sessions/bad-0").status_code == 204


def test_a_question_that_the_model_fails_at_fails_alone(server: Server, http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, TEXTS[2].encode())
    questions = [f"Who was there {number} times?" for number in range(6)]
    alone = [asked(http, session, question=question)["answer"] for question in questions]

    def ask(question: str) -> httpx.Response:
        with client(server) as own:
            return own.post(f"/v1/sessions/{session}/queries", json={"question": question, "max_tokens": 12})

    with ThreadPoolExecutor(9) as pool:
        refused, answers = pool.map(ask, [f"Who is {MARK}?"] * 3), pool.map(ask, questions)
        assert [reply.json()["answer"] for reply in answers] == alone
        for reply in refused:
            problem(reply, 500, "internal_error")
    reply = http.post(f"/v1/sessions/{session}/queries", json={"question": f"Who is {MARK}?", "stream": True})
    [(name, body)] = events(reply.text.splitlines())
    assert (name, body["error"]["code"]) == ("error", "internal_error")
