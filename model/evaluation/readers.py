"""What is examined: a model in this process, or a running server."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy
import numpy.typing
import torch
from torch import Tensor

from model.mechanisms.base import Recall
from model.memory import MemoryState
from model.prompt import prompt_ids, window_ids
from model.runtime.segment_reader import read_all
from model.tokenizer import StreamDecoder, TextTokenizer
from model.weights import LoadedModel

ANSWER_TOKENS_MAX = 8
_SEGMENTS_AT_ONCE = 128
_UPLOAD_BYTES = 1 << 22

# Reads a text and answers questions about it.
Reader = Callable[[str, Sequence[str]], list[str]]
# Method, path, and where there is one a body with its kind.
Call = Callable[..., bytes]


def local_reader(loaded: LoadedModel, progress: Callable[[int], object]) -> Reader:
    """Reads with the model itself, one text at a time; `progress` gets the bytes of each piece read."""

    known = ParagraphTokens(loaded.tokenizer)

    @torch.inference_mode()
    def read_and_answer(text: str, questions: Sequence[str]) -> list[str]:
        memory, tail = _read(loaded, known.encode(text), len(text.encode()), progress)
        return [_answer(loaded, memory, tail, question) for question in questions]

    return read_and_answer


class ParagraphTokens:
    """Tokens of texts made of the same books: each paragraph is tokenised once.

    A paragraph break between two marks is always a token's border, so that joining is exact.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, numpy.typing.NDArray[numpy.int32]] = {}

    def encode(self, text: str) -> Tensor:
        """The tokens (N) of a whole text."""
        return torch.from_numpy(numpy.concatenate([self._paragraph(part) for part in paragraphs(text)]))

    def _paragraph(self, part: str) -> numpy.typing.NDArray[numpy.int32]:
        if (ids := self._known.get(part)) is None:
            ids = self._known[part] = numpy.array(self._tokenizer.encode(part), dtype=numpy.int32)
        return ids


def paragraphs(text: str) -> list[str]:
    """A text cut before every line break that stands between two marks."""
    first, *lines = text.split("\n")
    parts = [[first]]
    before = first
    for line in lines:
        if line[:1].strip() and before[-1:].strip():
            parts.append([])
        parts[-1].append("\n" + line)
        before = line
    return ["".join(part) for part in parts]


def _read(
    loaded: LoadedModel, ids: Tensor, size: int, progress: Callable[[int], object]
) -> tuple[MemoryState, list[int]]:
    """The memory after tokens (N) of a text of `size` bytes, and the tail for a question's window."""
    model, step = loaded.model, loaded.model.config.segment_tokens
    memory, whole = model.initial_memory(1), len(ids) // step * step
    reported = 0
    for part in torch.split(ids[:whole].view(-1, step), _SEGMENTS_AT_ONCE):
        memory = read_all(model, part.to(model.device, torch.int64), memory)
        done = reported + part.numel() * size // len(ids)
        progress(done - reported)
        reported = done
    progress(size - reported)
    tail = ids[whole:].tolist()
    if tail and model.config.tail_in_memory:
        memory = model.read(torch.tensor([tail], device=model.device), memory)
    return memory, tail


def _answer(loaded: LoadedModel, memory: MemoryState, tail: list[int], question: str) -> str:
    asked = loaded.tokenizer.encode(question)
    return decoded(loaded, loaded.model.recall(asked, memory, tail), tail, asked, ANSWER_TOKENS_MAX)


def decoded(loaded: LoadedModel, recall: Recall, tail: Sequence[int], asked: Sequence[int], tokens_max: int) -> str:
    """The likeliest answer to a question, as its tokens, from what it recalls and the tail."""
    model, config = loaded.model, loaded.model.config
    window = window_ids(config, [*recall.tokens, *tail], prompt_ids(config, asked))
    prompt, length = (torch.tensor(ids, device=model.device) for ids in ([window], [len(window)]))
    hidden, cache = model.prefill(prompt, length, recall.memory, tokens_max)
    decoder, answer = StreamDecoder(loaded.tokenizer), ""
    for _ in range(tokens_max):
        token = model.logits(hidden[0]).argmax()
        if token == config.special.end:
            break
        answer += decoder.push(int(token))
        hidden = model.decode_step(token[None], recall.memory, cache)
    return answer + decoder.finish()


def http_reader(url: str, progress: Callable[[int], object]) -> Reader:
    """Reads and asks through a server's sessions; each text is its own session, deleted afterwards."""
    call = calls(url)

    def read_and_answer(text: str, questions: Sequence[str]) -> list[str]:
        session = json.loads(call("POST", "/v1/sessions", b"{}"))["id"]
        try:
            upload(call, session, text, progress)
            asked = json.dumps({"questions": list(questions), "max_tokens": ANSWER_TOKENS_MAX}).encode()
            answers = json.loads(call("POST", f"/v1/sessions/{session}/queries", asked))["answers"]
        finally:
            call("DELETE", f"/v1/sessions/{session}")
        return [answer["answer"] for answer in answers]

    return read_and_answer


def calls(url: str) -> Call:
    """Requests to a server; an answer that is an error is raised with what the server says."""

    def call(method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
        request = Request(url.rstrip("/") + path, body, {"Content-Type": kind}, method=method)
        try:
            with urlopen(request, timeout=3600) as response:
                return bytes(response.read())
        except HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error

    return call


def upload(call: Call, session: str, text: str, progress: Callable[[int], object]) -> None:
    """Sends a text to a session and waits until it is read."""
    data = memoryview(text.encode())
    for start in range(0, len(data), _UPLOAD_BYTES):
        piece = bytes(data[start : start + _UPLOAD_BYTES])
        call("POST", f"/v1/sessions/{session}/text?wait=read", piece, "text/plain")
        progress(len(piece))
