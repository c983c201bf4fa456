"""The text of an HTML file, in the layout of inscriptis."""

from __future__ import annotations

from pathlib import Path

from inscriptis import get_text  # type: ignore[import-untyped]

from onceread.cli.decoding import whole_text


def text(path: Path, encoding: str) -> str:
    return text_of(whole_text(path, encoding))


def text_of(html: str) -> str:
    return str(get_text(html)).strip() + "\n"
