"""What is examined: ways to find the places of a text that a question is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy
import torch

from model.evaluation.episodes import EpisodicText
from model.evaluation.finding.bm25 import Bm25, Scores, stems, with_neighbours
from model.evaluation.finding.dense import SentenceEncoder, fused, installed
from model.memory import MemoryState
from model.runtime.segment_reader import read_all
from model.weights import LoadedModel

RANKED = 16
OURS = "ours"
_SEGMENTS_AT_ONCE = 4096

# A range of bytes of the text: its start and its end.
Range = tuple[int, int]
# The ranges that are found for a question, best first, of so many tokens at most.
Find = Callable[[str, int], Sequence[Range]]


def baselines(text: EpisodicText, episode_tokens: int, dense: bool) -> Iterator[tuple[str, Find]]:
    """BM25 over episodes, alone and with neighbours ("+n"), and with a sentence encoder where it is wanted."""
    lexical = Bm25([stems(episode) for episode in text.texts])

    def by_terms(question: str) -> Scores:
        return lexical.scores(stems(question))

    def row(scores: Callable[[str], Scores]) -> Find:
        return lambda question, tokens: best(text, scores(question), tokens // episode_tokens)

    yield "BM25", row(by_terms)
    yield "BM25 +n", row(lambda question: with_neighbours(by_terms(question)))
    archive = installed() if dense else None
    if archive is not None:
        encoder = SentenceEncoder(archive)
        vectors = encoder.encode(text.texts)

        def by_meaning(question: str) -> Scores:
            return (vectors @ encoder.encode([question])[0]).numpy().astype(numpy.float64)

        yield "dense", row(by_meaning)
        yield "fused", row(lambda question: fused(by_terms(question), by_meaning(question)))
        yield "fused +n", row(lambda question: fused(with_neighbours(by_terms(question)), by_meaning(question)))


def best(text: EpisodicText, scores: Scores, count: int) -> list[Range]:
    """The `count` episodes with the highest scores (E), the first of equal ones first."""
    return [text.place(episode) for episode in numpy.argsort(-scores, kind="stable")[:count].tolist()]


def mechanism(loaded: LoadedModel, text: EpisodicText) -> Find:
    """The model's own finding: what its memory of the text recalls for a question."""
    model, tail = loaded.model, text.tail(loaded.model.config.segment_tokens)
    memory = memory_of(loaded, text)

    def find(question: str, tokens: int) -> list[Range]:
        own = model.config
        model.config = replace(own, recall_tokens=tokens)
        try:
            recall = model.recall(loaded.tokenizer.encode(question), memory, tail)
        finally:
            model.config = own
        return [(source.offset, source.offset + source.size) for source in recall.sources]

    return find


def memory_of(loaded: LoadedModel, text: EpisodicText) -> MemoryState:
    """The memory after all whole segments of a text."""
    model, step = loaded.model, loaded.model.config.segment_tokens
    memory = model.initial_memory(1)
    segments = torch.from_numpy(text.ids[: len(text.ids) // step * step]).view(-1, step)
    for part in torch.split(segments, _SEGMENTS_AT_ONCE) if len(segments) else ():
        memory = read_all(model, part.to(model.device, torch.int64), memory)
    return memory
