"""Marks: one line of JSON for every answer, so that an interrupted examination can resume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from model.evaluation.exams import Exam
from model.evaluation.lines import append_lines, read_lines
from model.evaluation.readers import Reader
from model.evaluation.scoring import exact, lenient


@dataclass(frozen=True)
class Mark:
    """One answer beside the right one; `lenient` is BABILong's own rule, the same as exact where it has none."""

    name: str
    length: int
    number: int
    question: str
    target: str
    answer: str
    exact: bool
    lenient: bool


def examine(reader: Reader, exam: Exam) -> list[Mark]:
    """The marks of one exam."""
    answers = reader(exam.make_text(), [question for question, _ in exam.questions])
    marks = []
    for (question, target), answer in zip(exam.questions, answers, strict=True):
        right = exact(answer, target)
        task = int(exam.name[2:]) if exam.name.startswith("qa") else None
        kindly = right if task is None else lenient(task, question, answer, target)
        marks.append(Mark(*exam.key, question, target, answer, right, kindly))
    return marks


def read_marks(path: Path) -> list[Mark]:
    """The marks of a file, none if it is not there."""
    return read_lines(path, Mark)


def unmarked(exams: Iterable[Exam], path: Path) -> list[Exam]:
    """The exams that a file has no marks of yet."""
    done = {(mark.name, mark.length, mark.number) for mark in read_marks(path)}
    return [exam for exam in exams if exam.key not in done]


def examine_all(exams: Iterable[Exam], examine_one: Callable[[Exam], list[Mark]], path: Path) -> Iterator[list[Mark]]:
    """Yields the marks of each exam in order, after writing them to the file."""
    for exam in exams:
        marks = examine_one(exam)
        append_lines(path, marks)
        yield marks
