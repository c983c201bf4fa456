"""The text that an episodic memory holds, read back from any place: tokens decode to the bytes as they were sent."""

from __future__ import annotations

from collections.abc import Iterator

from model.mechanisms.base import HeldText
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.vocabulary import Vocabulary


def held_text(episodes: Episodes, tail: bytes, offset: int, size: int, vocabulary: Vocabulary) -> HeldText:
    """At most `size` bytes from `offset` on, of the episodes and the tail behind them, up to the first hole."""
    found = bytearray()
    for begin, text in _texts(episodes, tail, offset, vocabulary):
        behind = offset + len(found) - begin
        if behind < 0 and text:
            return HeldText(bytes(found), begin)
        found += text[max(behind, 0) :]
        if len(found) >= size:
            break
    return HeldText(bytes(found[:size]))


def _texts(episodes: Episodes, tail: bytes, offset: int, vocabulary: Vocabulary) -> Iterator[tuple[int, bytes]]:
    """Where each episode begins, and its text, from the one on that an offset can lie in; the tail comes last.

    An episode that only fills up the end of a document has no text.
    """
    for episode in range(max(episodes.last_at(offset), 0), len(episodes)):
        yield episodes.offset_of(episode), vocabulary.bytes_of(episodes.tokens_of(episode).tolist())
    yield episodes.read_bytes, tail
