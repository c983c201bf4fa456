"""The examinations, sat by readers whose answers are known, and what they come to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import weights
from model.evaluation import report
from model.evaluation.exams import associative_exams, babilong_exams
from model.evaluation.marks import Mark, examine, examine_all, read_marks, unmarked
from model.evaluation.readers import ParagraphTokens, local_reader
from model.tasks.babi.world import World
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from testing.models import prose

BOOKS = Books(prose(9, 50_000))


@pytest.fixture
def babi(tmp_path: Path) -> Path:
    """Test files of ten questions a task, in bAbI's form."""
    places = ("garden", "kitchen", "office")
    for task in (1, 2):
        asked = [
            f"1 Mary moved to the {place}.\n2 Mary took the milk there.\n3 Where is "
            + ("Mary" if task == 1 else "the milk")
            + f"? \t{place}\t1\n"
            for place in places
        ]
        (tmp_path / f"qa{task}_made_test.txt").write_text("".join(asked))
    return tmp_path


def remembers(text: str, questions: Sequence[str]) -> list[str]:
    """Finds the facts in the text by their form, and answers by the rules."""
    world = World()
    for sentence in text.replace("\n", " ").split(". "):
        fact = sentence[max(0, sentence.rfind("Mary")) :].rstrip(".") + "."
        if fact.startswith("Mary "):
            world.hear(fact)
    return [f" {world.answer(question)}\n" for question in questions]


def forgets(text: str, questions: Sequence[str]) -> list[str]:
    return ["garden"] * len(questions)


def marks_of(babi: Path, length: int = 500) -> list[Mark]:
    exams = [e for task in (1, 2) for e in babilong_exams(task, length, 100, babi, BOOKS, seed=1)]
    return [mark for exam in exams for mark in examine(remembers, exam)]


def test_a_reader_that_finds_every_fact_scores_all_answers_right(babi: Path) -> None:
    marks = marks_of(babi)
    assert [(m.name, m.number) for m in marks] == [(f"qa{t}", n) for t in (1, 2) for n in range(3)]
    assert all(mark.exact and mark.lenient for mark in marks)
    wrong = [m for e in babilong_exams(1, 0, 3, babi, BOOKS, 1) for m in examine(forgets, e)]
    assert sum(mark.exact for mark in wrong) == 1


def test_the_same_seed_gives_the_same_texts(babi: Path) -> None:
    one, same, other = (
        [exam.make_text() for exam in babilong_exams(1, 300, 3, babi, BOOKS, seed)] for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other
    assert len(set(one)) == 3


def test_an_interrupted_examination_resumes(babi: Path, tmp_path: Path) -> None:
    path, sat = tmp_path / "marks.jsonl", list[int]()

    def exams() -> list[tuple[int, list[Mark]]]:
        def sit(exam):  # type: ignore[no-untyped-def]
            sat.append(exam.number)
            return examine(remembers, exam)

        left = unmarked(babilong_exams(1, 300, 3, babi, BOOKS, 1), path)
        return list(enumerate(examine_all(left, sit, path)))

    first = exams()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    sat.clear()
    second = exams()
    assert sat == [2]
    assert second[0][1] == first[2][1]
    assert [mark.number for mark in read_marks(path)] == [0, 1, 2]


def test_a_damaged_line_of_marks_is_named(tmp_path: Path) -> None:
    (tmp_path / "marks.jsonl").write_text('{"name": "qa1"}\n')
    with pytest.raises(ValueError, match="line 1 is no mark"):
        read_marks(tmp_path / "marks.jsonl")


def test_the_table_and_the_json_state_the_sample_sizes(babi: Path) -> None:
    marks = [*marks_of(babi), Mark("qa1", 128_000, 0, "?", "garden", "kitchen", False, False)]
    found = report.cells(marks)
    assert report.table(found).splitlines() == [
        "| | 500 | 128k |",
        "| --- | --- | --- |",
        "| qa1 | 100.0 of 3 | 0.0 of 1 (99.9) |",
        "| qa2 | 100.0 of 3 |  |",
    ]
    assert json.loads(json.dumps(report.as_json(found)))[1] == {
        "task": "qa1",
        "length": 128_000,
        "asked": 1,
        "exact": 0,
        "babilong_rule": 0,
        "interval": [0.0, 0.7935],
        "armt_percent": 99.9,
    }
    assert [report.length_name(n) for n in (0, 500, 4_000, 1_000_000)] == ["0k", "500", "4k", "1M"]


def test_the_picture_has_a_panel_for_each_task(babi: Path, tmp_path: Path) -> None:
    report.picture(report.cells(marks_of(babi)), tmp_path / "recall.svg")
    names = [element.get("id") or "" for element in ElementTree.parse(tmp_path / "recall.svg").iter()]
    assert sum(name.startswith("axes_") for name in names) == 2


def test_a_model_reads_and_answers(tiny_weights: Path) -> None:
    read = list[int]()
    reader = local_reader(weights.load(tiny_weights), read.append)
    text = prose(4, 80_000)
    answers = reader(text, ["Where is Mary?", "Where is John?"])
    assert sum(read) == len(text.encode())
    assert len(answers) == 2
    assert answers == reader(text, ["Where is Mary?", "Where is John?"])


@given(st.lists(st.sampled_from(["a b", "\n", " ", "\n\n", "“No.”", "x", "\t", "café 12"]), max_size=12))
def test_tokens_by_paragraph_are_those_of_the_whole_text(tokenizer: TextTokenizer, parts: list[str]) -> None:
    text = "".join(["z", *parts])
    known = ParagraphTokens(tokenizer)
    assert known.encode(text).tolist() == known.encode(text).tolist() == tokenizer.encode(text)


def test_associative_retrieval_asks_for_every_key() -> None:
    (exam, _) = associative_exams("remember", 20, 2, seed=3)
    assert (exam.name, exam.length, len(exam.questions)) == ("remember", 20, 20)
    assert all(key.split()[-1][:-1] in exam.make_text() for key, _ in exam.questions)
