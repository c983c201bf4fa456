"""Which places of a memory a question is about: the best episodes by their terms, and their best sentences.

All episodes are scanned (`scanning.py`); the text of the best few is looked at again (`rescoring.py`). No model runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.passages import Passages, passages
from model.mechanisms.episodic.question import Question, parsed
from model.mechanisms.episodic.rescoring import features, scored
from model.mechanisms.episodic.scanning import Hits, bm25, idf, rarity, scan, smoothed
from model.mechanisms.episodic.vocabulary import Vocabulary

CANDIDATES = 128
# So many of the best are looked at together with the episodes beside them: a sentence may go on there.
CANDIDATES_WITH_NEIGHBOURS = 32
# Where no sentence has more than this share of the question near by, the text does not have the answer.
COVERED, COVERED_WITHOUT_A_NAME = 0.25, 0.36
EPISODES_WEIGHED = 512


class Span(NamedTuple):
    """Tokens `begin` to `end` of all kept episodes, one after the other, and how well they match the question."""

    begin: int
    end: int
    score: float


class Finding(NamedTuple):
    """Spans that do not overlap, best first; `found` says whether the text has the answer, None if it is not sure."""

    spans: tuple[Span, ...]
    found: bool | None


class Text(NamedTuple):
    """Episodes, of which the last `tail` tokens are the tail, and how their tokens are read."""

    episodes: Episodes
    vocabulary: Vocabulary
    tokens: int
    tail: int


def find(text: Text, question: str, budget: int, gap: int) -> Finding:
    """At most `budget` tokens to read again for a question, where a place that is left out costs `gap` tokens."""
    asked = parsed(question)
    hits = scan(text.episodes, asked.terms)
    if not len(hits.episode):
        # What a text is about stands at its beginning.
        begin = Span(0, min(budget, text.tokens), 0.0)
        return Finding((), False) if asked.specific else Finding((begin,), None)
    weights = rarity(hits, len(asked.terms))
    some = candidates(smoothed(bm25(hits, weights)))
    found = passages(text.episodes, text.vocabulary, some, text.tokens)
    places = [*_places(hits, found, some, asked, text.episodes.blocks[0].tokens.shape[1])]
    scores = scored(features(found, places, weights), found.begin / text.tokens, asked.latest)
    # Where the model reads the whole text again, it can judge for itself.
    left_out = asked.specific and text.tokens > budget
    has = False if left_out and is_missing(asked, hits, found, places) else None
    return Finding(tuple(chosen(found, scores, budget, gap, text.tokens - text.tail)), has)


def candidates(scores: np.ndarray) -> np.ndarray:
    """The best episodes by their scores, of equal ones the later, and those beside the very best; in order."""
    some = np.argsort(scores, kind="stable")[-CANDIDATES:]
    best = some[-CANDIDATES_WITH_NEIGHBOURS:]
    found: np.ndarray = np.unique(np.concatenate([some, best[best > 0] - 1, best[best < len(scores) - 1] + 1]))
    return found


def _places(hits: Hits, found: Passages, some: np.ndarray, asked: Question, size: int) -> Iterator[np.ndarray]:
    """For each term the tokens at which it stands, in order: in an episode that was not looked at, the middle."""
    outside = ~np.isin(hits.episode, some)
    order = np.argsort(found.term, kind="stable")
    sorted_terms = found.term[order]
    for number, term in enumerate(asked.terms):
        first, last = np.searchsorted(sorted_terms, [term, term + 1])
        middle = hits.episode[outside & (hits.term == number)] * size + size // 2
        yield np.sort(np.concatenate([found.at[order[first:last]], middle]))


def chosen(found: Passages, scores: np.ndarray, budget: int, gap: int, tail: int) -> Iterator[Span]:
    """The best sentences that fit, of equal ones the later first; those of the tail, at `tail` and behind, are free.

    A sentence that stands alone costs `gap` tokens more than one beside another. The last one may be cut.
    """
    begins, ends = {tail}, set[int]()
    for n in np.lexsort((-found.begin, -scores)).tolist():
        begin, end = int(found.begin[n]), int(found.end[n])
        if begin < tail:
            end = min(end, tail)
            left = budget - gap * (1 - (begin in ends) - (end in begins))
            if end - begin > left:
                # The rest is left out: nothing follows at once.
                left = budget - gap * (begin not in ends)
                end = begin + left
            if begin >= end:
                break
            budget = left - (end - begin)
            begins.add(begin)
            ends.add(end)
        yield Span(begin, end, float(scores[n]))


def is_missing(asked: Question, hits: Hits, found: Passages, places: list[np.ndarray]) -> bool:
    """Whether it is nearly certain that the text does not have the answer: no place has most of the question's terms.

    The thresholds are measured (LOG.md). That a text has the answer is never certain by its terms: questions that it
    nearly answers share as many.
    """
    present = np.bincount(hits.term, minlength=len(places))
    # In a short text a term that is there would weigh next to nothing.
    weights = idf(present, max(len(hits.lengths), EPISODES_WEIGHED))
    covered = features(found, places, weights)[:, 0].max() / weights.sum()
    nameless = bool(np.array(asked.names)[present == 0].any())
    return bool(covered < (COVERED_WITHOUT_A_NAME if nameless else COVERED))
