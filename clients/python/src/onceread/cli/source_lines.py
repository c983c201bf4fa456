"""What is shown under an answer: the places of the text that it is from, or that the text does not have it."""

from __future__ import annotations

import re

from onceread.results import Answer, Source

EXCERPT_CHARACTERS = 160
NOT_IN_THE_TEXT = "not in the text"


def source_lines(answer: Answer) -> list[str]:
    """A line for each source, or one where the text does not have the answer and the answer does not say so itself."""
    if answer.found is False:
        return [] if NOT_IN_THE_TEXT in answer.text.casefold() else [f"  ({NOT_IN_THE_TEXT})"]
    return [f"  {_place(source)}: {excerpt(source.text, answer.text)}" for source in answer.sources]


def _place(source: Source) -> str:
    at = f"byte {source.offset:,}"
    return at if source.document is None else f"{source.document}, {at}"


def excerpt(text: str, answer: str) -> str:
    """The text on one line and shortened: the part with the answer's words, or the beginning where it has none."""
    line = _on_one_line(text)
    if len(line) <= EXCERPT_CHARACTERS:
        return line
    words = [answer, *sorted(answer.split(), key=len, reverse=True)]
    at = next((match.start() for word in words if (match := _whole_word(word, line))), 0)
    begin = max(0, min(at - EXCERPT_CHARACTERS // 2, len(line) - EXCERPT_CHARACTERS))
    shown = line[begin : begin + EXCERPT_CHARACTERS].strip()
    return ("…" if begin else "") + shown + ("…" if begin + EXCERPT_CHARACTERS < len(line) else "")


def _whole_word(word: str, line: str) -> re.Match[str] | None:
    """Where the word stands in the line; not as a part of another one, in scripts that write blanks between words."""
    bare = re.escape(_on_one_line(word).strip(".,;:!?"))
    return re.search(rf"(?<![a-z0-9]){bare}(?![a-z0-9])", line, re.IGNORECASE) if bare else None


def _on_one_line(text: str) -> str:
    """Without line breaks and control characters, which could be commands for the terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
