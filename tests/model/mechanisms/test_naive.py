"""The fast path against the plain loops, for every mechanism, every shape of the blocks and every awkward length."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from model.config import ModelConfig, RopeScaling
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from testing.models import MECHANISMS, REFERENCES, Reference, random_delta, random_model, tiny_config

GPT2: dict[str, Any] = {
    "norm": "layernorm",
    "positions": "learned",
    "activation": "gelu",
    "bias": True,
    "n_kv_heads": 4,
}
LLAMA3: dict[str, Any] = {"rope_scaling": RopeScaling(8.0, 1.0, 4.0, 24), "rope_theta": 100.0}
# Every choice that the families beside GPT-2 and Llama make, spread over two shapes.
QWEN: dict[str, Any] = {
    "attention_head_dim": 6,
    "qkv_bias": True,
    "query_key_norm": True,
    "rotary_dim": 4,
    "rope_divisors": (1.5, 3.0),
    "rope_amplitude": 1.2,
}
GEMMA: dict[str, Any] = {
    "activation": "geglu",
    "output_norms": True,
    "attention_scale": 0.7,
    "attention_softcap": 1.5,
    "logit_softcap": 2.0,
    "n_layers": 3,
    "layer_kinds": ("local", "global", "unrotated"),
    "local_tokens": 5,
    "local_rope_theta": 50.0,
}
SHAPES = {
    **MECHANISMS,
    "no threshold": tiny_config(write_threshold=0.0),
    "one head": tiny_config(memory_heads=1),
    "short write gate": tiny_config(write_gate_taps=2, memory_taps=3),
    "no context": tiny_config(context_tokens=0),
    "gemma": tiny_config(embedding_scale=4.0, n_kv_heads=1, tied_head=False),
    **{f"{name}, gpt2": replace(config, **GPT2) for name, config in MECHANISMS.items()},
    **{f"{name}, llama 3": replace(config, **LLAMA3) for name, config in MECHANISMS.items()},
    **{f"{name}, qwen": replace(config, **QWEN) for name, config in MECHANISMS.items()},
    **{f"{name}, gemma 2": replace(config, **GEMMA) for name, config in MECHANISMS.items()},
    "armt, no memory tokens": tiny_config(mechanism="armt", memory_tokens=0),
    "rmt, no memory tokens": tiny_config(mechanism="rmt", memory_tokens=0),
    "memformer, one slot": tiny_config(mechanism="memformer", memory_tokens=1),
}
T = 8
LENGTHS = (0, 1, T - 1, T, T + 1, 3 * T + 5)
WRITTEN = [9, 10]


def read_all(model: MemoryTransformer, tokens: list[int]) -> tuple[MemoryState, list[int]]:
    memory = model.initial_memory(1)
    whole = len(tokens) // T * T
    for start in range(0, whole, T):
        memory = model.read(torch.tensor([tokens[start : start + T]]), memory)
    return memory, tokens[whole:]


def fast_answer(model: MemoryTransformer, prompt: list[int], memory: MemoryState) -> torch.Tensor:
    """Scores after the prompt and after each token written behind it, one token a step."""
    hidden, cache = model.prefill(torch.tensor([prompt]), torch.tensor([len(prompt)]), memory, len(WRITTEN))
    states = [hidden, *(model.decode_step(torch.tensor([token]), memory, cache) for token in WRITTEN)]
    return model.logits(torch.cat(states))


def plain_read(reference: Reference, tokens: list[int]):  # type: ignore[no-untyped-def]
    memory = reference.initial_memory()
    for start in range(0, len(tokens) // T * T, T):
        memory = reference.read(tokens[start : start + T], memory)  # type: ignore[arg-type]
    return memory


def flat(mechanism: str, memory) -> list[torch.Tensor]:  # type: ignore[no-untyped-def]
    """A reference's memory as the tensors of a state, in the order of their names."""
    if mechanism == "delta":
        return [torch.stack(memory[0]), torch.tensor(memory[1], dtype=torch.int64)]
    if mechanism == "armt":
        return [torch.stack(memory.associations), torch.tensor(memory.begun), torch.stack(memory.norms)]
    return [torch.stack(memory) if memory else torch.zeros(0, 16, dtype=torch.float64)]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_fast_equals_reference(shape: str, length: int) -> None:
    config: ModelConfig = SHAPES[shape]
    model = random_model(config).double()
    reference = REFERENCES[config.mechanism](config, model)
    tokens = torch.randint(340, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    memory, tail = read_all(model, tokens)
    plain = plain_read(reference, tokens)
    found = [memory[name][0] for name in sorted(memory.tensors)]
    for fast, slow in zip(found, flat(config.mechanism, plain), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-9)
    prompt = [*tail, *config.special.question, 5, 6, *config.special.answer]
    expected = torch.stack(reference.answer(prompt, WRITTEN, plain))
    torch.testing.assert_close(fast_answer(model, prompt, memory), expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("name", MECHANISMS)
def test_float32_stays_near_float64(name: str) -> None:
    tokens = torch.randint(340, (3 * T + 5,), generator=torch.Generator().manual_seed(1)).tolist()
    single, double = random_model(MECHANISMS[name]), random_model(MECHANISMS[name]).double()
    (memory, tail), (exact, _) = read_all(single, tokens), read_all(double, tokens)
    for part in memory.tensors:
        wanted = exact[part].double()
        torch.testing.assert_close(memory[part].double(), wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
    torch.testing.assert_close(
        fast_answer(single, tail, memory).double(), fast_answer(double, tail, exact), rtol=1e-2, atol=1e-2
    )


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_memory_matters(name: str) -> None:
    """Without this, a reference that agrees would prove little."""
    model = random_model(MECHANISMS[name])
    tokens = torch.randint(340, (5 * T,), generator=torch.Generator().manual_seed(2)).tolist()
    memory, _ = read_all(model, tokens)
    blank = model.initial_memory(1)
    if "context" in blank.tensors:
        blank = MemoryState({**blank.tensors, "context": memory["context"]})
    difference = fast_answer(model, [1, 2], memory) - fast_answer(model, [1, 2], blank)
    assert difference.abs().max() > 0.1


@pytest.mark.parametrize("name", MECHANISMS)
def test_prompts_of_different_lengths_are_each_answered_as_alone(name: str) -> None:
    """Rows at different segment numbers, padded on the right, with the caches then stacked anew."""
    model = random_model(MECHANISMS[name]).double()
    prompts, lengths = [[7], [7, 8, 9, 10, 11], [3, 4]], torch.tensor([1, 5, 2])
    memories = [read_all(model, list(range(n * T)))[0] for n in (0, 3, 1)]
    padded = torch.tensor([[*prompt, *[0] * (5 - len(prompt))] for prompt in prompts])
    together, cache = model.prefill(padded, lengths, MemoryState.stack(memories), 2)
    turned = type(cache).stack(cache.unstack()[::-1])
    after = model.decode_step(torch.tensor([9, 9, 9]), MemoryState.stack(memories[::-1]), turned)
    for row, (prompt, memory) in enumerate(zip(prompts, memories, strict=True)):
        expected = fast_answer(model, prompt, memory)
        torch.testing.assert_close(model.logits(together[row]), expected[0], rtol=0, atol=1e-9)
        torch.testing.assert_close(model.logits(after[2 - row]), expected[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", MECHANISMS)
def test_whole_windows_equal_writing_token_by_token(name: str) -> None:
    """Two windows to each of two memories, padded behind: as training has them."""
    model = random_model(MECHANISMS[name]).double()
    mark = MECHANISMS[name].special.answer[0]
    memories = [read_all(model, list(range(n * T)))[0] for n in (1, 3)]
    prompts = [[7, mark], [7, 8, 9, mark], [5, 4, mark], [3, mark]]
    windows = [[*prompt, *WRITTEN, *[0] * (4 - len(prompt))] for prompt in prompts]
    whole = model.logits(model.window(torch.tensor(windows), MemoryState.stack(memories)))
    for row, prompt in enumerate(prompts):
        expected = fast_answer(model, prompt, memories[row // 2])
        found = whole[row, len(prompt) - 1 : len(prompt) + len(WRITTEN)]
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-9)


def test_below_the_threshold_nothing_is_written() -> None:
    """A segment that says nothing leaves the memory as it was, bit for bit."""
    model = random_delta(tiny_config(write_threshold=0.999999))
    first = model.initial_memory(1)
    assert not model.select_segments(torch.arange(T)[None], first)
    memory = model.read(torch.arange(T)[None], first)
    assert torch.equal(memory["associations"], first["associations"])
    assert not torch.equal(memory["context"], first["context"])


@pytest.mark.parametrize("name", MECHANISMS)
def test_reading_and_answering_do_not_change_the_memory_given(name: str) -> None:
    model = random_model(MECHANISMS[name])
    memory, _ = read_all(model, list(range(T)))
    before = {name: tensor.clone() for name, tensor in memory.tensors.items()}
    model.read(torch.arange(T)[None], memory)
    fast_answer(model, [1, 2, 3], memory)
    assert memory.equals(MemoryState(before))
