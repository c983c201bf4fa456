"""Cuts a streamed body into pieces of one document each, and checks that they are UTF-8 before they are stored."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple

from server.sessions import errors
from server.sessions.body_kind import Advice, advice, first_control, is_binary
from server.store.base import PIECE_BYTES_MAX

# A UTF-8 character has up to four bytes: so many may be open at the end of a text.
OPEN_BYTES_MAX = 3
_CONTINUATION = bytes(range(0x80, 0xC0))


class Passage(NamedTuple):
    """Bytes of a body, and the document that they belong to; None: that of the text that they are appended to."""

    data: bytes
    document: str | None = None


async def pieces(body: AsyncIterator[Passage]) -> AsyncGenerator[Passage, None]:
    """For each document pieces of PIECE_BYTES_MAX and a last shorter one.

    The same body is always cut at the same places.
    """
    held, document = bytearray(), None
    async for passage in body:
        if passage.data and passage.document != document:
            if held:
                yield Passage(bytes(held), document)
                held.clear()
            document = passage.document
        held += passage.data
        while len(held) >= PIECE_BYTES_MAX:
            yield Passage(bytes(held[:PIECE_BYTES_MAX]), document)
            del held[:PIECE_BYTES_MAX]
    if held:
        yield Passage(bytes(held), document)


class TextCheck:
    """Checks a body piece by piece.

    `before` are up to three bytes that may begin a character which the body completes, or None where they are not
    known: then the body may begin inside any character. The first `accepted_bytes` of the body repeat what was
    accepted: then the body may begin inside a character of that, and `before` stands behind it.
    """

    def __init__(self, before: bytes | None, accepted_bytes: int = 0) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._before = before
        self._accepted_bytes = accepted_bytes
        self._checked_bytes = 0
        self._head = b""
        self._skippable = OPEN_BYTES_MAX if before is None else min(OPEN_BYTES_MAX, accepted_bytes)
        self._skipped = 0
        self._beginning = True

    def check(self, piece: bytes) -> None:
        """Raises `InvalidUtf8`, naming the byte, when the piece does not continue as UTF-8 text."""
        if not piece:
            return
        self._head = self._head or piece
        skipped = self._begin(piece) if self._beginning else 0
        held = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(piece[skipped:])
        except UnicodeDecodeError as error:
            at = skipped + error.start - held
            raise self._invalid(at, "is not UTF-8", advice(self._head, piece, max(0, at))) from None
        # What was accepted before the rule, or before a break, may be sent again.
        new = piece[max(0, self._accepted_bytes - self._checked_bytes) :]
        if is_binary(new):
            at = len(piece) - len(new) + first_control(new)
            raise self._invalid(at, "is a control character, of which text has few", advice(self._head, new, 0))
        self._checked_bytes += len(piece)
        opened = self._decoder.getstate()[0]
        # The decoder takes the first two bytes of a surrogate for those of a character, which no third byte completes.
        if len(opened) == 2 and opened[0] == 0xED and opened[1] >= 0xA0:
            raise self._invalid(-len(opened), "is not UTF-8", advice(self._head, piece, len(piece)))

    def _begin(self, piece: bytes) -> int:
        """How many first bytes of the piece belong to a character that begins before the body."""
        first = piece[: self._skippable - self._skipped]
        skipped = len(first) - len(first.lstrip(_CONTINUATION))
        self._skipped += skipped
        # A piece that is nothing else may be followed by one that goes on.
        self._beginning = skipped == len(piece) and self._skipped < self._skippable
        if not self._beginning and self._before is not None and self._skipped == self._accepted_bytes:
            # What stands before was valid when it came; only a character that it ends inside matters.
            self._decoder.decode(self._before.lstrip(_CONTINUATION))
        return skipped

    def _invalid(self, at: int, fault: str, do: Advice) -> errors.InvalidUtf8:
        """`at` counts from the end of what was checked; a character that the text before began is refused at 0."""
        at = max(0, self._checked_bytes + at)
        encoding = {} if do.encoding is None else {"encoding": do.encoding}
        return errors.InvalidUtf8(
            f"byte {at} of the body {fault}; {do.sentence}, and continue from expected_offset", **encoding
        )
