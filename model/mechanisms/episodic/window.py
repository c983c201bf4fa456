"""What a question's window has in front of the tail: the found places in the text's order, with marks between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from model.mechanisms.base import Source
from model.mechanisms.episodic.finding import Span
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.vocabulary import Vocabulary

# Tokens `begin` to `end` of all kept episodes, one after the other.
Run = tuple[int, int]


def runs_of(places: Iterable[Run]) -> list[Run]:
    """The places in the text's order, those that touch or overlap as one; empty ones are left out."""
    runs: list[Run] = []
    for begin, end in sorted(places):
        if begin >= end:
            continue
        if runs and begin <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((begin, end))
    return runs


def window_tokens(episodes: Episodes, runs: Sequence[Run], end: int, gap: Sequence[int]) -> tuple[int, ...]:
    """The tokens of the runs, with `gap` where text is left out between two, or before the tail, which is at `end`."""
    tokens: list[int] = []
    for index, run in enumerate(runs):
        tokens += tokens_between(episodes, run).tolist()
        following = runs[index + 1][0] if index + 1 < len(runs) else end
        if following > run[1]:
            tokens += gap
    return tuple(tokens)


def sources_of(episodes: Episodes, spans: Iterable[Span], vocabulary: Vocabulary) -> tuple[Source, ...]:
    """The spans as places of the text, in their order."""
    sources = []
    for span in spans:
        tokens = tokens_between(episodes, (span.begin, span.end))
        offset = offset_of(episodes, span.begin, vocabulary)
        size = vocabulary.size(tokens)
        sources.append(Source(offset, size, vocabulary.text(tokens.tolist()), span.score))
    return tuple(sources)


def tokens_between(episodes: Episodes, run: Run) -> np.ndarray:
    """The tokens of a run."""
    size = episodes.blocks[0].tokens.shape[1]
    first, last = run[0] // size, (run[1] - 1) // size
    whole = np.concatenate([episodes.tokens_of(episode) for episode in range(first, last + 1)])
    found: np.ndarray = whole[run[0] - first * size : run[1] - first * size]
    return found


def offset_of(episodes: Episodes, token: int, vocabulary: Vocabulary) -> int:
    """The bytes of text in front of a token."""
    size = episodes.blocks[0].tokens.shape[1]
    episode, behind = divmod(token, size)
    return episodes.offset_of(episode) + vocabulary.size(episodes.tokens_of(episode)[:behind])
