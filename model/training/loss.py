"""The loss of a batch: wrong answers, and the price of writing.

It knows the model and a batch, and nothing of optimisers, stages or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.memory import MemoryState
from model.training.samples import IGNORED, Batch, Exam
from model.transformer import MemoryTransformer


@dataclass(frozen=True)
class Outcome:
    """The loss to minimise, and what a log wants to know of it."""

    loss: Tensor
    answer_loss: float
    accuracy: float
    write_rate: float


def outcome(model: MemoryTransformer, batch: Batch, write_price: float) -> Outcome:
    """Reads the batch with gradients through all of it (back-propagation through time), and examines along the way."""
    memory = model.initial_memory(batch.segments.shape[0])
    exams = {exam.after_segments: exam for exam in batch.exams}
    losses, rights, strengths = [], [], []
    for index in range(batch.segments.shape[1]):
        memory, beta = model.read_with_strengths(batch.segments[:, index], memory)
        strengths.append(beta.mean())
        if exam := exams.get(index + 1):
            loss, right = examine(model, exam, memory)
            losses.append(loss)
            rights.append(right)
    answer_loss = torch.cat(losses).mean()
    price = torch.stack(strengths).mean()
    return Outcome(
        answer_loss + write_price * price,
        answer_loss.item(),
        torch.cat(rights).float().mean().item(),
        price.item(),
    )


def examine(model: MemoryTransformer, exam: Exam, memory: MemoryState) -> tuple[Tensor, Tensor]:
    """The cross-entropy of every answer token, and for every question whether the whole answer was right."""
    if exam.tail.shape[1]:
        memory = model.read(exam.tail, memory)
    asked = exam.tokens.shape[1]
    tokens, labels = exam.tokens.flatten(0, 1), exam.labels.flatten(0, 1)
    kept = (labels != IGNORED).any(dim=1)
    rows = torch.arange(memory.batch, device=tokens.device).repeat_interleave(asked)[kept]
    tokens, labels = tokens[kept], labels[kept]
    repeated = MemoryState({name: tensor[rows] for name, tensor in memory.tensors.items()})
    window = torch.cat([repeated["context"], tokens], dim=1)
    positions = torch.arange(window.shape[1], device=window.device).expand_as(window)
    hidden = model.answer(window, positions, repeated)[:, repeated["context"].shape[1] :]
    counted = labels != IGNORED
    logits = model.logits(hidden[counted])
    loss = F.cross_entropy(logits, labels[counted], reduction="none")
    right = torch.ones_like(labels, dtype=torch.bool)
    right[counted] = logits.argmax(dim=-1) == labels[counted]
    return loss, right.all(dim=1)
