"""Texts cut into episodes: tokens and bytes are those of the whole text, whatever pieces it comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation import episodes
from model.evaluation.episodes import EpisodicText, whole_lines
from testing.models import prose
from tests.model.mechanisms.episodic.texts import TOKENIZER

PIECES = st.lists(st.sampled_from(["a b", "\n", " ", "\n\n", "“No.”", "x", "\t", "café 12"]), max_size=30)


@given(PIECES, st.integers(1, 5))
def test_the_cuts_are_where_the_tokens_of_an_episode_end(parts: list[str], tokens: int) -> None:
    text = "".join(["z", *parts])
    cut = EpisodicText.tokenized(TOKENIZER, (parts and ["z", *parts]) or text, tokens)
    ids = TOKENIZER.encode(text)
    assert cut.ids.tolist() == ids
    by_hand = [TOKENIZER.decode(ids[start : start + tokens]) for start in range(0, len(ids), tokens)]
    assert [cut.data[start:end] for start, end in map(cut.place, range(len(cut)))] == by_hand
    assert b"".join(by_hand) == text.encode()


@given(PIECES)
def test_parts_of_a_long_text_have_its_tokens(parts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episodes, "_CHARACTERS_AT_ONCE", 4)
        found = list(whole_lines(["z", *parts]))
    assert "".join(found) == "".join(["z", *parts])
    assert [id_ for part in found for id_ in TOKENIZER.encode(part)] == TOKENIZER.encode("".join(found))


def test_a_place_is_covered_by_the_episodes_that_have_its_bytes() -> None:
    cut = EpisodicText.tokenized(TOKENIZER, prose(3, 4_000), 16)
    for start in range(0, len(cut.data) - 40, 7):
        covering = cut.covering(start, start + 40)
        overlapping = [n for n in range(len(cut)) if cut.place(n)[0] < start + 40 and start < cut.place(n)[1]]
        assert list(covering) == overlapping


def test_a_text_of_several_parts_is_cut_between_lines() -> None:
    text = prose(5, 300_000).replace(" \n", "\n").replace("\n ", "\n")
    parts = list(whole_lines([text]))
    assert len(parts) > 2
    assert all(part.startswith("\n") for part in parts[1:])
