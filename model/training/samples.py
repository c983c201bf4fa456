"""Batches to learn from: long token streams with facts in them, and questions at several places.

It knows tasks and tokens, and nothing of gradients or of the model's inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from model.config import ModelConfig
from model.prompt import prompt_ids
from model.tasks import babi
from model.tasks.haystack import Books, Layout, hide
from model.tokenizer import TextTokenizer

IGNORED = -100
_CHARACTERS_PER_TOKEN = 4.1


@dataclass(frozen=True)
class Exam:
    """Questions to all rows of a batch after the same number of segments and a tail of the same length.

    tail (B, R) is read into a copy of the memory; tokens (B, Q, N) continue the context that it leaves; labels
    (B, Q, N) are IGNORED but at the answer.
    """

    after_segments: int
    tail: Tensor
    tokens: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Batch:
    """segments (B, S, T) and the exams along them, in order."""

    segments: Tensor
    exams: list[Exam]


@dataclass(frozen=True)
class Plan:
    """What a batch is to be like."""

    rows: int
    segments: int
    segment_tokens: int
    facts: tuple[int, int]
    exams: int
    questions: int


def make_batch(random: Random, plan: Plan, config: ModelConfig, tokenizer: TextTokenizer, books: Books) -> Batch:
    """A batch drawn from `random` alone: the same state of it gives the same batch."""
    step = plan.segment_tokens
    streams = [_stream(random, plan, step * (plan.segments + 1), tokenizer, books) for _ in range(plan.rows)]
    places = {plan.segments} | {random.randint(1, plan.segments) for _ in range(plan.exams - 1)}
    exams = []
    for after in sorted(places):
        tail_tokens = random.choice((0, random.randrange(step)))
        rows = [_questions(random, plan, config, tokenizer, stream, after * step, tail_tokens) for stream in streams]
        tails = [stream.ids[after * step : after * step + tail_tokens] for stream in streams]
        exams.append(_exam(after, torch.tensor(tails, dtype=torch.int64), rows))
    ids = torch.tensor([stream.ids for stream in streams])
    return Batch(ids[:, : plan.segments * step].reshape(plan.rows, plan.segments, step), exams)


@dataclass(frozen=True)
class _Stream:
    ids: list[int]
    story: list[babi.Move]
    story_ends: list[int]


def _stream(random: Random, plan: Plan, length: int, tokenizer: TextTokenizer, books: Books) -> _Stream:
    """`length` tokens of book with a story in it, and at which token each fact of it ends."""
    story = babi.moves(random, random.randint(*plan.facts))
    passage = books.passage(random, int(length * _CHARACTERS_PER_TOKEN))
    while True:
        text, ends = hide(random, [str(move) for move in story], passage, Layout.drawn(random))
        ids, token_ends = tokenizer.encode_with_ends(text)
        if len(ids) >= length:
            break
        passage += books.passage(random, 200 + 5 * (length - len(ids)))
    story_ends, index = [], 0
    for end in ends:
        while token_ends[index] < end:
            index += 1
        story_ends.append(index + 1)
    return _Stream(ids[:length], story, story_ends)


def _questions(
    random: Random,
    plan: Plan,
    config: ModelConfig,
    tokenizer: TextTokenizer,
    stream: _Stream,
    read: int,
    tail_tokens: int,
) -> list[tuple[list[int], list[int]]]:
    """Windows and labels of `plan.questions` questions, those without an answer as empty windows."""
    told = [m for m, end in zip(stream.story, stream.story_ends, strict=True) if end <= read + tail_tokens]
    asked = babi.questions(told)
    random.shuffle(asked)
    windows = []
    for question in asked[: plan.questions]:
        prompt = prompt_ids(config, tokenizer.encode(question.text))
        answer = [*tokenizer.encode(" " + question.answer), config.special.end]
        # The last token of the window has nothing to predict: it is never fed.
        tokens = [*prompt, *answer[:-1]]
        windows.append((tokens, [IGNORED] * (len(prompt) - 1) + answer))
    return windows + [([], [])] * (plan.questions - len(windows))


def _exam(after: int, tail: Tensor, rows: list[list[tuple[list[int], list[int]]]]) -> Exam:
    longest = max(1, max(len(tokens) for row in rows for tokens, _ in row))
    tokens = [[window + [0] * (longest - len(window)) for window, _ in row] for row in rows]
    labels = [[label + [IGNORED] * (longest - len(label)) for _, label in row] for row in rows]
    return Exam(after, tail, torch.tensor(tokens), torch.tensor(labels))
