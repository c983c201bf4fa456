"""Cuts a streamed body into durable pieces and refuses what is not UTF-8, before it is kept.

Pure but for the stream that it is given: it knows bytes, and nothing of sessions or stores.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator

from server import errors
from server.store.contract import PIECE_BYTES_MAX

_CONTINUATION = range(0x80, 0xC0)


class PieceCutter:
    """Pieces of at most PIECE_BYTES_MAX, cut at the same places whenever the same body comes again.

    `before` are the up to three bytes in front of the body, which may hold the beginning of a character; None
    where they are unknown: then a body may begin inside a character.
    """

    def __init__(self, before: bytes | None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._open = before is None
        if before:
            # What stands before was valid when it came; only a character that it ends inside matters.
            while before and before[0] in _CONTINUATION:
                before = before[1:]
            self._decoder.decode(before)

    async def pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Whole pieces as they fill, and the last one when the body ends; each was checked."""
        held = bytearray()
        checked = 0
        async for chunk in body:
            held += chunk
            while len(held) >= PIECE_BYTES_MAX:
                piece = bytes(held[:PIECE_BYTES_MAX])
                del held[:PIECE_BYTES_MAX]
                self._check(piece, checked)
                checked += len(piece)
                yield piece
        if held:
            self._check(bytes(held), checked)
            yield bytes(held)

    def _check(self, piece: bytes, at_bytes: int) -> None:
        try:
            skipped = 0
            if self._open:
                while skipped < min(3, len(piece)) and piece[skipped] in _CONTINUATION:
                    skipped += 1
                self._open = False
            self._decoder.decode(piece[skipped:])
        except UnicodeDecodeError as error:
            raise errors.InvalidUtf8(
                f"byte {at_bytes + max(0, error.start)} of the body is not UTF-8; encode the text as UTF-8 and send "
                f"it again from the offset that HEAD reports (whole pieces before that byte are kept)"
            ) from None
