"""A long text as tokens, cut into episodes of equal length as the `episodic` mechanism cuts it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy
import numpy.typing

from model.tokenizer import TextTokenizer

_CHARACTERS_AT_ONCE = 1 << 16
Ints = numpy.typing.NDArray[numpy.int64]


@dataclass(frozen=True)
class EpisodicText:
    """The tokens (N) of a text, and `cuts` (E + 1): the offsets in bytes at which its E episodes begin, and its end.

    The last episode may be short.
    """

    ids: numpy.typing.NDArray[numpy.int32]
    cuts: Ints
    data: bytes

    @classmethod
    def tokenized(cls, tokenizer: TextTokenizer, text: str | Iterable[str], episode_tokens: int) -> EpisodicText:
        """A text, whole or in pieces, with episodes of `episode_tokens` tokens."""
        pieces = [text] if isinstance(text, str) else list(text)
        found = [numpy.array(tokenizer.encode(part), dtype=numpy.int32) for part in whole_lines(pieces)]
        ids = numpy.concatenate([numpy.empty(0, numpy.int32), *found])
        sizes = numpy.array([len(piece) for piece in tokenizer.pieces])
        ends = sizes[ids].cumsum()
        cuts = numpy.concatenate([[0], ends[episode_tokens - 1 : -1 : episode_tokens], ends[-1:]]).astype(numpy.int64)
        return cls(ids, cuts, "".join(pieces).encode())

    @cached_property
    def texts(self) -> list[str]:
        """The text of each episode; a character that a cut divides is left out."""
        pairs = zip(self.cuts[:-1].tolist(), self.cuts[1:].tolist(), strict=True)
        return [self.data[start:end].decode(errors="ignore") for start, end in pairs]

    def __len__(self) -> int:
        return len(self.cuts) - 1

    def tail(self, episode_tokens: int) -> list[int]:
        """The tokens after the last full episode."""
        tokens: list[int] = self.ids[len(self.ids) // episode_tokens * episode_tokens :].tolist()
        return tokens

    def place(self, episode: int) -> tuple[int, int]:
        return int(self.cuts[episode]), int(self.cuts[episode + 1])

    def covering(self, start: int, end: int) -> range:
        """The episodes that have some of the bytes from `start` to `end`."""
        first, last = numpy.searchsorted(self.cuts, [start, max(start, end - 1)], side="right") - 1
        return range(int(first), int(last) + 1)


def whole_lines(pieces: Iterable[str]) -> Iterator[str]:
    """The same text in larger parts, each of which begins with a line break between two marks.

    Such a line break is always a token's border, so that the parts can be tokenised one by one.
    """
    held = ""
    for piece in pieces:
        for start in range(0, len(piece), _CHARACTERS_AT_ONCE):
            held += piece[start : start + _CHARACTERS_AT_ONCE]
            cut = _border(held)
            if cut >= _CHARACTERS_AT_ONCE // 2:
                yield held[:cut]
                held = held[cut:]
    if held:
        yield held


def _border(text: str) -> int:
    """Where the last line break between two marks is, or 0; only the newest text is searched."""
    first = max(1, len(text) - 2 * _CHARACTERS_AT_ONCE)
    cut = text.rfind("\n", first)
    while cut > 0 and not (text[cut - 1].strip() and text[cut + 1 : cut + 2].strip()):
        cut = text.rfind("\n", first, cut)
    return max(cut, 0)
