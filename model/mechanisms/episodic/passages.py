"""Episodes as text again: their words and sentences, each at its token."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.terms import term, words
from model.mechanisms.episodic.vocabulary import Vocabulary

# A table or a program has no ends of sentences. No sentence is longer than an episode either.
SENTENCE_TOKENS_MAX = 64
# A line that goes on with a small letter is a wrapped line.
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s+|[。！？]+|\n+(?![a-z])")


class Passages(NamedTuple):
    """Sentences (S) and words (W) of some episodes, in the text's order.

    `begin`, `end` (S) and `at` (W) count the tokens of all episodes, one after the other; `term` (W) are terms.
    """

    begin: np.ndarray
    end: np.ndarray
    at: np.ndarray
    term: np.ndarray


def passages(episodes: Episodes, vocabulary: Vocabulary, some: np.ndarray, length: int) -> Passages:
    """The sentences and words of episodes in rising order; the text ends after `length` tokens."""
    begins, ends, at, terms = (list[np.ndarray]() for _ in range(4))
    for run in _runs(episodes, vocabulary, some):
        ids = np.concatenate([episodes.tokens_of(episode) for episode in run.tolist()])
        size, first = len(ids) // len(run), int(run[0]) * (len(ids) // len(run))
        ids = ids[: length - first]
        # What fills up the end of a document is no text.
        ids = ids[: np.flatnonzero(vocabulary.sizes(ids)).max(initial=-1) + 1]
        if not len(ids):
            continue
        # Each byte of a character that is cut, or that is none, becomes one surrogate.
        text = vocabulary.bytes_of(ids.tolist()).decode(errors="surrogateescape")
        tokens = _Tokens(text, vocabulary.sizes(ids))
        own, characters = words(text)
        cuts = np.array([end.end() for end in _SENTENCE_END.finditer(text)], dtype=np.int64)
        starts = np.unique(np.append(0, tokens.at(cuts)))
        starts = _shortened(starts[starts < len(ids)], len(ids), min(SENTENCE_TOKENS_MAX, size))
        begins.append(first + starts)
        ends.append(first + np.append(starts[1:], len(ids)))
        at.append(first + tokens.at(np.array(characters, dtype=np.int64)))
        terms.append(np.array([*map(term, own)], dtype=np.int64))
    nothing = np.zeros(0, np.int64)
    return Passages(*(np.concatenate([nothing, *part]) for part in (begins, ends, at, terms)))


def _runs(episodes: Episodes, vocabulary: Vocabulary, some: np.ndarray) -> list[np.ndarray]:
    """The episodes, in parts that are one text each: neighbours of one document."""
    ends = [vocabulary.ends_document(episodes.tokens_of(episode)) for episode in some[:-1].tolist()]
    return np.split(some, np.flatnonzero((np.diff(some) > 1) | np.array(ends, dtype=bool)) + 1)


class _Tokens:
    """At which token of a text each of its characters is."""

    def __init__(self, text: str, sizes: np.ndarray) -> None:
        self._starts = np.cumsum(sizes) - sizes
        self._bytes: np.ndarray | None = None
        if not text.isascii():
            codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
            surrogate = (codes >= 0xDC80) & (codes <= 0xDCFF)
            widths = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
            self._bytes = np.append(0, np.cumsum(np.where(surrogate, 1, widths)))

    def at(self, characters: np.ndarray) -> np.ndarray:
        place = characters if self._bytes is None else self._bytes[characters]
        found: np.ndarray = np.searchsorted(self._starts, place, side="right") - 1
        return found


def _shortened(starts: np.ndarray, end: int, most: int) -> np.ndarray:
    """The starts of sentences, and more between them where a sentence has more than `most` tokens."""
    sizes = np.diff(np.append(starts, end))
    parts = np.maximum(1, -(-sizes // most))
    index = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    found: np.ndarray = np.repeat(starts, parts) + index * most
    return found
