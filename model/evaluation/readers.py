"""Who sits the examination: a model in this process, or a running server.

It knows how a text gets read and a question answered, and nothing of what is right.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.request import Request, urlopen

import torch

from model.evaluation.novels import Reader
from model.prompt import prompt_ids
from model.tokenizer import StreamDecoder
from model.weights import LoadedModel

ANSWER_TOKENS_MAX = 8


def local_reader(loaded: LoadedModel, progress: Callable[[int], object]) -> Reader:
    """Reads with the model itself, one row at a time; `progress` gets the tokens of each segment read."""
    model, tokenizer, config = loaded.model, loaded.tokenizer, loaded.model.config

    @torch.inference_mode()
    def read_and_answer(text: str, questions: list[str]) -> list[str]:
        ids, step = tokenizer.encode(text), config.segment_tokens
        memory = model.initial_memory(1)
        whole = len(ids) // step * step
        for start in range(0, whole, step):
            memory = model.read(torch.tensor([ids[start : start + step]], device=model.device), memory)
            progress(step)
        if tail := ids[whole:]:
            memory = model.read(torch.tensor([tail], device=model.device), memory)
        answers = []
        for question in questions:
            prompt = prompt_ids(config, tokenizer.encode(question))
            window = [*memory["context"][0].tolist(), *prompt]
            cache = model.initial_cache(1, len(window) + ANSWER_TOKENS_MAX)
            fed, at, decoder, answer = window, 0, StreamDecoder(tokenizer), ""
            for _ in range(ANSWER_TOKENS_MAX):
                positions = torch.arange(at, at + len(fed), device=model.device)[None]
                hidden = model.answer(torch.tensor([fed], device=model.device), positions, memory, cache)
                token = int(model.logits(hidden[0, -1]).argmax())
                if token == config.special.end:
                    break
                answer += decoder.push(token)
                at, fed = at + len(fed), [token]
            answers.append(answer + decoder.finish())
        return answers

    return read_and_answer


def http_reader(url: str) -> Reader:
    """Reads and asks through a server's sessions; each text is its own session, deleted afterwards."""

    def call(method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        request = Request(url.rstrip("/") + path, body, {"Content-Type": kind}, method=method)
        with urlopen(request, timeout=3600) as response:
            return bytes(response.read())

    def read_and_answer(text: str, questions: list[str]) -> list[str]:
        session = json.loads(call("POST", "/v1/sessions", b"{}"))["id"]
        call("POST", f"/v1/sessions/{session}/text?wait=read", text.encode(), "text/plain")
        asked = json.dumps({"questions": questions, "max_tokens": ANSWER_TOKENS_MAX}).encode()
        answers = json.loads(call("POST", f"/v1/sessions/{session}/queries", asked))["answers"]
        call("DELETE", f"/v1/sessions/{session}")
        return [answer["answer"] for answer in answers]

    return read_and_answer
