"""The examination: a story hidden in a stretch of a novel, then a question for every person that it names.

It knows texts and answers; who reads and answers is given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from model.tasks import babi
from model.tasks.haystack import Books, hide

# GPT-2 tokens of English books have about so many bytes (BABILong counts lengths in them).
BYTES_PER_TOKEN = 4.27


@dataclass(frozen=True)
class Exam:
    """A text to be read once, and what is asked behind it."""

    text: str
    questions: list[babi.Question]


@dataclass(frozen=True)
class Mark:
    """One answer beside the right one."""

    exam: int
    question: babi.Question
    answer: str

    @property
    def right(self) -> bool:
        return self.answer.strip() == self.question.answer


# Reads a text and answers questions about it.
Reader = Callable[[str, list[str]], list[str]]


def exams(books: Books, count: int, tokens: int, facts: int, seed: int) -> Iterator[Exam]:
    """`count` exams of `tokens` GPT-2 tokens of running text each, with a story of `facts` moves in it."""
    random = Random(seed)
    for _ in range(count):
        story = babi.moves(random, facts)
        passage = books.passage(random, int(tokens * BYTES_PER_TOKEN))
        text, _ = hide(random, [str(move) for move in story], passage)
        yield Exam(text, babi.questions(story))


def examine(reader: Reader, given: Iterable[Exam]) -> Iterator[Mark]:
    """Every answer, as soon as its text has been read."""
    for number, exam in enumerate(given):
        answers = reader(exam.text, [question.text for question in exam.questions])
        for question, answer in zip(exam.questions, answers, strict=True):
            yield Mark(number, question, answer)


def wilson_interval(right: int, asked: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of right answers (Wilson 1927)."""
    if not asked:
        return 0.0, 1.0
    share = right / asked
    centre = share + z * z / (2 * asked)
    spread = z * ((share * (1 - share) + z * z / (4 * asked)) / asked) ** 0.5
    scale = 1 + z * z / asked
    return (centre - spread) / scale, (centre + spread) / scale
