"""Question sets as one text: each place in the text reads as one of the question's answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.evaluation.corpora import Corpus, read_fairytales, read_squad
from tests.model.evaluation.making import FACTS, write_fairytales, write_squad


def places_read(corpus: Corpus) -> list[set[str]]:
    data = corpus.text.encode()
    return [{data[start:end].decode() for start, end in question.places} for question in corpus.questions]


@pytest.mark.parametrize("name", ["squad.json", "squad.json.xz"])
def test_squad_is_one_text_in_which_each_place_is_an_answer(tmp_path: Path, name: str) -> None:
    corpus = read_squad(write_squad(tmp_path / name))
    assert corpus.text.startswith("The Skerry\n")
    assert [question.text for question in corpus.questions] == list(FACTS)
    assert places_read(corpus) == [{answer} for _, answer in FACTS.values()]


def test_fairytales_have_their_explicit_questions_whose_answer_is_there(tmp_path: Path) -> None:
    corpus = read_fairytales(write_fairytales(tmp_path / "tales.jsonl"))
    assert [question.text for question in corpus.questions] == list(FACTS)
    assert places_read(corpus) == [{answer} for _, answer in FACTS.values()]


def test_the_same_seed_draws_the_same_questions(tmp_path: Path) -> None:
    corpus = read_squad(write_squad(tmp_path / "squad.json"))
    assert corpus.sampled(2, seed=5).questions == corpus.sampled(2, seed=5).questions
    assert len(corpus.sampled(2, seed=5).questions) == 2
    assert set(corpus.sampled(99, seed=5).questions) == set(corpus.questions)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("squad.json", b"{", "not the JSON that was expected"),
        ("squad.json", b"\xff\xfe", "not UTF-8 text"),
        ("squad.json.xz", b"{}", "not compressed with xz"),
    ],
)
def test_a_file_that_is_no_question_set_is_named(tmp_path: Path, name: str, data: bytes, error: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=error):
        read_squad(tmp_path / name)
