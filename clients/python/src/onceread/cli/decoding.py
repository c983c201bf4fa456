"""Files in any encoding as text."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import BinaryIO

from charset_normalizer import from_bytes

from onceread.cli.exit_codes import UsageError
from onceread.cli.file_kinds import WrongEncoding, must_be_text

READ_BYTES = 1024 * 1024
SAMPLE_BYTES = 64 * 1024
# The encoding to propose for a file that is not UTF-8, unless it does not fit.
COMMONEST = "cp1252"


def checked(encoding: str) -> str:
    """The name of Python's codec; that of UTF-8 drops a byte order mark."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise UsageError(
            f"there is no encoding {encoding!r}; use for instance utf-8, utf-16, cp1252 or shift_jis"
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def whole_text(file: BinaryIO, name: str, encoding: str) -> str:
    return "".join(decoded(file.read, encoding, name))


def decoded(read: Callable[[int], bytes], encoding: str, name: str) -> Iterator[str]:
    """The text of the bytes that `read` returns; `UsageError` names the offset of the first invalid byte."""
    decoder = codecs.getincrementaldecoder(checked(encoding))()
    offset = 0
    while True:
        piece = read(READ_BYTES)
        if not offset and checked(encoding) == "utf-8-sig":
            must_be_text(piece, name)
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            at = max(0, offset - held + error.start)
            what = f"{name}: byte {at} is not {encoding} ({error.reason})"
            raise WrongEncoding(what, _proposal(error.object, encoding)) from None
        offset += len(piece)
        if text:
            yield text
        if not piece:
            return


def _proposal(sample: bytes, encoding: str) -> str:
    guesses = from_bytes(sample[:SAMPLE_BYTES])
    best = guesses.best()
    if best is None:
        return COMMONEST
    alike = (guess for guess in guesses if (guess.chaos, guess.coherence) == (best.chaos, best.coherence))
    likely = {name for guess in alike for name in guess.could_be_from_charset} - {checked(encoding), encoding}
    return COMMONEST if COMMONEST in likely else min(likely, default=COMMONEST)
