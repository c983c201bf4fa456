"""Which places of a memory a question is about: BM25 over the terms of all episodes, and of their neighbours.

Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.terms import COUNT_MAX, as_array, term, words

K1, B = 0.9, 0.4
NEIGHBOUR = 0.5


class Span(NamedTuple):
    """Tokens `begin` to `end` of all kept episodes, one after the other, and how well they match the question."""

    begin: int
    end: int
    score: float


class Finding(NamedTuple):
    """Spans that do not overlap, best first; `found` says whether the text has the answer, None if it is not sure."""

    spans: tuple[Span, ...]
    found: bool | None


def find(episodes: Episodes, question: str, segment_tokens: int, budget_tokens: int) -> Finding:
    """At most `budget_tokens` tokens to read again for a question."""
    scores = smoothed(bm25(episodes, sorted({term(word) for word in words(question)})))
    best = np.argsort(-scores, kind="stable")[: budget_tokens // segment_tokens]
    spans = [Span(n * segment_tokens, (n + 1) * segment_tokens, float(scores[n])) for n in best.tolist()]
    return Finding(tuple(spans), False if not scores.any() else None)


def bm25(episodes: Episodes, wanted: list[int]) -> np.ndarray:
    """The score (n) of each episode for the terms that are wanted."""
    keys = np.sort(as_array(wanted))
    counts = np.concatenate([_counts(block.terms.numpy(), block.ends.numpy(), keys) for block in episodes.blocks])
    lengths = np.concatenate([np.diff(block.ends.numpy(), prepend=0) for block in episodes.blocks]).astype(float)
    present = (counts > 0).sum(axis=0)
    idf = np.log(1 + (len(counts) - present + 0.5) / (present + 0.5))
    norm = K1 * (1 - B + B * lengths / lengths.mean())
    found: np.ndarray = (counts * (K1 + 1) / (counts + norm[:, None]) * idf).sum(axis=1)
    return found


def _counts(terms: np.ndarray, ends: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """How often each episode of a block has each key: (n, Q)."""
    counts = np.zeros((len(ends), len(keys)))
    bare = terms & ~np.int32(COUNT_MAX)
    for column, key in enumerate(keys):
        at = np.flatnonzero(bare == key)
        counts[np.searchsorted(ends, at, side="right"), column] = terms[at] & COUNT_MAX
    return counts


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Each score with half of its better neighbour's."""
    beside = np.pad(scores, 1)
    found: np.ndarray = scores + NEIGHBOUR * np.maximum(beside[:-2], beside[2:])
    return found
