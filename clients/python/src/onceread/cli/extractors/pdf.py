"""The text of a PDF file, page by page, as pypdf finds it.

It knows pages, and nothing of what is on them.
"""

from __future__ import annotations

from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from onceread.cli.exits import Unusable


def text(path: Path, encoding: str) -> str:
    """The encoding says nothing here: the file says it itself."""
    try:
        with PdfReader(path) as pdf:
            pages = [page.extract_text().strip() for page in pdf.pages]
    except PyPdfError as error:
        raise Unusable(f"{path.name} can not be read as PDF: {error}") from None
    if not any(pages):
        raise Unusable(f"{path.name} has no text, perhaps only pictures of it; recognise it first, for instance by OCR")
    return "\n\n".join(pages) + "\n"
