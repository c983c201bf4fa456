"""What batches are made of: answers behind their questions, and the write gate's labels on the facts."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.tasks.babi.world import World
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training.samples import EITHER, FACT, IGNORED, NO_TASK, NOISE, Batch, Plan, is_hard, make_batch
from testing.models import prose, tiny_config

BOOKS = Books(prose(5, 20_000))
CONFIG = tiny_config(window_tokens=200)
PLAN = Plan(4, 3, 16, (8, 20), 3, 4, dict.fromkeys(range(6), 1.0))


def made(seed: int, tokenizer: TextTokenizer, plan: Plan = PLAN) -> Batch:
    return make_batch(Random(seed), plan, CONFIG, tokenizer, BOOKS)


@given(st.integers(0, 10_000))
def test_labels_are_the_answers(tokenizer: TextTokenizer, seed: int) -> None:
    batch = made(seed, tokenizer)
    assert batch.segments.shape == batch.kinds.shape == (4, 3, 16)
    assert batch.noise.shape == (4, 48)
    for exam in batch.exams:
        assert exam.tokens.shape[0] == exam.tasks.shape[0] == 16
        for tokens, labels, task in zip(exam.tokens, exam.labels, exam.tasks, strict=True):
            answer = labels[labels != IGNORED].tolist()
            assert bool(answer) == (task != NO_TASK)
            if answer:
                assert answer[-1] == CONFIG.special.end
                first = int((labels != IGNORED).nonzero()[0])
                assert tokens[first] == CONFIG.special.answer[0]
                assert tokens[first + 1 : first + len(answer)].tolist() == answer[:-1]


@given(st.integers(0, 10_000))
def test_fact_tokens_are_marked(tokenizer: TextTokenizer, seed: int) -> None:
    """Tokens that are not noise read as facts; the end of each fact is marked as what the gate must pass."""
    batch = made(seed, tokenizer, replace(PLAN, rows=1, segments=12))
    ids, kinds = batch.segments.flatten().tolist(), batch.kinds.flatten().tolist()
    runs: list[tuple[int, list[int]]] = []
    for token, kind in zip(ids, kinds, strict=True):
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(token)
    names = {"Mary", "John", "Daniel", "Sandra", "Bill", "Fred", "Jeff", "Julie", "The"}
    for index, (kind, tokens) in enumerate(runs):
        text = tokenizer.decode(tokens).decode(errors="ignore")
        if kind == FACT and index + 1 < len(runs):
            assert text.endswith(".")
        if kind == EITHER and index + 1 < len(runs):
            assert text.split()[0] in names
            assert runs[index + 1][0] == FACT
    assert {kind for kind, _ in runs} <= {NOISE, FACT, EITHER}


def test_batches_contain_facts(tokenizer: TextTokenizer) -> None:
    assert {NOISE, FACT, EITHER} == set(made(1, tokenizer).kinds.flatten().tolist())


def test_the_same_random_state_gives_the_same_batch(tokenizer: TextTokenizer) -> None:
    one, other = made(7, tokenizer), made(7, tokenizer)
    assert torch.equal(one.segments, other.segments)
    assert torch.equal(one.noise, other.noise)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(one.exams, other.exams, strict=True))


@pytest.mark.parametrize(
    ("task", "facts", "question", "hard"),
    [
        (2, "Mary went to the office. Mary took the milk. Mary went to the garden.", "Where is the milk?", True),
        (2, "Mary went to the office. Mary took the milk.", "Where is the milk?", False),
        (
            4,
            "The hallway is east of the office. The garden is west of the office.",
            "What is east of the office?",
            True,
        ),
        (
            4,
            "The hallway is east of the office. The garden is west of the hallway.",
            "What is east of the office?",
            False,
        ),
        (5, "Mary gave the milk to Fred.", "What did Mary give to Fred?", True),
        (5, "Mary gave the milk to Fred.", "Who gave the milk?", False),
    ],
)
def test_hard_questions_are_those_that_a_shortcut_gets_wrong(task: int, facts: str, question: str, hard: bool) -> None:
    world = World()
    for fact in facts.split(". "):
        world.hear(fact.removesuffix(".") + ".")
    assert is_hard(task, world, question) is hard


def test_hard_sentences_take_their_share(tokenizer: TextTokenizer) -> None:
    batch = made(1, tokenizer, replace(PLAN, hard=("zzz qqq zzz qqq.",), hard_share=1.0))
    assert "zzz" in tokenizer.decode(batch.noise.flatten().tolist()).decode(errors="ignore")
    assert "the" not in tokenizer.decode(batch.noise.flatten().tolist()).decode(errors="ignore").split()
