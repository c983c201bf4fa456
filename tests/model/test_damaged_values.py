"""A memory whose values were changed, in a file that is whole otherwise, is refused or can be read on and asked."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.mechanisms.base import MemoryTransformer
from model.memory import FLOAT_MAX, MemoryState, UnsoundMemory
from model.prompt import prompt_ids, window_ids
from model.runtime.segment_reader import read_all
from testing.models import EPISODIC, MECHANISMS, random_model

MODELS = {name: random_model(config) for name, config in (MECHANISMS | {"episodic": EPISODIC}).items()}
SEGMENTS = 7
names = pytest.mark.parametrize("name", MODELS)

# What a bit that was flipped, a file that was made by hand, or another program may leave in a tensor.
FLOATS = [0.0, -1.0, 1e6, -FLOAT_MAX, FLOAT_MAX, 2 * FLOAT_MAX, 3e38, -3e38, torch.inf, torch.nan]
INTEGERS = [0, -1, 1, 343, 344, 65_535, 10**9, -(2**31), 2**31 - 1, 2**62, -(2**63)]


def read(model: MemoryTransformer, seed: int) -> MemoryState:
    segments = torch.randint(340, (SEGMENTS, 8), generator=torch.Generator().manual_seed(seed))
    return read_all(model, segments, model.initial_memory(1))


def damaged(tensors: Mapping[str, Tensor], random: Random) -> dict[str, Tensor]:
    """Some values of one tensor, or all of them, replaced."""
    name = random.choice([name for name, tensor in tensors.items() if tensor.numel()])
    tensor = tensors[name].clone()
    some = random.sample(range(tensor.numel()), random.choice([1, 1, tensor.numel()]))
    if tensor.is_floating_point():
        tensor.view(-1)[some] = random.choice(FLOATS)
    elif tensor.dtype == torch.bool:
        tensor.view(torch.uint8).view(-1)[some] = random.choice([0, 1, 2, 255])
    else:
        value = random.choice(INTEGERS) % (1 << 8 * tensor.itemsize)
        whole = torch.tensor([*value.to_bytes(tensor.itemsize, "little")], dtype=torch.uint8)
        tensor.view(torch.uint8).view(-1, tensor.itemsize)[some] = whole
    return {**tensors, name: tensor}


def ask(model: MemoryTransformer, memory: MemoryState) -> None:
    """A question as the engine asks it, its first tokens the likeliest ones.

    Where numbers near the bound make scores that are none, tokens cannot be sampled: such a row fails alone.
    """
    question = [5, 6, 7]
    recall = model.recall(question, memory, [9])
    window = torch.tensor([window_ids(model.config, (*recall.tokens, 9), prompt_ids(model.config, question))])
    hidden, cache = model.prefill(window, torch.tensor([window.shape[1]]), recall.memory, 4)
    for _ in range(3):
        hidden = model.decode_step(model.logits(hidden).argmax(dim=-1), recall.memory, cache)


@names
@settings(max_examples=150)
@given(seed=st.integers(0, 1_000_000))
def test_a_memory_with_damaged_values_is_refused_or_can_be_used(name: str, seed: int) -> None:
    model = MODELS[name]
    memory = read(model, seed % 5)
    try:
        found = model.initial_memory(1).restored(damaged(memory.tensors, Random(seed)))
    except UnsoundMemory:
        return
    with torch.inference_mode():
        after = read_all(model, torch.randint(340, (3, 8), generator=torch.Generator().manual_seed(seed)), found)
        ask(model, found)
        ask(model, after)


@given(seed=st.integers(0, 1_000_000), reach=st.integers(-200, 200))
def test_an_offset_that_no_text_leads_to_is_refused(seed: int, reach: int) -> None:
    """Of any episode: what is let through names no place behind the text's end, and no place twice."""
    model, random = MODELS["episodic"], Random(seed)
    memory = read(model, seed % 5)
    tensors = {name: tensor.clone() for name, tensor in memory.tensors.items()}
    tensors["00000.offsets"][random.randrange(SEGMENTS)] += reach
    try:
        found = model.initial_memory(1).restored(tensors)
        model.must_be_of_a_text(found)
    except UnsoundMemory:
        assert reach
        return
    assert reach <= 0, "every byte of this text belongs to an episode: none may begin later"
    begins, ends = tensors["00000.offsets"].tolist(), [*tensors["00000.offsets"].tolist()[1:], tensors["read"][1]]
    sizes = [sum(len(f" {token}") for token in tokens) for tokens in tensors["00000.tokens"].tolist()]
    assert all(begin + size <= end for begin, size, end in zip(begins, sizes, ends, strict=True))


@names
def test_a_memory_that_was_read_is_not_refused(name: str) -> None:
    """Nor is one of many segments: what ARMT divides by grows with them."""
    model, generator = MODELS[name], torch.Generator().manual_seed(3)
    memory = read_all(model, torch.randint(340, (500, 8), generator=generator), model.initial_memory(1))
    found = model.initial_memory(1).restored(memory.tensors)
    assert found.equals(memory)
    model.must_be_of_a_text(found)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_that_this_server_stored_comes_back_however_large(value: float) -> None:
    """A model may make it of a text: weights that diverge must not cost a session its text."""
    model = MODELS["armt"]
    tensors = {key: found.clone() for key, found in read(model, 1).tensors.items()}
    tensors["associations"].view(-1)[0] = value
    memory = MemoryState(tensors)
    assert model.initial_memory(1).restored_from_parts(memory.head, memory.parts).equals(memory)
    tensors["associations"].view(-1)[0] = torch.nan
    with pytest.raises(UnsoundMemory, match="not finite"):
        model.initial_memory(1).restored_from_parts(tensors, ())


@pytest.mark.parametrize(
    ("name", "tensor", "value"),
    [
        ("delta", "context", 10**9),
        ("delta", "context", 344),
        ("delta", "context", -1),
        ("delta", "associations", 3e38),
        ("armt", "associations", -3e38),
        ("armt", "norms", -1.0),
        ("armt", "norms", 3e38),
        ("rmt", "tokens", 3e38),
        ("memformer", "slots", -3e38),
    ],
)
def test_values_that_no_text_leads_to_are_refused(name: str, tensor: str, value: float) -> None:
    model = MODELS[name]
    tensors = {key: found.clone() for key, found in read(model, 1).tensors.items()}
    tensors[tensor].view(-1)[0] = value
    with pytest.raises(UnsoundMemory, match=f"memory tensor {tensor} has values that are not between"):
        model.initial_memory(1).restored(tensors)
