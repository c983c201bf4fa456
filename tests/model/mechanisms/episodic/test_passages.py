"""Episodes as text again: sentences that leave nothing out, and words at their tokens, whatever bytes there are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.episodic.block import Block
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.passages import passages
from model.mechanisms.episodic.terms import term
from model.mechanisms.episodic.vocabulary import Vocabulary

# Tokens of one byte and of several, some with a part of a character, and one of none, as a special token.
PIECES = [bytes([byte]) for byte in range(256)] + [b" the", b". ", "é".encode(), b"\xe6\x97", b"\xa5 ab", b""]
VOCABULARY = Vocabulary(PIECES)
SIZE = 8


def episodes_of(ids: list[int]) -> Episodes:
    rows = [ids[begin : begin + SIZE] for begin in range(0, len(ids), SIZE)]
    filled = [row + [0] * (SIZE - len(row)) for row in rows]
    n = len(rows)
    zeros = torch.zeros(n, dtype=torch.int32)
    block = Block(torch.tensor(filled).to(torch.uint16), torch.arange(n), torch.zeros(0, dtype=torch.int32), zeros)
    return Episodes().added(block, n)


def encoded(text: str) -> list[int]:
    return list(text.encode())


def text_tokens(ids: list[int], chosen: list[int]) -> list[int]:
    """The tokens of these episodes, without those of no bytes at the end of a document or of a part that is chosen."""
    found: list[int] = []
    for n in reversed(chosen):
        last = min(SIZE, len(ids) - n * SIZE) - 1
        ending = n + 1 not in chosen or ids[n * SIZE + last] == len(PIECES) - 1
        for token in range(n * SIZE + last, n * SIZE - 1, -1):
            ending = ending and ids[token] == len(PIECES) - 1
            if not ending:
                found.insert(0, token)
    return found


@given(st.lists(st.sampled_from([*encoded("ab.\n é"), *range(250, 262)]), min_size=1, max_size=80), st.data())
def test_sentences_cover_the_chosen_episodes_and_nothing_else(ids: list[int], data: st.DataObject) -> None:
    episodes = episodes_of(ids)
    chosen = data.draw(st.sets(st.integers(0, len(episodes) - 1), min_size=1).map(sorted))
    found = passages(episodes, VOCABULARY, np.array(chosen), len(ids))
    covered = [
        token for begin, end in zip(found.begin, found.end, strict=True) for token in range(int(begin), int(end))
    ]
    expected = text_tokens(ids, chosen)
    assert covered == expected
    assert (found.end - found.begin <= SIZE).all()
    assert found.at.tolist() == sorted(found.at.tolist())
    assert set(found.at.tolist()) <= set(expected)


@given(st.lists(st.sampled_from(["anna", "日本", "Zoë", "x", "🙂", "\n", " ", ". "]), max_size=30))
def test_words_stand_at_the_token_of_their_first_byte(parts: list[str]) -> None:
    parts = ["anna", " ", *parts]
    text = "".join(parts)
    # One token a byte: a token's number is its byte's.
    found = passages(episodes_of(encoded(text)), VOCABULARY, np.arange(-(-len(text.encode()) // SIZE)), 1 << 20)
    for word in ("anna", "日本"):
        at = set(found.at[found.term == term(word)].tolist())
        assert all(text.encode().startswith(word.encode(), place) for place in at)
    assert 0 in found.at


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("He ran. She sat", ["He ran. ", "She sat"]),
        ('"Go!" he', ['"Go!" ', "he"]),
        ("one\ntwo", ["one\ntwo"]),
        ("One\nTwo", ["One\n", "Two"]),
        ("v1.5 is", ["v1.5 is"]),
        ("東。京", ["東。", "京"]),
    ],
)
def test_where_sentences_end(text: str, sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ids = encoded(text)
    monkeypatch.setitem(globals(), "SIZE", 32)
    found = passages(episodes_of(ids), VOCABULARY, np.array([0]), len(ids))
    pieces = [VOCABULARY.text(ids[begin:end]) for begin, end in pairwise([*found.begin.tolist(), len(ids)])]
    assert pieces == sentences
