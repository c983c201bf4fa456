"""SQuAD's measures on answers whose measures are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.answers.scoring import contains, exact, f1, normalized


def test_case_articles_punctuation_and_blanks_do_not_count() -> None:
    assert normalized("  The  Eiffel-Tower, an icon. ") == "eiffeltower icon"
    assert exact("the Denver Broncos!", ["Carolina", "Denver Broncos"])
    assert not exact("Denver", ["Denver Broncos"])


@pytest.mark.parametrize(
    ("answer", "accepted", "right"),
    [
        ("It was won by the Denver Broncos.", ["Denver Broncos"], True),
        ("Denver", ["Denver Broncos"], False),
        ("the category", ["cat"], False),
        ("anything", ["the"], False),
        ("", ["x"], False),
    ],
)
def test_an_answer_contains_whole_words(answer: str, accepted: list[str], right: bool) -> None:
    assert contains(answer, accepted) == right


def test_f1_is_that_of_the_best_accepted_answer() -> None:
    assert f1("gold coin", ["a silver coin", "the gold"]) == pytest.approx(2 / 3)
    assert f1("x x y", ["x"]) == pytest.approx(0.5)
    assert f1("nothing like it", ["gold"]) == f1("", ["gold"]) == f1("gold", []) == 0.0


@given(st.text(max_size=20), st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_an_exact_answer_has_the_full_f1(answer: str, accepted: list[str]) -> None:
    if exact(answer, accepted) and normalized(answer):
        assert f1(answer, accepted) == 1.0
        assert contains(answer, accepted)
