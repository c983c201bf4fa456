"""Facts hidden in books: all of them, in order, where the offsets say."""

from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks.babi.stories import MANNERS, story
from model.tasks.haystack import Books, Layout, hide
from testing.models import prose

BOOKS = Books(prose(3, 30_000))


@given(st.integers(0, 10_000), st.integers(0, 12), st.booleans())
def test_every_fact_ends_where_it_is_said_to(seed: int, count: int, plain: bool) -> None:
    random = Random(seed)
    facts = list(islice(story(random, MANNERS[2]), count))
    layout = Layout() if plain else Layout.drawn(random)
    text, ends = hide(random, facts, BOOKS.passage(random, 800), layout)
    assert [" ".join(text[:end].split())[-len(fact) :] for fact, end in zip(facts, ends, strict=True)] == facts
    assert ends == sorted(ends)


def test_the_plain_layout_keeps_the_sentences() -> None:
    passage = ["One two.", "Three.", "\nFour five."]
    text, ends = hide(Random(1), ["Mary went to the kitchen."], passage)
    assert text.replace("Mary went to the kitchen.", "").split() == "One two. Three. Four five.".split()
    assert len(ends) == 1


def test_a_passage_is_about_as_long_as_asked_and_goes_round() -> None:
    passage = BOOKS.passage(Random(1), 100_000)
    length = sum(len(sentence.lstrip()) + 1 for sentence in passage)
    assert 90_000 < length < 101_000


def test_quotes_stay_with_their_sentence() -> None:
    sentences = Books("“Go on,” he said. “I will.” Mr. Brown went. St. Ives?\n").passage(Random(1), 30)
    assert sentences[:3] == ["“Go on,” he said.", "“I will.”", "Mr. Brown went."]


def test_books_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "books.txt").write_bytes(b"caf\xff")
    with pytest.raises(ValueError, match="not UTF-8 text \\(byte 3\\)"):
        Books.read(tmp_path / "books.txt")
    with pytest.raises(ValueError, match="no text"):
        Books(" \n")
