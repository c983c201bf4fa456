"""Memory replay back-propagation (Memformer, 2010.06891, section 3.4): the gradients of back-propagation through time,
with the activations of one segment at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer
from model.memory import MemoryState
from model.training.loss import Outcome, answer_loss, answer_tokens, write_gate_loss
from model.training.samples import Batch


def backward(model: MemoryTransformer, batch: Batch) -> Outcome:
    """The same gradients as `loss.backward`, for one more reading: memories are kept, activations made again."""
    result = Outcome()
    exams = {exam.after_segments: exam for exam in batch.exams}
    with torch.no_grad():
        memories = [model.initial_memory(batch.segments.shape[0])]
        for index in range(batch.segments.shape[1] - 1):
            memories.append(model.read(batch.segments[:, index], memories[-1]))
    tokens = answer_tokens(batch)
    later: dict[str, Tensor] = {}
    for index in reversed(range(batch.segments.shape[1])):
        before = _leaf(memories.pop())
        after = model.read(batch.segments[:, index], before)
        # The gradient of this product is what the later segments pass back to this memory.
        parts = [(after[name] * gradient).sum() for name, gradient in later.items()]
        if exam := exams.get(index + 1):
            loss = answer_loss(model, exam, after, result) / tokens
            result.answer_loss += loss.item()
            parts.append(loss)
        if parts:
            torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]
        later = {name: t.grad for name, t in before.tensors.items() if t.grad is not None}
    _propagate(model.initial_memory(batch.segments.shape[0]), later)
    if isinstance(model, DeltaTransformer):
        write_gate_loss(model, batch, result).backward()  # type: ignore[no-untyped-call]
    return result


def _propagate(first: MemoryState, wanted: dict[str, Tensor]) -> None:
    """Into the weights that a memory begins with, where a mechanism learns them."""
    parts = [(first[name] * gradient).sum() for name, gradient in wanted.items() if first[name].requires_grad]
    if parts:
        torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]


def _leaf(memory: MemoryState) -> MemoryState:
    return MemoryState({name: t.detach().requires_grad_(t.is_floating_point()) for name, t in memory.tensors.items()})
