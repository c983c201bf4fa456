"""Sources: where the bytes of a text come from, by offset, again where that is possible.

It knows files and iterators, and nothing of sessions.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, cast, runtime_checkable

from onceread.errors import SourceNotRereadable

Pieces: TypeAlias = Iterable[bytes | str]

PIPE_BYTES = 64 * 1024


@runtime_checkable
class Source(Protocol):
    """`total_bytes` is None where nobody knows it before the end."""

    total_bytes: int | None

    def take(self, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset` on, none only at the end; `SourceNotRereadable` where they are gone."""

    def close(self) -> None: ...


Readable: TypeAlias = Path | str | bytes | BinaryIO | Pieces | Callable[[], Pieces] | Source


def source_of(readable: Readable) -> Source:
    """A path is a file of UTF-8, a `str` the text itself; what a function gives can be had anew by calling it again."""
    match readable:
        case Path():
            return _file_source(readable.open("rb"), owned=True)
        case str():
            return FileSource(io.BytesIO(readable.encode()), owned=True)
        case bytes() | bytearray() | memoryview():
            return FileSource(io.BytesIO(readable), owned=True)
        case io.TextIOBase():
            raise TypeError("open the file in binary mode ('rb'), or give its path: offsets count bytes")
        case io.IOBase():
            return _file_source(cast(BinaryIO, readable), owned=False)
        case Source():
            return readable
        case _ if callable(readable):
            return RemadeSource(readable)
        case _:
            return StreamSource(iter(readable))


def _file_source(file: BinaryIO, owned: bool) -> Source:
    if file.seekable():
        return FileSource(file, owned)
    return StreamSource(iter(lambda: _available(file), b""), eager=True, close=file.close if owned else None)


def _available(file: BinaryIO) -> bytes:
    """What a pipe has to give, without waiting for more than there is."""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    return read(PIPE_BYTES)


class FileSource:
    """A file that can be read at any place, from where it stands now."""

    def __init__(self, file: BinaryIO, owned: bool) -> None:
        self._file, self._owned = file, owned
        self._start = file.tell()
        self.total_bytes: int | None = file.seek(0, io.SEEK_END) - self._start

    def take(self, offset: int, limit: int) -> bytes:
        self._file.seek(self._start + offset)
        return self._file.read(limit)

    def close(self) -> None:
        if self._owned:
            self._file.close()


class Held:
    """What came of a stream, kept from the offset that was last asked for; an `eager` one gives what there is."""

    def __init__(self, eager: bool = False) -> None:
        self._eager = eager
        self._bytes, self._start = bytearray(), 0

    def lacks(self, offset: int, limit: int) -> bool:
        """Lets go of what is before `offset`; whether more must come for a piece from there."""
        if offset < self._start:
            raise SourceNotRereadable(
                f"the source is needed again from its byte {offset} and is kept from {self._start} on; give a file, or "
                "a function that gives the pieces anew"
            )
        gone = min(offset - self._start, len(self._bytes))
        del self._bytes[:gone]
        self._start += gone
        return self._start < offset or len(self._bytes) < (1 if self._eager else limit)

    def add(self, piece: bytes | str) -> None:
        self._bytes += piece.encode() if isinstance(piece, str) else piece

    def give(self, limit: int) -> bytes:
        return bytes(self._bytes[:limit])


class StreamSource:
    """Pieces that come once."""

    def __init__(
        self, pieces: Iterator[bytes | str], eager: bool = False, close: Callable[[], object] | None = None
    ) -> None:
        self._pieces, self._held = pieces, Held(eager)
        self._close = close or getattr(pieces, "close", None)
        self.total_bytes: int | None = None

    def take(self, offset: int, limit: int) -> bytes:
        while self._held.lacks(offset, limit) and (piece := next(self._pieces, None)) is not None:
            self._held.add(piece)
        # Behind the end there is nothing, wherever that is.
        return b"" if self._held.lacks(offset, 0) else self._held.give(limit)

    def close(self) -> None:
        if self._close is not None:
            self._close()


class RemadeSource:
    """Pieces that a function gives anew, as often as they are needed; always the same ones."""

    def __init__(self, make: Callable[[], Pieces], total_bytes: int | None = None) -> None:
        self._make, self.total_bytes = make, total_bytes
        self._stream = StreamSource(iter(make()))

    def take(self, offset: int, limit: int) -> bytes:
        try:
            return self._stream.take(offset, limit)
        except SourceNotRereadable:
            self._stream.close()
            self._stream = StreamSource(iter(self._make()))
            return self._stream.take(offset, limit)

    def close(self) -> None:
        self._stream.close()
