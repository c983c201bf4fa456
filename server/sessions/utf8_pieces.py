"""Cuts a streamed body into durable pieces, and checks that they are UTF-8 before they are kept.

It knows bytes, and nothing of sessions or stores.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, AsyncIterator

from server.sessions import errors
from server.store.base import PIECE_BYTES_MAX

_CONTINUATION = range(0x80, 0xC0)


async def pieces(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Pieces of PIECE_BYTES_MAX and a last shorter one: cut at the same places whenever the same body comes."""
    held = bytearray()
    async for chunk in body:
        held += chunk
        while len(held) >= PIECE_BYTES_MAX:
            yield bytes(held[:PIECE_BYTES_MAX])
            del held[:PIECE_BYTES_MAX]
    if held:
        yield bytes(held)


class TextCheck:
    """Follows a body piece by piece.

    `before` are the up to three bytes in front of it, which may hold the beginning of a character; None where
    they are not kept any more: then the body may begin inside one.
    """

    def __init__(self, before: bytes | None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._may_begin_inside = before is None
        self._checked_bytes = 0
        if before:
            # What stands before was valid when it came; only a character that it ends inside matters.
            while before and before[0] in _CONTINUATION:
                before = before[1:]
            self._decoder.decode(before)

    def check(self, piece: bytes) -> None:
        """Raises `InvalidUtf8`, naming the byte, when the piece does not go on as UTF-8."""
        skipped = 0
        if self._may_begin_inside:
            while skipped < min(3, len(piece)) and piece[skipped] in _CONTINUATION:
                skipped += 1
            self._may_begin_inside = False
        held = len(self._decoder.getstate()[0])
        try:
            self._decoder.decode(piece[skipped:])
        except UnicodeDecodeError as error:
            at = max(0, self._checked_bytes + skipped + error.start - held)
            raise errors.InvalidUtf8(
                f"byte {at} of the body is not UTF-8; encode the text as UTF-8 and go on from expected_offset"
            ) from None
        self._checked_bytes += len(piece)
