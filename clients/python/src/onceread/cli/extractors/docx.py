"""The text of a Word document (Office Open XML): mammoth makes HTML of its paragraphs, lists, tables and notes."""

from __future__ import annotations

from typing import BinaryIO

from mammoth import convert_to_html  # type: ignore[import-untyped]

from onceread.cli.exit_codes import UsageError
from onceread.cli.extractors.html import text_of

NAME = "Word document"
# A compound file: a document of Word 97 to 2003, or the envelope of one with a password.
_COMPOUND = b"\xd0\xcf\x11\xe0"


def text(file: BinaryIO, name: str, encoding: str) -> str:
    """The encoding is ignored: a document states its own. Pictures are left out."""
    if file.read(len(_COMPOUND)) == _COMPOUND:
        raise UsageError(f"{name} is encrypted, or of Word 97 to 2003; save it as .docx without a password")
    file.seek(0)
    return text_of(convert_to_html(file, convert_image=lambda image: []).value)
