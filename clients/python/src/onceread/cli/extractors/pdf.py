"""The text of a PDF file, page by page."""

from __future__ import annotations

from typing import BinaryIO

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from onceread.cli.exit_codes import UsageError

NAME = "PDF file"


def text(file: BinaryIO, name: str, encoding: str) -> str:
    """The encoding is ignored: the file states its own."""
    try:
        with PdfReader(file) as pdf:
            pages = [page.extract_text().strip() for page in pdf.pages]
    except FileNotDecryptedError:
        raise UsageError(f"{name} is encrypted; save it without a password") from None
    except DependencyError as error:
        raise UsageError(f"{name} is encrypted: {error}; install it, or save the file without encryption") from None
    if not any(pages):
        raise UsageError(f"{name} has no text, perhaps only images of it; run OCR on it first")
    return "\n\n".join(pages) + "\n"
