"""Whether a place of an answer is among what was found, and at which rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.evaluation.corpora import Question
from model.evaluation.finding.finders import RANKED, Find, Range


@dataclass(frozen=True)
class Rank:
    """What a row found for a question: `rank` is None where the answer is not among the first sixteen.

    `tokens` is the length of the text; `read` says whether the answer is in what the model would read again.
    """

    corpus: str
    tokens: int
    row: str
    number: int
    question: str
    rank: int | None
    read: bool

    @property
    def key(self) -> tuple[str, int, str, int]:
        return self.corpus, self.tokens, self.row, self.number


def ranked(find: Find, question: Question, episode_tokens: int, recall_tokens: int) -> tuple[int | None, bool]:
    """The rank of a question's best place among sixteen, and whether it is within `recall_tokens` tokens."""
    read = find(question.text, recall_tokens)
    return (
        rank_of(find(question.text, RANKED * episode_tokens), question.places),
        any(covered(read, place) for place in question.places),
    )


def rank_of(ranges: Sequence[Range], places: Sequence[Range]) -> int | None:
    """The least number of ranges, best first, that together have one whole place; None if all do not suffice."""
    for count in range(1, min(len(ranges), RANKED) + 1):
        if any(covered(ranges[:count], place) for place in places):
            return count
    return None


def covered(ranges: Sequence[Range], place: Range) -> bool:
    """Whether every byte of a place is in one of the ranges."""
    start, end = place
    for first, last in sorted(ranges):
        if first <= start < last:
            start = last
    return start >= end
