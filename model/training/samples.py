"""Training batches: token streams with stories in them, and questions at several places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor

from model.config import ModelConfig
from model.prompt import prompt_ids
from model.tasks.babi.stories import EVERYTHING, MANNERS, Manner, crowded, questions, steps, story
from model.tasks.babi.world import World
from model.tasks.haystack import Books, Layout, hide
from model.tokenizer import TextTokenizer

IGNORED = -100
NO_TASK = -1
STEPS = 0  # the "task" of questions on the way to tasks 2 and 3
NOISE, FACT, EITHER = 0, 1, -1
_CHARACTERS_PER_TOKEN = 4.1
_EVERYTHING_SHARE = 0.3
_CROWDED_SHARE = 0.3
# Of so many questions of a task only those are drawn that a shortcut gets wrong.
_HARD_SHARE = {2: 0.75, 3: 0.75, 4: 0.5, 5: 0.3}


@dataclass(frozen=True)
class Exam:
    """Questions to all rows of a batch after the same number of segments and a tail of the same length.

    tail (B, R) is read into a copy of the memory; tokens (B Q, N) continue the context that it leaves;
    labels (B Q, N) are IGNORED but at the answer; tasks (B Q) says whose question it is, NO_TASK that there is none.
    """

    after_segments: int
    tail: Tensor
    tokens: Tensor
    labels: Tensor
    tasks: Tensor


@dataclass(frozen=True)
class Batch:
    """segments (B, S, T), what each of their tokens is (B, S, T: NOISE, FACT or EITHER), and the exams along them.

    noise (R, N) is book text alone, for the write gate.
    """

    segments: Tensor
    kinds: Tensor
    noise: Tensor
    exams: list[Exam]

    def to(self, device: torch.device) -> Batch:
        exams = [
            Exam(e.after_segments, *(t.to(device) for t in (e.tail, e.tokens, e.labels, e.tasks))) for e in self.exams
        ]
        return Batch(self.segments.to(device), self.kinds.to(device), self.noise.to(device), exams)


@dataclass(frozen=True)
class Plan:
    """The properties of a batch: a fact every `fact_tokens` (from and to), `tasks` with the weight of each.

    Of the sentences between facts, `hard_share` are drawn from `hard`.
    """

    rows: int
    segments: int
    segment_tokens: int
    fact_tokens: tuple[int, int]
    exams: int
    questions: int
    tasks: Mapping[int, float]
    hard: Sequence[str] = ()
    hard_share: float = 0.0


@dataclass(frozen=True)
class _Stream:
    ids: list[int]
    kinds: list[int]
    manner: Manner
    facts: list[str]
    fact_ends: list[int]


def make_batch(random: Random, plan: Plan, config: ModelConfig, tokenizer: TextTokenizer, books: Books) -> Batch:
    """A batch drawn from `random` alone: the same state of it gives the same batch."""
    step = plan.segment_tokens
    streams = [_stream(random, plan, step * (plan.segments + 1), tokenizer, books) for _ in range(plan.rows)]
    worlds = [_Listener(stream) for stream in streams]
    places = {plan.segments, *random.sample(range(1, plan.segments + 1), min(plan.exams, plan.segments) - 1)}
    exams = []
    for after in sorted(places):
        tail_tokens = random.choice((0, random.randrange(step)))
        windows: list[tuple[int, list[int], list[int]]] = []
        for listener in worlds:
            asked = listener.asked(random, plan, after * step + tail_tokens)
            windows += [(task, *_window(config, tokenizer, *question)) for task, question in asked]
            windows += [(NO_TASK, [], [])] * (plan.questions - len(asked))
        tails = [stream.ids[after * step : after * step + tail_tokens] for stream in streams]
        if any(task != NO_TASK for task, *_ in windows):
            exams.append(_exam(after, torch.tensor(tails, dtype=torch.int64), windows))
    shape = (plan.rows, plan.segments, step)
    ids = torch.tensor([stream.ids[: plan.segments * step] for stream in streams]).reshape(shape)
    kinds = torch.tensor([stream.kinds[: plan.segments * step] for stream in streams]).reshape(shape)
    return Batch(ids, kinds, _noise(random, plan, tokenizer, books), exams)


def _noise(random: Random, plan: Plan, tokenizer: TextTokenizer, books: Books) -> Tensor:
    """Rows of book text (R, N), as many tokens as the segments have."""
    tokens = plan.segments * plan.segment_tokens
    rows: list[list[int]] = []
    while len(rows) < plan.rows:
        passage = _hardened(random, plan, books.passage(random, int(tokens * _CHARACTERS_PER_TOKEN)))
        ids = tokenizer.encode(hide(random, [], passage, Layout.drawn(random))[0])
        if len(ids) >= tokens:
            rows.append(ids[:tokens])
    return torch.tensor(rows)


def _hardened(random: Random, plan: Plan, passage: list[str]) -> list[str]:
    if not plan.hard:
        return passage
    return [random.choice(plan.hard) if random.random() < plan.hard_share else sentence for sentence in passage]


def _stream(random: Random, plan: Plan, length: int, tokenizer: TextTokenizer, books: Books) -> _Stream:
    """`length` tokens of book with a story in it, and at which token each fact of it ends."""
    everything = random.random() < _EVERYTHING_SHARE
    task = random.choices(*zip(*((t, w) for t, w in plan.tasks.items() if t), strict=True))[0]
    manner = EVERYTHING if everything else MANNERS[task]
    if random.random() < _CROWDED_SHARE:
        manner = crowded(random, manner)
    count = max(1, round(length / random.uniform(*plan.fact_tokens)))
    facts = list(islice(story(random, manner), count))
    spoken = sum(len(fact) + 1 for fact in facts)
    passage = _hardened(random, plan, books.passage(random, max(1, int(length * _CHARACTERS_PER_TOKEN) - spoken)))
    while True:
        text, ends = hide(random, facts, passage, Layout.drawn(random))
        ids, token_ends = tokenizer.encode_with_ends(text)
        if len(ids) >= length:
            break
        passage += books.passage(random, 200 + 5 * (length - len(ids)))
    kinds, fact_ends, index = [NOISE] * len(ids), [], 0
    for fact, end in zip(facts, ends, strict=True):
        decided = end - len(fact) + _decided_from(fact)
        while token_ends[index] <= end - len(fact):
            index += 1
        while index < len(ids) and (index == 0 or token_ends[index - 1] < end):
            kinds[index] = FACT if token_ends[index] > decided else EITHER
            index += 1
        fact_ends.append(index)
    return _Stream(ids[:length], kinds[:length], manner, facts, fact_ends)


def _decided_from(fact: str) -> int:
    """The character at which the last name or noun of a fact begins; before it, all could still turn out otherwise."""
    return fact.removesuffix(".").removesuffix(" there").rindex(" ") + 1


class _Listener:
    """Hears a stream's story as far as it has been read, and asks about it."""

    def __init__(self, stream: _Stream) -> None:
        self._stream, self._world, self._heard = stream, World(), 0

    def asked(self, random: Random, plan: Plan, tokens: int) -> list[tuple[int, tuple[str, str]]]:
        stream = self._stream
        while self._heard < len(stream.facts) and stream.fact_ends[self._heard] <= tokens:
            self._world.hear(stream.facts[self._heard])
            self._heard += 1
        open_questions = {task: self._questions(random, task) for task in plan.tasks}
        asked: list[tuple[int, tuple[str, str]]] = []
        while len(asked) < plan.questions and (left := [task for task, found in open_questions.items() if found]):
            (task,) = random.choices(left, [plan.tasks[task] for task in left])
            found = open_questions[task]
            asked.append((task, found.pop(random.randrange(len(found)))))
        return asked

    def _questions(self, random: Random, task: int) -> list[tuple[str, str]]:
        world = self._world
        if task == STEPS:
            return steps(world)
        found = questions(task, world, self._stream.manner)
        if random.random() >= _HARD_SHARE.get(task, 0.0):
            return found
        return [asked for asked in found if is_hard(task, world, asked[0])] or found


