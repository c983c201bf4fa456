"""GPT-2 and Llama as Hugging Face's files have them, in our blocks' names: configuration, tensors, chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from torch import Tensor

from model.config import RopeScaling
from model.convert.tensors import ForeignModelError, Inventory

Settings = dict[str, Any]
_TEXT = "\N{SYMBOL FOR START OF TEXT}"


def read_settings(folder: Path) -> Settings:
    """The backbone's part of a `ModelConfig`, from a folder's config.json."""
    path = folder / "config.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ForeignModelError(f"{path} cannot be read: {error}") from error
    return settings_of(given)


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The same from a configuration's own fields."""
    kind = given.get("model_type")
    try:
        if kind == "gpt2":
            return _gpt2_settings(given)
        if kind == "llama":
            return _llama_settings(given)
    except KeyError as error:
        raise ForeignModelError(f"the configuration lacks {error}") from error
    raise ForeignModelError(f"model_type {kind!r} is neither gpt2 nor llama")


def _gpt2_settings(given: Mapping[str, Any]) -> Settings:
    _must_be(given, "activation_function", "gelu_new", "gelu_new", "gelu_pytorch_tanh")
    _must_be(given, "scale_attn_weights", True, True)
    _must_be(given, "scale_attn_by_inverse_layer_idx", False, False)
    return {
        "vocab_size": given["vocab_size"],
        "d_model": given["n_embd"],
        "n_layers": given["n_layer"],
        "n_heads": given["n_head"],
        "n_kv_heads": given["n_head"],
        "d_ff": given.get("n_inner") or 4 * given["n_embd"],
        "norm": "layernorm",
        "norm_epsilon": given.get("layer_norm_epsilon", 1e-5),
        "positions": "learned",
        "activation": "gelu",
        "bias": True,
        "tied_head": given.get("tie_word_embeddings", True),
        "window_tokens": given["n_positions"],
    }


def _llama_settings(given: Mapping[str, Any]) -> Settings:
    _must_be(given, "hidden_act", "silu", "silu")
    _must_be(given, "attention_bias", False, False)
    _must_be(given, "mlp_bias", False, False)
    size = given["hidden_size"] // given["num_attention_heads"]
    _must_be(given, "head_dim", size, size, None)
    rope = {**given, **(given.get("rope_scaling") or {}), **(given.get("rope_parameters") or {})}
    return {
        "vocab_size": given["vocab_size"],
        "d_model": given["hidden_size"],
        "n_layers": given["num_hidden_layers"],
        "n_heads": given["num_attention_heads"],
        "n_kv_heads": given.get("num_key_value_heads") or given["num_attention_heads"],
        "d_ff": given["intermediate_size"],
        "norm": "rmsnorm",
        "norm_epsilon": given["rms_norm_eps"],
        "positions": "rope",
        "rope_theta": float(rope.get("rope_theta", 10_000.0)),
        "rope_scaling": _rope_scaling(rope),
        "activation": "swiglu",
        "bias": False,
        "tied_head": given.get("tie_word_embeddings", False),
        "window_tokens": given["max_position_embeddings"],
    }


def _rope_scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise ForeignModelError(f"rope_type {kind!r} is neither default nor llama3")
    return RopeScaling(
        float(rope["factor"]),
        float(rope["low_freq_factor"]),
        float(rope["high_freq_factor"]),
        int(rope["original_max_position_embeddings"]),
    )


def _must_be(given: Mapping[str, Any], name: str, default: object, *allowed: object) -> None:
    if given.get(name, default) not in allowed:
        raise ForeignModelError(f"{name} {given[name]!r} is not supported, only {' or '.join(map(repr, allowed))}")


def backbone_tensors(settings: Settings, found: Inventory) -> dict[str, Tensor]:
    """Tensors under our names, taken from Hugging Face's."""
    return (_gpt2_tensors if settings["positions"] == "learned" else _llama_tensors)(settings, found)


