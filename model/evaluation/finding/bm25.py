"""BM25 (Robertson and Zaragoza 2009) over stemmed words, plain and short: the row that ours is compared with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy
import numpy.typing

Scores = numpy.typing.NDArray[numpy.float64]

_WORD = re.compile(r"[^\W_]+")
_ENDINGS = ("ing", "ed", "es", "s", "ly")
_STEM_CHARACTERS_MIN = 3


def stems(text: str) -> list[str]:
    """The words of a text in lower case, each without the first of the common endings that it has."""
    return [_stem(word) for word in _WORD.findall(text.lower())]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_CHARACTERS_MIN:
            return word[: -len(ending)]
    return word


class Bm25:
    """The index of some documents, each a list of terms; k1 and b as in Anserini's defaults."""

    def __init__(self, documents: Sequence[Sequence[str]], k1: float = 0.9, b: float = 0.4) -> None:
        self._documents = len(documents)
        lengths = numpy.array([len(terms) for terms in documents], dtype=numpy.float64)
        self._norms = k1 * (1 - b + b * lengths / max(1.0, lengths.mean()))
        self._k1 = k1
        postings: dict[str, tuple[list[int], list[int]]] = {}
        for number, terms in enumerate(documents):
            for term, count in Counter(terms).items():
                numbers, counts = postings.setdefault(term, ([], []))
                numbers.append(number)
                counts.append(count)
        self._postings = {term: (numpy.array(n), numpy.array(c, dtype=float)) for term, (n, c) in postings.items()}

    def idf(self, term: str) -> float:
        """ln(1 + (N - n + 0.5) / (n + 0.5)) for a term that n of N documents have."""
        having = len(self._postings[term][0]) if term in self._postings else 0
        return float(numpy.log(1 + (self._documents - having + 0.5) / (having + 0.5)))

    def scores(self, terms: Sequence[str]) -> Scores:
        """The score of every document (N) for the terms of a question, each term once."""
        total = numpy.zeros(self._documents)
        for term in set(terms) & self._postings.keys():
            numbers, counts = self._postings[term]
            total[numbers] += self.idf(term) * counts * (self._k1 + 1) / (counts + self._norms[numbers])
        return total


def with_neighbours(scores: Scores, share: float = 0.5) -> Scores:
    """Every score (N) with a share of the better one of its two neighbours'."""
    padded = numpy.pad(scores, 1)
    return scores + share * numpy.maximum(padded[:-2], padded[2:])
