"""Ranks: how many of the ranges found, best first, it takes to have a place whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.corpora import Question
from model.evaluation.finding.ranks import covered, rank_of, ranked

RANGES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda ends: (min(ends), max(ends))), max_size=8
)


@given(RANGES, st.tuples(st.integers(0, 20), st.integers(1, 9)))
def test_a_place_is_covered_if_each_of_its_bytes_is(ranges: list[tuple[int, int]], place: tuple[int, int]) -> None:
    start, length = place
    bytes_found = {byte for first, last in ranges for byte in range(first, last)}
    assert covered(ranges, (start, start + length)) == (set(range(start, start + length)) <= bytes_found)


@given(RANGES, st.lists(st.integers(0, 20).map(lambda start: (start, start + 2)), min_size=1, max_size=3))
def test_the_rank_is_the_least_number_of_ranges(ranges: list[tuple[int, int]], places: list[tuple[int, int]]) -> None:
    counts = [n for n in range(len(ranges) + 1) if any(covered(ranges[:n], place) for place in places)]
    assert rank_of(ranges, places) == (counts[0] if counts else None)


def test_only_what_fits_is_read_again() -> None:
    def find(question: str, tokens: int) -> list[tuple[int, int]]:
        return [(90, 100), (0, 10), (10, 20)][: tokens // 128]

    question = Question("?", ("an answer",), ((8, 12),))
    assert ranked(find, question, 128, 256) == (3, False)
    assert ranked(find, question, 128, 384) == (3, True)
