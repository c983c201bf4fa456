"""Facts hidden between the sentences of running book text, as BABILong (2406.10149) does it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'”’)]))(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)\s+")
_STRAIGHT = str.maketrans("“”‘’", "\"\"''")


@dataclass(frozen=True)
class Layout:
    """How a text looks on the page, which must not matter to what is remembered."""

    paragraph_break: str = "\n"
    fact_break: str = " "
    line_characters: int | None = None
    straight_quotes: bool = False

    @classmethod
    def drawn(cls, random: Random) -> Layout:
        return cls(
            paragraph_break=random.choice(("\n", "\n", "\n\n")),
            fact_break=random.choice((" ", " ", " ", "\n")),
            line_characters=random.choice((None, None, random.randint(50, 90))),
            straight_quotes=random.random() < 0.3,
        )


class Books:
    """Running text, one paragraph a line, to be read from any paragraph on."""

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise ValueError("the books hold no text")
        self._text = text
        self._sentences: dict[int, list[str]] = {}

    @classmethod
    def read(cls, path: Path) -> Books:
        try:
            return cls(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); give a plain text file") from None

    def lines(self) -> Iterator[str]:
        """Every paragraph once."""
        return iter(self._text.splitlines())

    @property
    def paragraphs_max(self) -> int:
        """No fewer than there are."""
        return self._text.count("\n") + 1

    def pairs(self) -> list[str]:
        """All text as pairs of sentences that follow each other in a paragraph, or one where it has no second."""
        found: list[str] = []
        for line in self.lines():
            sentences = [s for s in _SENTENCE_END.split(line) if s]
            found += [" ".join(sentences[i : i + 2]) for i in range(0, len(sentences), 2)]
        return found

    def paragraphs(self, random: Random) -> Iterator[list[str]]:
        """Paragraphs in order from a random one on, for ever, each as its sentences."""
        start = self._text.find("\n", random.randrange(len(self._text))) + 1
        while True:
            end = self._text.find("\n", start)
            end = len(self._text) if end < 0 else end
            if (sentences := self._sentences.get(start)) is None:
                sentences = self._sentences[start] = [s for s in _SENTENCE_END.split(self._text[start:end]) if s]
            if sentences:
                yield sentences
            start = end + 1 if end + 1 < len(self._text) else 0

    def passage(self, random: Random, characters: int) -> list[str]:
        """Sentences of about `characters` in all, paragraph breaks kept as a sentence's own first "\\n"."""
        sentences: list[str] = []
        length = 0
        for paragraph in self.paragraphs(random):
            for index, sentence in enumerate(paragraph):
                sentences.append(sentence if index or not sentences else "\n" + sentence)
                length += len(sentence) + 1
                if length >= characters:
                    return sentences
        raise AssertionError("paragraphs never end")


def hide(
    random: Random, facts: Sequence[str], passage: Sequence[str], layout: Layout = Layout()
) -> tuple[str, list[int]]:
    """The passage with the facts at uniformly drawn places between its sentences, in order.

    Returns the text and, for each fact, the offset in characters at which it ends.
    """
    places = sorted(random.randrange(len(passage) + 1) for _ in facts)
    parts: list[str] = []
    ends: list[int] = []
    length = 0

    def put(separator: str, sentence: str) -> None:
        nonlocal length
        parts.append((separator if parts else "") + sentence)
        length += len(parts[-1])

    after_fact = " "
    for index in range(len(passage) + 1):
        for fact in facts[bisect_left(places, index) : bisect_left(places, index + 1)]:
            put(layout.fact_break, fact)
            ends.append(length)
            after_fact = layout.fact_break
        if index < len(passage):
            begins_paragraph = passage[index].startswith("\n")
            put(layout.paragraph_break if begins_paragraph else after_fact, passage[index].lstrip("\n"))
            after_fact = " "
    return _laid_out("".join(parts), layout), ends


def _laid_out(text: str, layout: Layout) -> str:
    """The text with its quotes and line ends as the layout has them; its length stays the same."""
    if layout.straight_quotes:
        text = text.translate(_STRAIGHT)
    if layout.line_characters is None:
        return text
    characters = list(text)
    line_start = last_space = 0
    for index, character in enumerate(characters):
        if character == "\n":
            line_start = index + 1
        elif character == " ":
            last_space = index
        if index - line_start >= layout.line_characters and last_space >= line_start:
            characters[last_space] = "\n"
            line_start = last_space + 1
    return "".join(characters)
