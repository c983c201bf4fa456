"""Extractors of text from other formats; each imports its library only when it is needed.

The module of a format has `NAME`, what a file of it is called, and `text`, an `Extractor`. Its library may raise
anything where a file is damaged.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from onceread.cli.exit_codes import UsageError

# The text of a seekable file; its name is for errors, its encoding for formats that state none.
Extractor = Callable[[BinaryIO, str, str], str]

# The module of a suffix, and the extra that installs its library.
FORMATS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".epub": "epub",
    ".pdf": "pdf",
    ".docx": "docx",
}


def extractor(path: Path) -> Extractor | None:
    """The extractor for a file; None for plain text."""
    format = FORMATS.get(path.suffix.lower())
    return None if format is None else extractor_of(format)


def extractor_of(format: str) -> Extractor:
    """The extractor of a format; it raises `UsageError` for a file that is damaged or encrypted."""
    try:
        module = importlib.import_module(f"onceread.cli.extractors.{format}")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"reading {format} files needs {error.name}, which is not installed; "
            f"pip install 'onceread-client[{format}]', or read the file as plain text with --plain"
        ) from None

    def text(file: BinaryIO, name: str, encoding: str) -> str:
        try:
            return str(module.text(file, name, encoding))
        except (UsageError, MemoryError):
            raise
        except Exception as error:
            # A library that seeks in front of a damaged file's beginning gets EINVAL; other errors are the system's.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise UsageError(f"{name} is not a valid {module.NAME}: {error or type(error).__name__}") from None

    return text
