"""Cuts a streamed body into pieces, and checks that they are UTF-8 before they are stored."""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator

from server.sessions import errors
from server.store.base import PIECE_BYTES_MAX

# A UTF-8 character has up to four bytes: so many may be open at the end of a text.
OPEN_BYTES_MAX = 3
_CONTINUATION = bytes(range(0x80, 0xC0))


async def pieces(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Pieces of PIECE_BYTES_MAX and a last shorter one: the same body is always cut at the same places."""
    held = bytearray()
    async for chunk in body:
        held += chunk
        while len(held) >= PIECE_BYTES_MAX:
            yield bytes(held[:PIECE_BYTES_MAX])
            del held[:PIECE_BYTES_MAX]
    if held:
        yield bytes(held)


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

    def check(self, piece: bytes) -> None:
        """Raises `InvalidUtf8`, naming the byte, when the piece does not continue as UTF-8."""
        if not piece:
            return
        skipped = 0 if self._checked_bytes else self._begin(piece)
        held = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(piece[skipped:])
        except UnicodeDecodeError as error:
            raise _invalid(self._checked_bytes + skipped + error.start - held) from None
        self._checked_bytes += len(piece)
        opened = self._decoder.getstate()[0]
        # The decoder takes the first two bytes of a surrogate for those of a character, which no third byte completes.
        if len(opened) == 2 and opened[0] == 0xED and opened[1] >= 0xA0:
            raise _invalid(self._checked_bytes - len(opened))

    def _begin(self, piece: bytes) -> int:
        """How many first bytes of the body belong to a character that begins before it."""
        skippable = OPEN_BYTES_MAX if self._before is None else min(OPEN_BYTES_MAX, self._accepted_bytes)
        first = piece[:skippable]
        skipped = len(first) - len(first.lstrip(_CONTINUATION))
        if self._before is not None and skipped == self._accepted_bytes:
            # What stands before was valid when it came; only a character that it ends inside matters.
            self._decoder.decode(self._before.lstrip(_CONTINUATION))
        return skipped


def _invalid(at: int) -> errors.InvalidUtf8:
    # A character that the text before began is refused where the body begins.
    return errors.InvalidUtf8(
        f"byte {max(0, at)} of the body is not UTF-8; encode the text as UTF-8 and continue from expected_offset"
    )
