"""What a question's window has in front of the tail: the found places in the text's order, with marks between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from model.mechanisms.base import Source
from model.mechanisms.episodic.finding import Span
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.vocabulary import Vocabulary


def pieces(episodes: Episodes, spans: Iterable[Span], vocabulary: Vocabulary) -> Iterator[Span]:
    """The spans, cut where an episode in front of another was forgotten: their tokens are not one text there."""
    size = episodes.blocks[0].tokens.shape[1]
    for span in spans:
        begin = span.begin
        for token in range(-(-begin // size) * size, span.end, size):
            if begin < token and not continues(episodes, token, vocabulary):
                yield span._replace(begin=begin, end=token)
                begin = token
        yield span._replace(begin=begin)


def merged(episodes: Episodes, spans: Iterable[Span], vocabulary: Vocabulary) -> list[Span]:
    """Spans that touch as one, with the better score; in the text's order."""
    found: list[Span] = []
    for span in sorted(spans):
        last = found[-1] if found else None
        if last is not None and last.end == span.begin and continues(episodes, span.begin, vocabulary):
            found[-1] = Span(last.begin, span.end, max(last.score, span.score))
        else:
            found.append(span)
    return found


def continues(episodes: Episodes, token: int, vocabulary: Vocabulary) -> bool:
    """Whether the text in front of a token is there, not forgotten, and of the same document."""
    episode, behind = divmod(token, episodes.blocks[0].tokens.shape[1])
    if behind or not episode:
        return True
    last = episodes.tokens_of(episode - 1)
    before = episodes.offset_of(episode - 1) + vocabulary.size(last)
    return before == episodes.offset_of(episode) and not vocabulary.ends_document(last)


def window_tokens(
    episodes: Episodes, spans: Sequence[Span], end: int, gap: Sequence[int], vocabulary: Vocabulary
) -> tuple[int, ...]:
    """The tokens of merged spans, with `gap` between two, and before the tail, at `end`, where text is left out.

    Between two documents there is a gap too. What fills up the end of a document is no text, and not in a window.
    """
    tokens: list[int] = []
    for index, span in enumerate(spans):
        read = tokens_between(episodes, span)
        tokens += read[vocabulary.sizes(read) > 0].tolist()
        if index + 1 < len(spans) or span.end < end or vocabulary.ends_document(read):
            tokens += gap
    return tuple(tokens)


def sources_of(episodes: Episodes, spans: Iterable[Span], vocabulary: Vocabulary) -> tuple[Source, ...]:
    """The spans as places of the text, best first; of equal ones the later first."""
    sources = []
    for span in sorted(spans, key=lambda span: (-span.score, -span.begin)):
        tokens = tokens_between(episodes, span)
        offset = offset_of(episodes, span.begin, vocabulary)
        size = vocabulary.size(tokens)
        sources.append(Source(offset, size, vocabulary.text(tokens.tolist()), span.score))
    return tuple(sources)


def tokens_between(episodes: Episodes, span: Span) -> np.ndarray:
    """The tokens of a span."""
    size = episodes.blocks[0].tokens.shape[1]
    first, last = span.begin // size, (span.end - 1) // size
    whole = np.concatenate([episodes.tokens_of(episode) for episode in range(first, last + 1)])
    found: np.ndarray = whole[span.begin - first * size : span.end - first * size]
    return found


def offset_of(episodes: Episodes, token: int, vocabulary: Vocabulary) -> int:
    """The bytes of text in front of a token."""
    size = episodes.blocks[0].tokens.shape[1]
    episode, behind = divmod(token, size)
    return episodes.offset_of(episode) + vocabulary.size(episodes.tokens_of(episode)[:behind])
