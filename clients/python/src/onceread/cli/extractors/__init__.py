"""Extractors of text from other formats; each imports its library only when it is needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from onceread.cli.exit_codes import UsageError

# The module of a suffix, and the extra that installs its library.
FORMATS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".epub": "epub",
    ".pdf": "pdf",
}


def extractor(path: Path) -> Callable[[Path, str], str] | None:
    """A function from a file and an encoding to its text; None for plain text."""
    format = FORMATS.get(path.suffix.lower())
    if format is None:
        return None
    try:
        module = importlib.import_module(f"onceread.cli.extractors.{format}")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"reading {path.name} needs {error.name}, which is not installed; "
            f"pip install 'onceread-client[{format}]', or read the file as plain text with --plain"
        ) from None
    text: Callable[[Path, str], str] = module.text
    return text