def _gpt2_tensors(settings: Settings, found: Inventory) -> dict[str, Tensor]:
    # The bare model's files have no "transformer." in front.
    prefix = "" if "wte.weight" in found else "transformer."
    named = {
        "embedding.weight": found.take(f"{prefix}wte.weight"),
        "position_embedding.weight": found.take(f"{prefix}wpe.weight"),
        **_both("final_norm", f"{prefix}ln_f", found),
    }
    for layer in range(settings["n_layers"]):
        ours, theirs = f"blocks.{layer}", f"{prefix}h.{layer}"
        named |= _both(f"{ours}.attention_norm", f"{theirs}.ln_1", found)
        named |= _both(f"{ours}.feed_forward_norm", f"{theirs}.ln_2", found)
        # Conv1D keeps its weight as (in, out), and query, key and value in one.
        weights = found.take(f"{theirs}.attn.c_attn.weight").t().chunk(3)
        biases = found.take(f"{theirs}.attn.c_attn.bias").chunk(3)
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=False):
            named[f"{ours}.attention.{part}.weight"], named[f"{ours}.attention.{part}.bias"] = weight, bias
        for ours_, theirs_ in (
            ("attention.out", "attn.c_proj"),
            ("feed_forward.up", "mlp.c_fc"),
            ("feed_forward.down", "mlp.c_proj"),
        ):
            named[f"{ours}.{ours_}.weight"] = found.take(f"{theirs}.{theirs_}.weight").t()
            named[f"{ours}.{ours_}.bias"] = found.take(f"{theirs}.{theirs_}.bias")
        for mask in ("attn.bias", "attn.masked_bias"):
            found.drop(f"{theirs}.{mask}")
    return named | _head(settings, found)


def _llama_tensors(settings: Settings, found: Inventory) -> dict[str, Tensor]:
    prefix = "" if "embed_tokens.weight" in found else "model."
    named = {
        "embedding.weight": found.take(f"{prefix}embed_tokens.weight"),
        "final_norm.weight": found.take(f"{prefix}norm.weight"),
    }
    parts = {
        "attention_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm",
        **{
            f"attention.{o}": f"self_attn.{t}_proj"
            for o, t in zip(("query", "key", "value", "out"), "qkvo", strict=True)
        },
        **{f"feed_forward.{name}": f"mlp.{name}_proj" for name in ("gate", "up", "down")},
    }
    for layer in range(settings["n_layers"]):
        for ours, theirs in parts.items():
            named[f"blocks.{layer}.{ours}.weight"] = found.take(f"{prefix}layers.{layer}.{theirs}.weight")
        found.drop(f"{prefix}layers.{layer}.self_attn.rotary_emb.inv_freq")
    return named | _head(settings, found)


def _both(ours: str, theirs: str, found: Inventory) -> dict[str, Tensor]:
    return {f"{ours}.{part}": found.take(f"{theirs}.{part}") for part in ("weight", "bias")}


def _head(settings: Settings, found: Inventory) -> dict[str, Tensor]:
    if settings["tied_head"]:
        found.drop("lm_head.weight")
        return {}
    return {"head.weight": found.take("lm_head.weight")}


def folder_chat_frame(folder: Path) -> tuple[str, str] | None:
    """`chat_frame` of a folder's template; None where it has none."""
    path = folder / "tokenizer_config.json"
    given = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    beside = folder / "chat_template.jinja"
    template = beside.read_text(encoding="utf-8") if beside.is_file() else given.get("chat_template")
    if not isinstance(template, str):
        return None
    names = {name: _content(given.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return chat_frame(template, names, folder)


def chat_frame(template: str, names: Mapping[str, str], place: Path) -> tuple[str, str]:
    """What a chat template puts before and behind what a user says, up to where the answer begins.

    `names` are the special tokens that the template can name; `place` is for the error.
    """
    try:
        # A template is a program: it runs in a sandbox, on one message, once.
        compiled = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        messages = [{"role": "user", "content": _TEXT}]
        before, _, behind = compiled.render(messages=messages, add_generation_prompt=True, **names).partition(_TEXT)
    except TemplateError as error:
        raise ForeignModelError(f"the chat template of {place} cannot be rendered: {error}") from error
    return before, behind


def _content(token: object) -> str:
    """A special token's text, given plain or with its properties."""
    return str(token["content"]) if isinstance(token, Mapping) else str(token or "")
