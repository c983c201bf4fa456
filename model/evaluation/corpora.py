"""Question sets over real text, each as one long text: SQuAD 1.1 (1606.05250) and FairytaleQA (2203.13947)."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Question:
    """A question, its accepted answers, and the ranges of bytes (start, end) of the text where one of them stands."""

    text: str
    answers: tuple[str, ...]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Corpus:
    """One text with questions, each of which has at least one place in the text; `starts` are its parts', in bytes."""

    name: str
    text: str
    questions: tuple[Question, ...]
    starts: tuple[int, ...]

    def sampled(self, count: int, seed: int) -> Corpus:
        """The same text with at most `count` of the questions; the same seed draws the same ones, in random order."""
        drawn = Random(f"{seed} {self.name}").sample(self.questions, min(count, len(self.questions)))
        return replace(self, questions=tuple(drawn))


def read_squad(path: Path) -> Corpus:
    """All articles of a SQuAD file, title and paragraphs a line each."""
    articles = _json(path, read_text(path))["data"]
    lines: list[str] = []
    questions: list[Question] = []
    start = 0
    starts: list[int] = []
    for article in articles:
        starts.append(start)
        lines.append(article["title"].replace("_", " "))
        start += size(lines[-1]) + 1
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            lines.append(context)
            for asked in paragraph["qas"]:
                given = [(each["text"], start + size(context[: each["answer_start"]])) for each in asked["answers"]]
                places = {(first, first + size(text)) for text, first in given}
                if places:
                    answers = tuple(dict.fromkeys(text for text, _ in given))
                    questions.append(Question(asked["question"], answers, tuple(sorted(places))))
            start += size(context) + 1
    return Corpus("squad", "\n".join(lines) + "\n", tuple(questions), tuple(starts))


def read_fairytales(path: Path) -> Corpus:
    """All stories of a FairytaleQA file (JSON lines) and its explicit questions whose answer is in their sections.

    The case of letters does not matter for that; every occurrence in the question's sections is a place.
    """
    parts: list[str] = []
    questions: list[Question] = []
    stories: list[int] = []
    start = 0
    for line in read_text(path).splitlines():
        story = _json(path, line)
        stories.append(start)
        starts: dict[int, int] = {}
        for section in story["sections"]:
            starts[section["n"]] = start
            parts.append(section["text"] + "\n")
            start += size(parts[-1])
        texts = {section["n"]: section["text"] for section in story["sections"]}
        for asked in story["questions"]:
            answers = tuple(dict.fromkeys(answer.strip() for answer in asked["answers"]))
            places = tuple(
                (starts[number] + size(before), starts[number] + size(before) + size(found))
                for number in asked["sections"]
                for answer in answers
                for before, found in _occurrences(texts[number], answer)
            )
            if asked["kind"] == "explicit" and places:
                questions.append(Question(asked["question"], answers, places))
    return Corpus("fairytale", "".join(parts), tuple(questions), tuple(stories))


def read_text(path: Path) -> str:
    """The text of a file, which may be compressed with xz."""
    data = path.read_bytes()
    try:
        return (lzma.decompress(data) if path.suffix == ".xz" else data).decode("utf-8")
    except lzma.LZMAError:
        raise ValueError(
            f"{path} is named .xz and is not compressed with xz; rename it, or give another file"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}); give a plain text file") from None


def size(text: str) -> int:
    """The bytes of a text."""
    return len(text.encode())


def _occurrences(text: str, words: str) -> Iterator[tuple[str, str]]:
    """Each occurrence of some words in whatever case, and the text before it."""
    for match in re.finditer(re.escape(words), text, re.IGNORECASE) if words else ():
        yield text[: match.start()], match[0]


def _json(path: Path, text: str):  # type: ignore[no-untyped-def]
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is not the JSON that was expected ({error}); give the file as published") from None
