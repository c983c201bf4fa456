"""The text of an HTML file, in the layout of inscriptis."""

from __future__ import annotations

from typing import BinaryIO

from inscriptis import get_text  # type: ignore[import-untyped]

from onceread.cli.decoding import whole_text

NAME = "HTML file"


def text(file: BinaryIO, name: str, encoding: str) -> str:
    return text_of(whole_text(file, name, encoding))


def text_of(html: str) -> str:
    return str(get_text(html)).strip() + "\n"
