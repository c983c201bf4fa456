"""Gradients: replayed as they are through time, for less memory; and the write gate pays for what it lets through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
import torch

from model.mechanisms.base import MemoryTransformer
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training import loss, replay
from model.training.loss import Outcome, write_gate_cost
from model.training.samples import Batch, Plan, make_batch
from testing.models import MECHANISMS, prose, random_model, tiny_config

BOOKS = Books(prose(5, 20_000))
WRITING = {
    "delta": "memories",
    "armt": "memories",
    "armt, normalized": "memories",
    "rmt": "memory_tokens",
    "memformer": "writer",
}
PLAN = Plan(4, 6, 16, (8, 12), 4, 3, dict.fromkeys(range(6), 1.0))


@pytest.fixture(scope="module")
def batch(tokenizer: TextTokenizer) -> Batch:
    return make_batch(Random(3), PLAN, tiny_config(), tokenizer, BOOKS)


def learned(
    run: Callable[[MemoryTransformer, Batch], Outcome], batch: Batch, name: str = "delta"
) -> tuple[Outcome, dict[str, torch.Tensor]]:
    config = replace(MECHANISMS[name], segment_tokens=16, write_threshold=0.05)
    model = random_model(config).double().requires_grad_(True)
    result = run(model, batch)
    return result, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", MECHANISMS)
def test_replay_gives_the_gradients_of_back_propagation_through_time(batch: Batch, name: str) -> None:
    plain, gradients = learned(loss.backward, batch, name)
    replayed, same = learned(replay.backward, batch, name)
    assert gradients.keys() == same.keys()
    for part, gradient in gradients.items():
        torch.testing.assert_close(same[part], gradient, rtol=1e-9, atol=1e-12)
    # Exams are replayed last to first, so the counts agree and not the order.
    assert (replayed.right, replayed.asked) == (plain.right, plain.asked)
    assert replayed.answer_loss == pytest.approx(plain.answer_loss)
    assert any(gradient.abs().max() > 1e-6 for part, gradient in gradients.items() if WRITING[name] in part)


def test_replay_keeps_the_activations_of_one_segment(batch: Batch) -> None:
    assert kept_bytes(replay.backward, batch) < 0.5 * kept_bytes(loss.backward, batch)


def kept_bytes(run: Callable[[MemoryTransformer, Batch], Outcome], batch: Batch) -> int:
    """The most bytes of activations that were kept for going backward at any one time."""
    now = most = 0

    class Kept:
        def __init__(self, tensor: torch.Tensor) -> None:
            nonlocal now, most
            self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
            now += self.size
            most = max(most, now)

        def __del__(self) -> None:
            nonlocal now
            now -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        learned(run, batch)
    return most


def test_the_write_gate_loss_counts_passed_noise_and_missed_facts() -> None:
    low, high = torch.full((100,), -9.0), torch.full((100,), 9.0)
    assert write_gate_cost(low, high) < 0.01
    assert write_gate_cost(high, high) > 9
    assert write_gate_cost(low, low) > 9
    one_of_many = low.clone()
    one_of_many[7] = 9.0
    assert write_gate_cost(one_of_many, high) > write_gate_cost(low, high) + 9 / 64
