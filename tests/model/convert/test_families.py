"""Every family that can be read computes what transformers computes: whole windows, and token by token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model import weights
from model.attach import attach
from model.convert.huggingface import settings_of
from model.convert.tensors import ForeignModelError
from model.mechanisms.base import MemoryTransformer
from tests.model.convert.making import FAMILIES, pretrained, save_folder

pytestmark = pytest.mark.filterwarnings("ignore")

TOKENS = torch.randint(399, (1, 40), generator=torch.Generator().manual_seed(5))
PROMPT = 30


@contextmanager
def doubles_for_floats() -> Iterator[None]:
    """Transformers' norms, softmax and angles, which it takes in float32 whatever the weights' type, in float64."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(torch, "float32", torch.float64)
        patched.setattr(torch, "float", torch.float64)
        patched.setattr(Tensor, "float", Tensor.double)
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


def attached(shape: str, folder: Path) -> tuple[Any, MemoryTransformer]:
    """Transformers' own model, and ours from the files that it saves, both with weights in float64."""
    attach(save_folder(pretrained(shape), folder / "in"), folder / "out", "armt", 24, 3, 4)
    with doubles_for_floats():
        theirs = pretrained(shape).double()
    theirs.load_state_dict(pretrained(shape).state_dict())
    return theirs, weights.load(folder / "out").model.double()


@pytest.mark.parametrize("shape", FAMILIES)
def test_logits_of_a_whole_window(shape: str, tmp_path: Path) -> None:
    theirs, ours = attached(shape, tmp_path)
    with doubles_for_floats(), torch.no_grad():
        expected = theirs(TOKENS).logits[0]
    found = ours.logits(ours.window(TOKENS, ours.initial_memory(1)))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", FAMILIES)
def test_logits_token_by_token(shape: str, tmp_path: Path) -> None:
    """A prompt, then one token a step, with the keys and values of those before in the cache."""
    theirs, ours = attached(shape, tmp_path)
    with doubles_for_floats(), torch.no_grad():
        expected = theirs(TOKENS).logits[0, PROMPT - 1 :]
    memory = ours.initial_memory(1)
    hidden, cache = ours.prefill(TOKENS[:, :PROMPT], torch.tensor([PROMPT]), memory, 40 - PROMPT)
    steps = [ours.decode_step(token, memory, cache) for token in TOKENS[:, PROMPT:].unbind(1)]
    torch.testing.assert_close(ours.logits(torch.cat([hidden, *steps])), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", FAMILIES)
def test_float32_stays_near_transformers(shape: str, tmp_path: Path) -> None:
    theirs = pretrained(shape)
    attach(save_folder(theirs, tmp_path / "in"), tmp_path / "out", "armt", 24, 3, 4)
    ours = weights.load(tmp_path / "out").model
    with torch.no_grad():
        expected = theirs(TOKENS).logits[0]
    found = ours.logits(ours.window(TOKENS, ours.initial_memory(1)))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def settings_with(shape: str, **changes: Any) -> dict[str, Any]:
    kind, sizes = FAMILIES[shape]
    plain = {"vocab_size": 400, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh"}
    return settings_of({"model_type": kind, **plain, **sizes, **changes})


@pytest.mark.parametrize(
    ("shape", "changes", "expected"),
    [
        # A sliding window that no window exceeds never acts.
        ("mistral", {"sliding_window": 96}, {"window_tokens": 96}),
        # Beyond its first length LongRoPE has other positions, and a window of scaled layers has one kind only.
        ("phi 3, longrope", {}, {"window_tokens": 60, "rotary_dim": 6}),
        ("phi 3, longrope", {"sliding_window": 50}, {"window_tokens": 50}),
        # As the files of version 4 of transformers have it.
        (
            "gemma 3",
            {"rope_theta": 5000.0, "rope_local_base_freq": 70.0, "rope_scaling": {"rope_type": "linear", "factor": 8}},
            {"rope_theta": 5000.0, "local_rope_theta": 70.0, "rope_divisors": (8.0,) * 6},
        ),
        ("smollm 3", {"no_rope_layers": None}, {"layer_kinds": ("global",) * 3 + ("unrotated", "global")}),
        ("qwen 2", {"use_sliding_window": False, "sliding_window": 7}, {"qkv_bias": True}),
    ],
)
def test_what_is_read_of_a_configuration(shape: str, changes: Any, expected: dict[str, Any]) -> None:
    found = settings_with(shape, **changes)
    assert {name: found[name] for name in expected} == expected
    assert ("layer_kinds" in found) == (shape in ("gemma 3", "smollm 3"))


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ("llama", {"model_type": "bert"}, r"model_type 'bert' is not supported; supported are gpt2, llama, mistral"),
        ("llama", {"model_type": None}, "model_type None is not supported"),
        ("llama", {"hidden_act": "relu"}, "hidden_act 'relu' is not supported, only 'silu'"),
        ("qwen 3", {"attention_bias": True}, "attention_bias True is not supported"),
        ("llama", {"rope_parameters": {"rope_type": "yarn"}}, "rope_type 'yarn' is not supported, only default"),
        ("gemma 2", {"layer_types": ["chunked_attention"] * 4}, r"layers of type \['chunked_attention'\]"),
        ("gemma 2", {"hidden_activation": "gelu"}, "hidden_activation 'gelu' is not supported"),
        ("smollm 3", {"use_sliding_window": True}, "use_sliding_window True is not supported"),
    ],
)
def test_what_is_not_supported_is_named_with_what_is(shape: str, changes: Any, message: str) -> None:
    with pytest.raises(ForeignModelError, match=message):
        settings_with(shape, **changes)


def test_what_a_configuration_lacks_is_named() -> None:
    with pytest.raises(ForeignModelError, match="the configuration of a llama lacks 'vocab_size'"):
        settings_of({"model_type": "llama", "hidden_size": 4, "num_attention_heads": 2})


@pytest.mark.parametrize("shape", ["qwen 2", "phi 3", "gemma 3"])
def test_a_tensor_that_is_missing_is_named_and_nothing_is_written(shape: str, tmp_path: Path) -> None:
    folder = save_folder(pretrained(shape), tmp_path / "in")
    tensors = load_file(folder / "model.safetensors")
    gone = {"qwen 2": "k_proj.bias", "phi 3": "qkv_proj.weight", "gemma 3": "q_norm.weight"}[shape]
    del tensors[f"model.layers.1.self_attn.{gone}"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ForeignModelError, match=r"missing: model\.layers\.1\.self_attn"):
        attach(folder, tmp_path / "out", "armt", 24, 3, 4)
    assert not (tmp_path / "out").exists()


def test_fused_tensors_of_another_height_are_named(tmp_path: Path) -> None:
    folder = save_folder(pretrained("phi 3"), tmp_path / "in")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.self_attn.qkv_proj.weight"] = torch.zeros(60, 32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ForeignModelError, match=r"blocks.0.attention.query.weight: \[60, 32\], expected \[32, 32\]"):
        attach(folder, tmp_path / "out", "armt", 24, 3, 4)
    assert not (tmp_path / "out").exists()
