"""Needles: what is asked for stands in the text where it is said to, and nowhere else."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks.needles import KINDS, NEEDLE, OPENING, Asked, hidden, passage
from testing.models import prose

BOOKS = prose(9, 60_000)


def keys_of(asked: Asked) -> list[str]:
    return asked.question.split(" for ")[1].split(" mentioned")[0].replace("and ", "").split(", ")


@given(st.integers(0, 99), st.integers(1, 4), st.integers(0, 90_000))
def test_each_place_reads_as_the_needle_of_a_key_that_is_asked_for(seed: int, rounds: int, characters: int) -> None:
    made = hidden(Random(seed), BOOKS, characters, rounds)
    data = "".join(made.pieces).encode()
    assert data.startswith(OPENING.encode())
    for asked in made.questions:
        read = [data[start:end].decode() for start, end in asked.places]
        assert {needle for needle in read} == {
            NEEDLE.format(key=key, value=value)
            for key in keys_of(asked)
            for value in asked.values
            if NEEDLE.format(key=key, value=value).encode() in data
        }
        assert all(data.count(needle.encode()) == 1 for needle in read)


def test_each_kind_has_its_number_of_keys_and_values() -> None:
    made = hidden(Random(1), BOOKS, 40_000, 3)
    assert [asked.kind for asked in made.questions] == [kind.name for kind in KINDS] * 3
    counts = {asked.kind: (len(keys_of(asked)), len(asked.values)) for asked in made.questions}
    assert counts == {"single": (1, 1), "multi-key": (1, 1), "multi-value": (1, 4), "multi-query": (4, 4)}
    assert "".join(made.pieces).count("One of the special magic numbers for") == 3 * 13


def test_the_questions_are_rulers() -> None:
    asked = {asked.kind: asked.question for asked in hidden(Random(2), BOOKS, 9_000, 1).questions}
    assert asked["single"].startswith("What is the special magic number for ")
    assert asked["multi-query"].startswith("What are all the special magic numbers for ")
    assert ", and " in asked["multi-query"]


@pytest.mark.parametrize("characters", [9_000, 200_000])
def test_a_text_has_the_length_that_was_asked_for(characters: int) -> None:
    text = "".join(hidden(Random(3), BOOKS, characters, 1).pieces)
    assert abs(len(text) - len(OPENING) - characters) <= 1


def test_the_same_seed_gives_the_same_text() -> None:
    one, same, other = (hidden(Random(seed), BOOKS, 20_000, 2) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_passage_begins_with_a_paragraph_and_goes_round() -> None:
    books = "one\ntwo\nthree"
    assert {passage(Random(seed), books, 20)[:3] for seed in range(40)} <= {"one", "two", "thr"}
    assert len(passage(Random(1), books, 1_000)) == 1_000


def test_books_without_text_are_refused() -> None:
    with pytest.raises(ValueError, match="the books hold no text"):
        passage(Random(1), " \n", 10)
