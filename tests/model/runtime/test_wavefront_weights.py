"""Fused and stacked weights: what is computed with them stays the same, and so do the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model import weights
from model.config import ModelConfig
from model.layers.fused_linear import join_fused, split_fused
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import CHUNK_TOKENS
from model.runtime.wavefront.cells import cells_of
from model.tokenizer import TextTokenizer
from testing.models import MECHANISMS, random_delta, random_model, tiny_config
from tests.model.mechanisms.test_naive import GPT2, T, fast_answer

TOKENS = torch.arange(3 * T)
CONFIGS = {**MECHANISMS, "delta, gpt2": replace(tiny_config(), **GPT2)}
names = pytest.mark.parametrize("name", CONFIGS)


def outputs(model: MemoryTransformer) -> list[Tensor]:
    """A memory and answers to it."""
    memory = model.initial_memory(1)
    for segment in TOKENS.view(-1, T):
        memory = model.read(segment[None], memory)
    return [*memory.tensors.values(), fast_answer(model, [1, 2, 341, 342], memory)]


def assert_same(found: list[Tensor], wanted: list[Tensor], tolerance: float = 1e-10) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@names
def test_freezing_and_stacking_do_not_change_results(name: str) -> None:
    model = random_model(CONFIGS[name]).double()
    wanted, state = outputs(model), {part: tensor.clone() for part, tensor in model.state_dict().items()}
    model.freeze()
    assert_same(outputs(model), wanted)
    cells_of(model)
    assert_same(outputs(model), wanted)
    assert all(torch.equal(tensor, state[part]) for part, tensor in model.state_dict().items())
    assert model.state_dict().keys() == state.keys()


def test_a_frozen_model_can_be_trained_again() -> None:
    """The maps' own weights count as soon as the model requires gradients."""
    model = random_model(tiny_config()).double()
    model.freeze()
    cells_of(model)
    model.train()
    changed = random_model(tiny_config(), seed=1).double()
    for own, other in zip(model.parameters(), changed.parameters(), strict=True):
        own.data = other.data.clone()
    assert_same(outputs(model.eval()), outputs(changed))


def test_training_continues_after_inference() -> None:
    """What is kept of a window's positions was made in inference mode, and must serve both."""
    model = random_model(tiny_config(rope_theta=123.0)).double().requires_grad_(True)
    with torch.inference_mode():
        model.read(TOKENS[None, :T], model.initial_memory(1))
    memory = model.read(TOKENS[None, :T], model.initial_memory(1))
    memory["associations"].sum().backward()  # type: ignore[no-untyped-call]
    assert model.get_parameter("blocks.0.attention.inputs.weight").grad is not None


def test_weights_that_were_stacked_are_saved_as_they_are(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    model = random_model(tiny_config())
    wanted = outputs(model)
    cells_of(model)
    weights.save(tmp_path, model, tokenizer, torch.float32)
    assert_same(outputs(weights.load(tmp_path).model), wanted, 1e-4)


@names
def test_files_keep_the_parts_of_fused_weights_apart(name: str) -> None:
    model = random_model(CONFIGS[name])
    state = model.state_dict()
    parts = split_fused(model, state)
    assert not [part for part in parts if "inputs" in part]
    assert {f"blocks.0.attention.{part}.weight" for part in ("query", "key", "value", "out")} <= parts.keys()
    joined = join_fused(model, parts)
    assert joined.keys() == state.keys()
    assert all(torch.equal(joined[part], tensor) for part, tensor in state.items())


@pytest.mark.parametrize(
    "config",
    [
        tiny_config(segment_tokens=64, window_tokens=80),
        tiny_config(d_model=64, d_ff=96, memory_heads=4, memory_key_dim=16, segment_tokens=64, window_tokens=80),
    ],
)
def test_rows_that_write_more_change_no_bit_of_another_row(config: ModelConfig) -> None:
    """However many chunks the others' writing takes: the promise that company does not matter."""
    model = random_delta(config)
    blank = model.initial_memory(4)
    # Texts of one token each: the write gate lets nearly all of it through, or nothing.
    texts = torch.arange(340)[:, None].expand(-1, 64)
    writers = (model.gates(texts) > 0).sum(dim=1)
    selected, skipped = texts[writers.argmax()], texts[writers.argmin()]
    few = torch.cat([selected[:6], skipped[6:]])
    counts = (model.gates(torch.stack([few, selected])) > 0).sum(dim=1).tolist()
    assert 0 < counts[0] <= CHUNK_TOKENS < 2 * CHUNK_TOKENS < counts[1]
    alone = model.read(torch.stack([few] * 4), blank).unstack()[1]
    among = model.read(torch.stack([selected, few, selected, selected]), blank).unstack()[1]
    assert among.equals(alone)
    assert not torch.equal(among["associations"][0], blank["associations"][1])
