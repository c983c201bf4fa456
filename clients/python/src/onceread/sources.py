"""The texts that `Session.read` takes, as sources: files, text in pieces, and functions that return the pieces."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from onceread._sync.sources import StreamSource, TextSource
from onceread.errors import SourceNotRereadable

Pieces: TypeAlias = Iterable[bytes | str]
Readable: TypeAlias = Path | str | bytes | BinaryIO | Pieces | Callable[[], Pieces] | TextSource

PIPE_BYTES = 64 * 1024


def open_source(readable: Readable) -> TextSource:
    """A path names a file of UTF-8, a `str` is the text itself; a function is called again to get its pieces again."""
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
        case TextSource():
            return readable
        case _ if callable(readable):
            return RepeatableSource(readable)
        case _:
            return StreamSource(iter(readable))


def _file_source(file: BinaryIO, owned: bool) -> TextSource:
    return FileSource(file, owned) if file.seekable() else PipeSource(file, owned)


class FileSource:
    """A file that can be read at any offset, counted from its position at the start; closed at the end if `owned`."""

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


class PipeSource(StreamSource):
    """A file that can be read once, such as a pipe: `take` gives the bytes that have come."""

    def __init__(self, file: BinaryIO, owned: bool) -> None:
        self._file, self._owned = file, owned
        read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        super().__init__(iter(lambda: read(PIPE_BYTES), b""), eager=True)

    def close(self) -> None:
        if self._owned:
            self._file.close()


class RepeatableSource:
    """The pieces that a function returns, always the same ones; it is called again when earlier bytes are needed."""

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
