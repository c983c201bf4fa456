"""The fast path against the plain loops, for every shape of the blocks and every awkward length."""

import pytest
import torch

from model.config import ModelConfig
from model.memory import MemoryState
from model.reference import Reference
from model.skimming import loud
from model.transformer import MemoryTransformer
from tests.conftest import random_model, tiny_config

SHAPES = {
    "llama": tiny_config(),
    "no threshold": tiny_config(write_threshold=0.0),
    "one head": tiny_config(memory_heads=1),
    "short glance": tiny_config(glance_taps=2, memory_taps=3),
    "gpt2": tiny_config(norm="layernorm", positions="learned", activation="gelu", bias=True, n_kv_heads=4),
    "gemma": tiny_config(embedding_scale=4.0, n_kv_heads=1, tied_head=False),
    "no context": tiny_config(context_tokens=0),
}
T = 8
LENGTHS = (0, 1, T - 1, T, T + 1, 3 * T + 5)


def read_all(model: MemoryTransformer, tokens: list[int]) -> tuple[MemoryState, list[int]]:
    memory = model.initial_memory(1)
    whole = len(tokens) // T * T
    for start in range(0, whole, T):
        memory = model.read(torch.tensor([tokens[start : start + T]]), memory)
    return memory, tokens[whole:]


def fast_logits(model: MemoryTransformer, tokens: list[int], memory: MemoryState) -> torch.Tensor:
    window = torch.cat([memory["context"], torch.tensor([tokens])], dim=1)
    positions = torch.arange(window.shape[1])[None]
    return model.logits(model.answer(window, positions, memory))[0, memory["context"].shape[1] :]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_fast_equals_reference(shape: str, length: int) -> None:
    config: ModelConfig = SHAPES[shape]
    model = random_model(config).double()
    reference = Reference(model)
    tokens = torch.randint(340, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    memory, tail = read_all(model, tokens)
    plain, context = reference.initial_memory()
    for start in range(0, length // T * T, T):
        plain, context = reference.read(tokens[start : start + T], plain, context)
    torch.testing.assert_close(memory["associations"][0], torch.stack(plain), rtol=0, atol=1e-10)
    assert memory["context"][0].tolist() == context
    question = [*tail, config.special.question, 5, 6, config.special.answer]
    expected = torch.stack(reference.logits(question, plain, context))
    torch.testing.assert_close(fast_logits(model, question, memory), expected, rtol=0, atol=1e-9)


def test_float32_stays_near_float64() -> None:
    tokens = torch.randint(340, (3 * T + 5,), generator=torch.Generator().manual_seed(1)).tolist()
    single, double = random_model(tiny_config()), random_model(tiny_config()).double()
    (memory, tail), (exact, _) = read_all(single, tokens), read_all(double, tokens)
    torch.testing.assert_close(memory["associations"].double(), exact["associations"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        fast_logits(single, tail, memory).double(), fast_logits(double, tail, exact), rtol=1e-2, atol=1e-2
    )


def test_the_memory_matters() -> None:
    """Without this, a reference that agrees would prove little."""
    model = random_model(tiny_config())
    tokens = torch.randint(340, (5 * T,), generator=torch.Generator().manual_seed(2)).tolist()
    memory, _ = read_all(model, tokens)
    blank = MemoryState({**model.initial_memory(1).tensors, "context": memory["context"]})
    difference = fast_logits(model, [1, 2], memory) - fast_logits(model, [1, 2], blank)
    assert difference.abs().max() > 0.1


def test_cached_writing_equals_the_whole_window() -> None:
    model = random_model(tiny_config()).double()
    memory, _ = read_all(model, list(range(3 * T)))
    window = torch.cat([memory["context"], torch.tensor([[7, 8, 9, 10, 11]])], dim=1)
    positions = torch.arange(window.shape[1])[None]
    whole = model.answer(window, positions, memory)
    cache = model.initial_cache(1, 16)
    parts = [model.answer(window[:, a:b], positions[:, a:b], memory, cache) for a, b in ((0, 4), (4, 5), (5, 8))]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-12)


def test_below_the_threshold_nothing_is_written() -> None:
    """A segment that says nothing leaves the memory as it was, bit for bit."""
    model = random_model(tiny_config(write_threshold=0.999999))
    assert not loud(model, torch.arange(T)[None], model.initial_memory(1)["context"])
    first = model.initial_memory(1)
    memory = model.read(torch.arange(T)[None], first)
    assert torch.equal(memory["associations"], first["associations"])
    assert not torch.equal(memory["context"], first["context"])


def test_reading_leaves_the_memory_it_was_given() -> None:
    model = random_model(tiny_config())
    memory, _ = read_all(model, list(range(T)))
    before = {name: tensor.clone() for name, tensor in memory.tensors.items()}
    model.read(torch.arange(T)[None], memory)
    fast_logits(model, [1, 2, 3], memory)
    assert memory.equals(MemoryState(before))
