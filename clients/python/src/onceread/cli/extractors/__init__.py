"""Text out of files that are not plain text, one file a format, each by a library that is asked for when it is needed.

It knows which suffix means which format, and nothing of formats.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from onceread.cli.exits import Unusable

# The module of a suffix, and the extra that brings what it needs.
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
    """What takes a file and an encoding and gives its text; None for a file of plain text."""
    format = FORMATS.get(path.suffix.lower())
    if format is None:
        return None
    try:
        module = importlib.import_module(f"onceread.cli.extractors.{format}")
    except ModuleNotFoundError as error:
        raise Unusable(
            f"reading {path.name} needs {error.name}, which is not installed; "
            f"pip install 'onceread-client[{format}]', or take the file as plain text with --plain"
        ) from None
    text: Callable[[Path, str], str] = module.text
    return text
