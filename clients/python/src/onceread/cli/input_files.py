"""The files of a command as one source: each decoded or extracted, in the given order."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onceread._sync.sources import StreamSource, TextSource
from onceread.cli.decoding import checked, decoded
from onceread.cli.exit_codes import UsageError
from onceread.cli.extractors import extractor
from onceread.sources import RepeatableSource

STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Part:
    """A file's text; `rereadable` if it can be read more than once."""

    pieces: Callable[[], Iterator[str]]
    rereadable: bool


def source(paths: list[Path], encoding: str, plain: bool) -> TextSource:
    """All files as one text, each on a new line; they are decoded once before, to find errors and count the bytes."""
    checked(encoding)
    parts = [_part(path, encoding, plain) for path in paths]

    def pieces() -> Iterator[bytes]:
        return _joined(parts)

    if all(part.rereadable for part in parts):
        return RepeatableSource(pieces, total_bytes=sum(map(len, pieces())))
    return StreamSource(pieces(), eager=True)


def _joined(parts: list[Part]) -> Iterator[bytes]:
    last = "\n"
    for part in parts:
        if not last.endswith("\n"):
            yield b"\n"
        for last in part.pieces():
            yield last.encode()


def _part(path: Path, encoding: str, plain: bool) -> Part:
    if path == STANDARD_INPUT:
        return Part(lambda: decoded(_reads(sys.stdin.buffer), encoding, "standard input"), rereadable=False)
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise UsageError(f"{path} is a directory; name the files in it")
    extracted = None if plain else extractor(path)
    if extracted is None:
        return Part(lambda: _plain(path, encoding), rereadable=stat.S_ISREG(mode))
    with path.open("rb") as file:
        text = extracted(file, path.name, encoding)
    return Part(lambda: iter([text]), rereadable=True)


def _plain(path: Path, encoding: str) -> Iterator[str]:
    with path.open("rb") as file:
        yield from decoded(_reads(file), encoding, path.name)


def _reads(file: BinaryIO) -> Callable[[int], bytes]:
    """Reads the bytes that are available, also from a pipe."""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    return read
