"""A text that was read and can be asked about, with the places that each answer was drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from model.evaluation.episodes import EpisodicText
from model.evaluation.finding.finders import Range, memory_of
from model.evaluation.readers import calls, decoded, upload
from model.mechanisms.episodic.memory import EpisodicMemory
from model.mechanisms.episodic.transformer import EpisodicTransformer
from model.weights import LoadedModel


class Reply(NamedTuple):
    """An answer, the ranges of bytes that were read again for it, and whether the text is said to have it."""

    answer: str
    read: Sequence[Range]
    found: bool | None


class ReadText(NamedTuple):
    """`ask` answers a question; `kept` are the ranges of the text that the memory still has, None if not known."""

    ask: Callable[[str], Reply]
    kept: Sequence[Range] | None


@contextmanager
def read_here(loaded: LoadedModel, text: str, tokens_max: int) -> Iterator[ReadText]:
    """Reads with the model itself."""
    model, size = loaded.model, loaded.model.config.segment_tokens
    with torch.inference_mode():
        cut = EpisodicText.tokenized(loaded.tokenizer, text, size)
        memory, tail = memory_of(loaded, cut), cut.tail(size)

        def ask(question: str) -> Reply:
            asked = loaded.tokenizer.encode(question)
            recall = model.recall(asked, memory, tail)
            read = [(source.offset, source.offset + source.size) for source in recall.sources]
            answer = "" if recall.found is False else decoded(loaded, recall, tail, asked, tokens_max)
            return Reply(answer, read, recall.found)

        kept = None
        if isinstance(memory, EpisodicMemory) and isinstance(model, EpisodicTransformer):
            [left] = memory.rows
            sizes = [model.vocabulary.size(left.tokens_of(n).tolist()) for n in range(len(left))]
            kept = [(left.offset_of(n), left.offset_of(n) + sizes[n]) for n in range(len(left))]
            kept.append((int(cut.cuts[len(cut.ids) // size]), len(cut.data)))
        yield ReadText(ask, kept)


@contextmanager
def read_by_server(url: str, text: str, tokens_max: int) -> Iterator[ReadText]:
    """Reads and asks through a session of a server, which is deleted afterwards."""
    call = calls(url)
    session = json.loads(call("POST", "/v1/sessions", b"{}"))["id"]
    try:
        upload(call, session, text, lambda size: None)

        def ask(question: str) -> Reply:
            body = json.dumps({"question": question, "max_tokens": tokens_max, "sources": 16}).encode()
            found = json.loads(call("POST", f"/v1/sessions/{session}/queries", body))
            read = [(source["offset"], source["offset"] + source["bytes"]) for source in found["sources"]]
            return Reply(found["answer"], read, found["found"])

        yield ReadText(ask, None)
    finally:
        call("DELETE", f"/v1/sessions/{session}")
