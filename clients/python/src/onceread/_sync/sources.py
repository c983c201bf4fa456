# Generated from _async/sources.py by clients/python/tools/generate_sync.py: do not edit.
"""The contract of a source, and streams that can be read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from onceread.stream_buffer import StreamBuffer


@runtime_checkable
class TextSource(Protocol):
    """The bytes of a text, by offset; `total_bytes` is None where it is unknown before the end."""

    total_bytes: int | None

    def take(self, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset` on; empty only at the end.

        Raises `SourceNotRereadable` where these bytes cannot be read again.
        """

    def close(self) -> None: ...


class StreamSource:
    """Pieces of text that come once; an `eager` one gives what has come, without waiting for a whole piece."""

    def __init__(self, pieces: Iterator[bytes | str], eager: bool = False) -> None:
        self._pieces = pieces
        self._buffer = StreamBuffer(eager)
        self.total_bytes: int | None = None

    def take(self, offset: int, limit: int) -> bytes:
        while self._buffer.lacks(offset, limit) and (piece := next(self._pieces, None)) is not None:
            self._buffer.add(piece)
        # Behind the end there is nothing, however far behind it `offset` is.
        return b"" if self._buffer.lacks(offset, 0) else self._buffer.first(limit)

    def close(self) -> None:
        if (close := getattr(self._pieces, "close", None)) is not None:
            close()
