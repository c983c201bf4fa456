"""The part of a stream that may be needed again."""

from __future__ import annotations

from onceread.errors import SourceNotRereadable


class StreamBuffer:
    """The bytes of a stream from the offset that was last asked for.

    An `eager` one gives the bytes that it has, without waiting for a whole piece.
    """

    def __init__(self, eager: bool = False) -> None:
        self._eager = eager
        self._bytes, self._start = bytearray(), 0

    def lacks(self, offset: int, limit: int) -> bool:
        """Drops the bytes before `offset`; whether more must come for a piece of `limit` bytes from there.

        Raises `SourceNotRereadable` where the bytes at `offset` have been dropped already.
        """
        if offset < self._start:
            raise SourceNotRereadable(
                f"the source is needed again from its byte {offset}, and only bytes from {self._start} on are kept; "
                "give a file, or a function that returns the pieces anew"
            )
        dropped = min(offset - self._start, len(self._bytes))
        del self._bytes[:dropped]
        self._start += dropped
        return self._start < offset or len(self._bytes) < (1 if self._eager else limit)

    def add(self, piece: bytes | str) -> None:
        self._bytes += piece.encode() if isinstance(piece, str) else piece

    def first(self, limit: int) -> bytes:
        return bytes(self._bytes[:limit])
