"""The loss of a batch and its gradients: wrong answers, and wrong decisions of the write gate."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer
from model.memory import MemoryState
from model.training.samples import FACT, IGNORED, NO_TASK, NOISE, Batch, Exam


@dataclass
class Outcome:
    """What a log wants to know of a batch: losses, `right` and `asked` by task, and what the write gate let through."""

    answer_loss: float = 0.0
    write_gate_loss: float = 0.0
    noise_open_rate: float = 0.0
    facts_shut_rate: float = 0.0
    right: Counter[int] = field(default_factory=Counter)
    asked: Counter[int] = field(default_factory=Counter)

    def count(self, tasks: Tensor, right: Tensor) -> None:
        self.asked.update(tasks.tolist())
        self.right.update(tasks[right].tolist())


def backward(model: MemoryTransformer, batch: Batch) -> Outcome:
    """Leaves the gradients of a batch's loss in the weights: back-propagation through time, through all segments."""
    result = Outcome()
    memory = model.initial_memory(batch.segments.shape[0])
    exams = {exam.after_segments: exam for exam in batch.exams}
    losses = []
    for index in range(batch.segments.shape[1]):
        memory = model.read(batch.segments[:, index], memory)
        if exam := exams.get(index + 1):
            losses.append(answer_loss(model, exam, memory, result))
    parts = []
    if losses:
        parts.append(torch.stack(losses).sum() / answer_tokens(batch))
        result.answer_loss = parts[0].item()
    if isinstance(model, DeltaTransformer):
        parts.append(write_gate_loss(model, batch, result))
    if parts:
        torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]
    return result


def answer_tokens(batch: Batch) -> int:
    """How many answer tokens a batch asks for."""
    return sum(int((exam.labels != IGNORED).sum()) for exam in batch.exams)


def write_gate_loss(model: DeltaTransformer, batch: Batch, result: Outcome) -> Tensor:
    """The price of writing: what the write gate lets through of the books, and what it overlooks of the facts."""
    rows = batch.segments.shape[0]
    scores = model.write_scores(batch.segments.reshape(rows, -1))
    kinds = batch.kinds.reshape(rows, -1)
    noise = torch.cat([scores[kinds == NOISE], model.write_scores(batch.noise).flatten()])
    facts = scores[kinds == FACT]
    loss = write_gate_cost(noise, facts)
    result.write_gate_loss = loss.item()
    result.noise_open_rate = (model.write_gate.gate(noise) > 0).float().mean().item()
    result.facts_shut_rate = int((model.write_gate.gate(facts) <= 0).sum()) / max(1, facts.numel())
    return loss


def write_gate_cost(noise: Tensor, facts: Tensor, hardest: int = 64) -> Tensor:
    """Cross-entropy of the write gate's scores; the hardest noise tokens (N) count as much as all of them together."""
    wrong = F.softplus(noise)
    worst = wrong.topk(min(hardest, wrong.numel())).values
    # A batch may hold no fact at all.
    overlooked = F.softplus(-facts).sum() / max(1, facts.numel())
    return wrong.mean() + worst.mean() + overlooked


def answer_loss(model: MemoryTransformer, exam: Exam, memory: MemoryState, result: Outcome) -> Tensor:
    """The cross-entropy of all answer tokens of an exam, summed; wholly right answers are counted in `result`."""
    tokens = exam.tokens
    if not model.config.tail_in_memory:
        opening = torch.tensor(model.config.special.opening, dtype=torch.int64, device=tokens.device)
        tail = torch.cat([opening.expand(exam.tail.shape[0], -1), exam.tail], dim=1)
        tokens = torch.cat([tail.repeat_interleave(len(tokens) // len(tail), dim=0), tokens], dim=1)
    elif exam.tail.shape[1]:
        memory = model.read(exam.tail, memory)
    hidden = model.window(tokens, memory)[:, tokens.shape[1] - exam.tokens.shape[1] :]
    counted = exam.labels != IGNORED
    logits = model.logits(hidden[counted])
    right = torch.ones_like(exam.labels, dtype=torch.bool)
    right[counted] = logits.argmax(dim=-1) == exam.labels[counted]
    asked = exam.tasks != NO_TASK
    result.count(exam.tasks[asked], right.all(dim=1)[asked])
    return F.cross_entropy(logits, exam.labels[counted], reduction="sum")
