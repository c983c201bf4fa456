"""Windows read in one call give the memory of reading their segments one by one, whatever else is in the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from testing.models import MECHANISMS, random_model, sometimes_skipping_model, tiny_config

MODELS = {name: random_model(config).double() for name, config in MECHANISMS.items()}
MODELS["delta, no threshold"] = random_model(tiny_config(write_threshold=0.0)).double()
MODELS["delta, sometimes skipped"] = sometimes_skipping_model().double()
MODELS["delta, no context, one head"] = random_model(tiny_config(context_tokens=0, memory_heads=1)).double()
MODELS["delta, more parts than one"] = random_model(tiny_config(segment_tokens=40, write_threshold=0.0)).double()
names = pytest.mark.parametrize("name", MODELS)


def segments_of(model: MemoryTransformer, seed: int, count: int) -> Tensor:
    shape = count, model.config.segment_tokens
    return torch.randint(340, shape, generator=torch.Generator().manual_seed(seed))


def one_by_one(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> MemoryState:
    for segment in segments:
        memory = model.read(segment[None], memory)
    return memory


def must_be_near(found: MemoryState, expected: MemoryState) -> None:
    for name, tensor in expected.tensors.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-9, atol=1e-9)


@names
@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 10_000))
def test_rows_of_different_numbers_of_windows_end_as_each_alone(name: str, counts: list[int], seed: int) -> None:
    """Each row has a memory of its own; nothing after its last window is read."""
    model = MODELS[name]
    texts = [segments_of(model, seed + row, max(counts) + 1) for row in range(len(counts))]
    befores = [model.read(text[:1], model.initial_memory(1)) for text in texts]
    windows = torch.stack([model.windows(text[1:], before) for text, before in zip(texts, befores, strict=True)])
    together = model.read_windows(windows, MemoryState.stack(befores), torch.tensor(counts))
    for row, (text, before, count) in enumerate(zip(texts, befores, counts, strict=True)):
        expected = one_by_one(model, text[1 : count + 1], before)
        must_be_near(MemoryState({k: v[row : row + 1] for k, v in together.tensors.items()}), expected)


@names
def test_without_counts_every_window_is_read(name: str) -> None:
    model = MODELS[name]
    segments, blank = segments_of(model, 1, 5), model.initial_memory(1)
    found = model.read_windows(model.windows(segments, blank)[None], blank)
    must_be_near(found, one_by_one(model, segments, blank))


@names
def test_reading_does_not_change_the_memory_given(name: str) -> None:
    model = MODELS[name]
    before = model.read(segments_of(model, 2, 1), model.initial_memory(1))
    kept = MemoryState({key: tensor.clone() for key, tensor in before.tensors.items()})
    model.read_windows(model.windows(segments_of(model, 3, 4), before)[None], before)
    assert before.equals(kept)
