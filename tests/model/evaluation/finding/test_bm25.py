"""BM25 against its formula in plain loops, and what is fused with it."""

from __future__ import annotations

from collections import Counter
from math import log

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.finding.bm25 import Bm25, stems, with_neighbours
from model.evaluation.finding.dense import fused

DOCUMENTS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=9), min_size=1, max_size=8)


@given(DOCUMENTS, st.lists(st.sampled_from("abcdefg"), max_size=5))
def test_the_scores_are_those_of_the_formula(documents: list[list[str]], asked: list[str]) -> None:
    k1, b = 0.9, 0.4
    mean = max(1.0, sum(map(len, documents)) / len(documents))
    wanted = []
    for document in documents:
        score = 0.0
        for term in set(asked):
            having, count = sum(term in other for other in documents), Counter(document)[term]
            idf = log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            score += idf * count * (k1 + 1) / (count + k1 * (1 - b + b * len(document) / mean))
        wanted.append(score)
    assert Bm25(documents).scores(asked) == pytest.approx(wanted)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_a_neighbour_adds_half_of_the_better_one(scores: list[float]) -> None:
    wanted = [
        score + 0.5 * max(scores[at - 1] if at else 0, scores[at + 1] if at + 1 < len(scores) else 0)
        for at, score in enumerate(scores)
    ]
    assert with_neighbours(numpy.array(scores)).tolist() == pytest.approx(wanted)


def test_endings_and_case_do_not_matter() -> None:
    assert stems("Keeps keeping KEEP") == ["keep"] * 3
    assert stems("is it us") == ["is", "it", "us"]


def test_fused_scores_weigh_equally_whatever_their_scale() -> None:
    one, other = numpy.array([0.0, 1.0, 0.5]), numpy.array([1000.0, 0.0, 900.0])
    assert fused(one, other).argmax() == 2
    assert fused(one, numpy.zeros(3)).argmax() == 1
