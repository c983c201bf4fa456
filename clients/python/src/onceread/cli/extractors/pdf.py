"""The text of a PDF file, page by page."""

from __future__ import annotations

from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from onceread.cli.exit_codes import UsageError


def text(path: Path, encoding: str) -> str:
    """The encoding is ignored: the file states its own."""
    try:
        with PdfReader(path) as pdf:
            pages = [page.extract_text().strip() for page in pdf.pages]
    except PyPdfError as error:
        raise UsageError(f"{path.name} is not a valid PDF file: {error}") from None
    if not any(pages):
        raise UsageError(f"{path.name} has no text, perhaps only images of it; run OCR on it first")
    return "\n\n".join(pages) + "\n"
