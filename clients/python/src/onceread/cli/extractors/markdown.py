"""The text of a Markdown file, without its markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from markdown_it import MarkdownIt
from markdown_it.token import Token

from onceread.cli.decoding import whole_text

NAME = "Markdown file"


def text(file: BinaryIO, name: str, encoding: str) -> str:
    tokens = MarkdownIt("commonmark").enable("table").parse(whole_text(file, name, encoding))
    return "\n\n".join(part for part in _parts(tokens) if part) + "\n"


def _parts(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        match token.type:
            case "inline":
                yield "".join(map(_words, token.children or ()))
            case "fence" | "code_block":
                yield token.content.rstrip("\n")


def _words(token: Token) -> str:
    match token.type:
        case "text" | "code_inline" | "image":
            return token.content
        case "softbreak" | "hardbreak":
            return "\n"
        case _:
            return ""
