"""A range of a session's text as it is shown: whole characters, all of one document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from model.documents import Document, end_at, named_at


class TextRange(NamedTuple):
    """`size` bytes of the text from `offset` on, as they were sent, which are in `document`, or None where in none."""

    offset: int
    size: int
    text: str
    document: str | None


def text_range(data: bytes, offset: int, documents: Sequence[Document]) -> TextRange:
    """The whole characters of `data`, UTF-8 that may be cut at both ends and stands at `offset` of the text.

    They end where the document of the first one ends. Without a whole character the range is empty.
    """
    cut = next((index for index, byte in enumerate(data) if not _continues(byte)), len(data))
    begin, end = offset + cut, end_at(documents, offset + cut)
    # The text is valid, so that all that can be left out is a character that is cut.
    text = data[cut : None if end is None else end - offset].decode(errors="ignore")
    return TextRange(begin, len(text.encode()), text, named_at(documents, begin))


def _continues(byte: int) -> bool:
    """Whether a byte is one of a character's, but not its first."""
    return byte & 0b1100_0000 == 0b1000_0000
