"""Joined and stacked weights: there is one copy of every matrix, and what is computed with them stays the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from model import weights
from model.config import ModelConfig
from model.layers.fused_linear import FusedLinear
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
def test_a_model_computes_the_same_when_it_is_settled_and_when_it_is_stacked(name: str) -> None:
    model = random_model(CONFIGS[name]).double()
    wanted, state = outputs(model), {part: tensor.clone() for part, tensor in model.state_dict().items()}
    model.freeze()
    assert_same(outputs(model), wanted)
    cells_of(model)
    assert_same(outputs(model), wanted)
    assert all(torch.equal(tensor, state[part]) for part, tensor in model.state_dict().items())
    assert model.state_dict().keys() == state.keys()


@pytest.mark.parametrize("name", ["delta", "armt", "delta, gpt2"])
def test_stacking_keeps_one_copy_of_every_matrix(name: str) -> None:
    model = random_model(replace(CONFIGS[name], n_layers=3))
    cells = cells_of(model)
    assert cells is not None
    everything = [*model.parameters(), *_tensors(cells.__dict__)]
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2) * 4
    vectors = sum(p.numel() for p in model.parameters() if p.dim() != 2 or "taps" in str(p.shape)) * 4
    taps = sum(p.numel() for part, p in model.named_parameters() if "taps" in part) * 4
    held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in everything}
    # Vectors and taps are held twice, and biases of what is joined once more.
    assert matrices + vectors <= sum(held.values()) <= matrices + 3 * (vectors + taps)


def _tensors(parts: dict[str, object]) -> list[Tensor]:
    modules = [p for p in parts.values() if isinstance(p, nn.Module) and not isinstance(p, MemoryTransformer)]
    stacks = [module for part in modules for module in part.modules()]
    own = [vars(module).values() for module in stacks] + [module._buffers.values() for module in stacks]
    return [tensor for values in own for tensor in values if isinstance(tensor, Tensor)]


def test_what_is_settled_can_learn_again() -> None:
    """The maps' own weights count as soon as the model is told to learn."""
    model = random_model(tiny_config()).double()
    model.freeze()
    cells_of(model)
    model.train()
    changed = random_model(tiny_config(), seed=1).double()
    for own, other in zip(model.parameters(), changed.parameters(), strict=True):
        own.data = other.data.clone()
    assert_same(outputs(model.eval()), outputs(changed))


def test_learning_goes_on_after_inference() -> None:
    """What is kept of a window's positions was made in inference mode, and must serve both."""
    model = random_model(tiny_config(rope_theta=123.0)).double().requires_grad_(True)
    with torch.inference_mode():
        model.read(TOKENS[None, :T], model.initial_memory(1))
    memory = model.read(TOKENS[None, :T], model.initial_memory(1))
    memory["associations"].sum().backward()  # type: ignore[no-untyped-call]
    assert model.get_parameter("blocks.0.attention.query.weight").grad is not None


def test_weights_that_were_stacked_are_saved_as_they_are(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    model = random_model(tiny_config())
    wanted = outputs(model)
    cells_of(model)
    weights.save(tmp_path, model, tokenizer, torch.float32)
    assert_same(outputs(weights.load(tmp_path).model), wanted, 1e-4)


def test_maps_with_and_without_a_bias_are_joined() -> None:
    maps = [nn.Linear(3, 2, bias=False), nn.Linear(3, 4)]
    joined, x = FusedLinear(maps), torch.randn(5, 3)
    wanted = torch.cat([linear(x) for linear in maps], dim=-1)
    torch.testing.assert_close(joined(x), wanted)
    joined.requires_grad_(False).lay()
    torch.testing.assert_close(joined(x), wanted)
    assert list(joined.state_dict()) == []


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
