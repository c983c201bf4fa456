"""What a question finds in a text: sentences scored as in plain loops, the budget kept, and what is not there said."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.episodic import finding, naive
from model.mechanisms.episodic.finding import Finding, Text, chosen, find
from model.mechanisms.episodic.passages import Passages
from model.mechanisms.episodic.rescoring import features
from testing.models import prose
from tests.model.mechanisms.episodic.texts import episodic, episodic_model, read

MODEL = episodic_model(capacity_tokens=1 << 20, segment_tokens=64, recall_tokens=128, window_tokens=1024)
cuts_of_a_text = st.lists(st.integers(0, 300), min_size=2, max_size=12, unique=True).map(sorted)
places_of_terms = st.lists(st.lists(st.integers(0, 300), max_size=8, unique=True).map(sorted), max_size=5)


def cut(cuts: list[int]) -> Passages:
    pairs = [*pairwise(cuts)]
    none = np.zeros(0, np.int64)
    return Passages(np.array([begin for begin, _ in pairs]), np.array([end for _, end in pairs]), none, none)


def asked(text: str, question: str, budget: int = 128, gap: int = 0) -> tuple[Finding, str]:
    """What is found in a text, and the best place."""
    state = read(MODEL, text.encode())
    [episodes] = episodic(state).rows
    ids = [id_ for n in range(len(episodes)) for id_ in episodes.tokens_of(n).tolist()]
    found = find(Text(episodes, MODEL.vocabulary, len(ids), 0), question, budget, gap)
    best = found.spans[0] if found.spans else None
    return found, MODEL.vocabulary.text(ids[best.begin : best.end]) if best else ""


@given(cuts_of_a_text, places_of_terms)
def test_features_are_those_of_plain_loops(cuts: list[int], places: list[list[int]]) -> None:
    weights = [1.0 + number for number in range(len(places))]
    found = features(cut(cuts), [np.array(at, dtype=np.int64) for at in places], np.array(weights))
    expected = [naive.features(begin, end, places, weights) for begin, end in pairwise(cuts)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@given(cuts_of_a_text, st.data())
def test_the_chosen_sentences_keep_the_budget_with_their_marks(cuts: list[int], data: st.DataObject) -> None:
    found = cut(cuts)
    scores = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(cuts) - 1, max_size=len(cuts) - 1)), float)
    budget, gap = data.draw(st.integers(1, 400)), data.draw(st.integers(0, 5))
    tail = data.draw(st.integers(0, 320))
    spans = [*chosen(found, scores, budget, gap, tail)]
    tokens = {token for span in spans for token in range(span.begin, min(span.end, tail))}
    runs = sum(token + 1 not in tokens and token + 1 != tail for token in tokens)
    assert len(tokens) + gap * runs <= budget
    assert [span.score for span in spans] == sorted((span.score for span in spans), reverse=True)
    assert all(span.begin < span.end for span in spans)
    if budget >= cuts[-1] - cuts[0] + gap * len(cuts):
        assert tokens == set(range(cuts[0], min(cuts[-1], tail)))


def test_the_sentence_with_the_question_s_words_comes_first() -> None:
    text = prose(7, 900) + ". In March Kofi sold the zebra to Anna. " + prose(8, 900)
    found, best = asked(text, "Who bought the zebra that Kofi was selling?")
    assert "Kofi sold the zebra" in best
    assert found.found is None


def test_words_near_by_decide_between_equal_sentences() -> None:
    """The sentence with the answer does not have the name: it says "he"."""
    line = "In the evening he sold the zebra. "
    text = f"Emil was a miller. {line}{prose(3, 700)}. Kofi was a baker. {line}{prose(4, 700)}"
    found, best = asked(text, "What did Kofi the baker sell in the evening?")
    assert found.spans[0].begin > 100
    assert "evening" in best or "Kofi" in best


@pytest.mark.parametrize("question", ["Where is Anna now?", "Where was Anna last seen?"])
def test_the_latest_place_comes_first_where_it_is_asked_for(question: str) -> None:
    line = "Anna is in the {}. "
    text = line.format("attic") + prose(5, 600) + " " + line.format("cellar") + prose(6, 600)
    assert "cellar" in asked(text, question)[1]


def test_of_equal_sentences_the_later_comes_first() -> None:
    found = cut([0, 10, 20, 30])
    assert [span.begin for span in chosen(found, np.array([1.0, 0.0, 1.0]), 100, 0, 30)] == [20, 0, 10]


@pytest.mark.parametrize(
    ("question", "has"),
    [
        ("Where is Kofi?", False),
        ("where is kofi", False),
        ("What did Kofi say about the Portuguese embassy in Lagos?", False),
        ("Wo ist der Schlüssel?", False),
        ("What is this text about?", None),
        ("Please summarize the document.", None),
        ("?", None),
        ("", None),
    ],
)
def test_what_the_text_does_not_have(question: str, has: bool | None) -> None:
    found, _ = asked(prose(9, 1500), question)
    assert found.found is has
    assert bool(found.spans) or has is False


def test_a_question_about_the_text_as_such_reads_its_beginning() -> None:
    found, _ = asked("1 2 3 " * 100, "What is this about?")
    assert (found.spans[0].begin, found.spans[0].end) == (0, 128)


@pytest.mark.parametrize(("best", "looked_at"), [(0, [0, 1]), (3, [2, 3, 4]), (5, [4, 5])])
def test_the_episodes_beside_the_best_are_looked_at_too(
    monkeypatch: pytest.MonkeyPatch, best: int, looked_at: list[int]
) -> None:
    """A sentence that goes on in the next episode is read to its end."""
    monkeypatch.setattr(finding, "CANDIDATES", 1)
    scores = np.zeros(6)
    scores[best] = 1.0
    assert finding.candidates(scores).tolist() == looked_at
