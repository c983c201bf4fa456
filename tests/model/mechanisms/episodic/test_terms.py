"""The terms of words: what case, accents, endings and irregular forms do not change, and what stays apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.episodic.terms import COUNT_MAX, counted, joined, term, words


@pytest.mark.parametrize(
    "forms",
    [
        "begin Begins began begun beginning",
        "child children child's CHILDREN",
        "story stories story’s",
        "hop hops hopped hopping",
        "large largely",
        "Zürich zurich",
        "1,000 1000",
        "1940 1940s",
        "don't dont",
    ],
)
def test_forms_of_a_word_are_one_term(forms: str) -> None:
    assert len({term(word) for word in forms.split()}) == 1


@pytest.mark.parametrize("pair", ["bus but", "3.5 35", "pass past", "ring wring", "early ear", "дом том"])
def test_other_words_are_other_terms(pair: str) -> None:
    one, other = pair.split()
    assert term(one) != term(other)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It cost $1,000.50 in March—1973.", ["It", "cost", "1,000.50", "in", "March", "1973"]),
        ("the boy’s well-known snake_case", ["the", "boy’s", "well", "known", "snake", "case"]),
        ("第三章 abc東京x", ["第三", "三章", "abc", "東京", "x"]),
        ("a本", ["a", "本"]),
        ("", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text)[0] == found


@given(st.text(st.sampled_from("abß1,.'’_- 日本é\n"), max_size=60))
def test_each_word_stands_where_it_is_said_to_begin(text: str) -> None:
    for word, begin in zip(*words(text), strict=True):
        assert text.startswith(word, begin)


@given(st.text(st.sampled_from("ab1 日本é\n"), max_size=200))
def test_each_different_term_is_counted_once(text: str) -> None:
    counts = {each & ~COUNT_MAX: each & COUNT_MAX for each in counted(text)}
    found = [term(word) for word in words(text)[0]]
    assert counts == {each: min(found.count(each), COUNT_MAX) for each in found}
    assert len(counted(text)) == len(counts)


@pytest.mark.parametrize(
    ("before", "text", "whole"),
    [
        ("the Assi", "pattle ran", "Assipattle ran"),
        ("the ", "end", "end"),
        ("it", " is", " is"),
        ("東京", "都", "京都"),
    ],
)
def test_a_cut_word_is_made_whole(before: str, text: str, whole: str) -> None:
    assert joined(before, text) == whole
