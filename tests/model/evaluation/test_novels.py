"""The examination, sat by readers whose answers are known."""

import re

from model.evaluation.novels import Exam, Mark, examine, exams, wilson_interval
from model.tasks import babi
from model.tasks.haystack import Books
from tests.conftest import prose

BOOKS = Books(prose(9, 50_000))


def test_who_remembers_everything_is_all_right() -> None:
    def perfect(text: str, questions: list[str]) -> list[str]:
        told = re.findall(r"(\w+) (?:went|journeyed|travelled|went back|moved) to the (\w+)\.", text)
        places = dict(told)
        return [" " + places[q.removeprefix("Where is ").removesuffix("?")] + " " for q in questions]

    marks = list(examine(perfect, exams(BOOKS, 3, 2_000, 10, seed=1)))
    assert len(marks) >= 9
    assert all(mark.right for mark in marks)


def test_texts_are_as_long_as_asked_and_different() -> None:
    given = list(exams(BOOKS, 2, 1_000, 4, seed=1))
    assert all(4_270 <= len(exam.text) < 4_270 + 500 for exam in given)
    assert given[0].text != given[1].text
    assert given == list(exams(BOOKS, 2, 1_000, 4, seed=1))


def test_an_answer_is_right_only_when_it_is_the_target() -> None:
    question = babi.Question("Where is Mary?", "garden")
    assert Mark(0, question, " garden\n").right
    assert not Mark(0, question, "the garden").right
    assert not Mark(0, question, "").right


def test_the_interval_holds_its_share() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(95, 100)
    assert (round(low, 4), round(high, 4)) == (0.8882, 0.9785)


def test_an_exam_is_a_value() -> None:
    assert Exam("a", []) == Exam("a", [])
