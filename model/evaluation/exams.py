"""The examinations: BABILong (2406.10149) and associative retrieval (2407.04841), as texts with questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from model.tasks import associative, babilong
from model.tasks.babi.files import read_examples, task_file
from model.tasks.haystack import Books


@dataclass(frozen=True)
class Exam:
    """A text to be read once, with questions after it and their right answers.

    `name` is the task, such as "qa1"; `length` counts tokens, for associative retrieval pairs.
    """

    name: str
    length: int
    number: int
    make_text: Callable[[], str]
    questions: tuple[tuple[str, str], ...]

    @property
    def key(self) -> tuple[str, int, int]:
        """Which one it is, among all exams of a seed."""
        return self.name, self.length, self.number


def babilong_exams(task: int, length: int, count: int, babi: Path, books: Books, seed: int) -> Iterator[Exam]:
    """`count` questions of bAbI's test file of a task, each in a text of its own; the same seed gives the same ones."""
    examples = list(read_examples(task_file(babi, task, "test")))
    for number, example in enumerate(Random(seed * 1000 + task).sample(examples, min(count, len(examples)))):
        drawn = Random(f"{seed} {task} {length} {number}")

        def text(random: Random = drawn, facts: tuple[str, ...] = example.facts) -> str:
            return babilong.sample(random, books, facts, length)

        yield Exam(f"qa{task}", length, number, text, ((example.question, example.answer),))


def associative_exams(kind: associative.Kind, pairs: int, count: int, seed: int) -> Iterator[Exam]:
    """`count` lists of `pairs` pairs, every key of which is asked for."""
    for number in range(count):
        random = Random(f"{seed} {kind} {pairs} {number}")
        facts, questions = associative.retrieval(random, kind, pairs)
        yield Exam(kind, pairs, number, lambda facts=tuple(facts): " ".join(facts), tuple(questions))  # type: ignore[misc]