def is_hard(task: int, world: World, question: str) -> bool:
    """Questions about objects carried on after their last mention, places with two stated neighbours, and gifts."""
    if task in (2, 3):
        return any(f" {thing}" in question and path[-1] != world.named_at[thing] for thing, path in world.paths.items())
    if task == 4:
        return any(f" {place}" in question for place, count in world.centres.items() if count > 1)
    return question.startswith("What did")


def _window(config: ModelConfig, tokenizer: TextTokenizer, question: str, answer: str) -> tuple[list[int], list[int]]:
    prompt = prompt_ids(config, tokenizer.encode(question))
    count = [*tokenizer.encode(" " + answer), config.special.end]
    # The last token of the window has nothing to predict: it is never fed.
    return [*prompt, *count[:-1]], [IGNORED] * (len(prompt) - 1) + count


def _exam(after: int, tail: Tensor, windows: list[tuple[int, list[int], list[int]]]) -> Exam:
    tasks, tokens, labels = zip(*windows, strict=True)
    longest = max(map(len, tokens))
    return Exam(
        after,
        tail,
        torch.tensor([window + [0] * (longest - len(window)) for window in tokens]),
        torch.tensor([label + [IGNORED] * (longest - len(label)) for label in labels]),
        torch.tensor(tasks),
    )
