"""BABILong's samples: all facts in order, the length as asked, no short sentences."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks.associative import retrieval
from model.tasks.babilong import BYTES_PER_TOKEN, noise, sample
from model.tasks.haystack import Books
from testing.models import prose

BOOKS = Books(re.sub(r"(?<=\w) (?=the )", ". ", prose(3, 30_000)))
FACTS = ["Mary went to the garden.", "John got the milk there.", "Mary moved to the office."]


@given(st.integers(0, 10_000), st.integers(30, 2_000))
def test_a_sample_has_its_length_and_its_facts_in_order(seed: int, tokens: int) -> None:
    text = sample(Random(seed), BOOKS, FACTS, tokens)
    assert tokens * BYTES_PER_TOKEN - 8 <= len(text.encode()) <= tokens * BYTES_PER_TOKEN
    assert [found for found in re.findall("|".join(map(re.escape, FACTS)), text)] == FACTS


def test_a_sample_of_length_zero_has_only_the_facts() -> None:
    assert sample(Random(1), BOOKS, FACTS, 0) == " ".join(FACTS)


def test_a_length_shorter_than_the_facts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10 tokens .* cannot hold facts of 76 bytes"):
        sample(Random(1), BOOKS, FACTS, 10)


@given(st.integers(0, 10_000))
def test_short_sentences_are_left_out_and_the_last_one_is_cut(seed: int) -> None:
    sentences = noise(Random(seed), BOOKS, 1_000)
    assert all(len(s.removeprefix("\n").encode()) >= 10 * BYTES_PER_TOKEN for s in sentences[:-1])
    assert 995 <= sum(len(s.removeprefix("\n").encode()) + 1 for s in sentences) <= 1_000


def test_books_without_a_long_sentence_are_refused() -> None:
    with pytest.raises(ValueError, match="no sentence of ten tokens"):
        noise(Random(1), Books("No. Yes.\nPerhaps.\n"), 100)


@given(st.integers(0, 1_000), st.sampled_from(["remember", "rewrite"]), st.integers(1, 500))
def test_the_last_value_of_every_key_is_asked_for(seed: int, kind: str, pairs: int) -> None:
    facts, questions = retrieval(Random(seed), kind, pairs)  # type: ignore[arg-type]
    stored = [re.fullmatch(r"The number of (\w+) is (\d\d)\.", fact) for fact in facts]
    last = {match[1]: match[2] for match in stored if match}
    assert len(facts) == pairs
    assert questions == [(f"What is the number of {key}?", value) for key, value in last.items()]
    assert kind == "rewrite" or len(last) == pairs
