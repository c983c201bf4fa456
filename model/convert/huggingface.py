"""Models as Hugging Face's files have them, in our blocks' names: configuration and tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.convert import families
from model.convert.tensors import ForeignModelError, Inventory

Settings = families.Settings


def read_settings(folder: Path) -> Settings:
    """The backbone's part of a `ModelConfig`, from a folder's config.json."""
    path = folder / "config.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ForeignModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(given, dict):
        raise ForeignModelError(f"{path} is no configuration: it holds no names and values")
    return settings_of(given)


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The same from a configuration's own fields."""
    kind = given.get("model_type")
    family = families.FAMILIES.get(str(kind))
    if family is None:
        raise ForeignModelError(f"model_type {kind!r} is not supported; supported are {', '.join(families.FAMILIES)}")
    try:
        return family(given)
    except KeyError as error:
        raise ForeignModelError(f"the configuration of a {kind} lacks {error}") from error


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
    """Of all families but GPT-2. Those with norms behind each part, Gemma's, keep the scales of norms less one."""
    gemma = settings.get("output_norms", False)
    norms = {"attention_norm": "input_layernorm", "feed_forward_norm": "post_attention_layernorm"}
    if gemma:
        norms |= {
            "attention_out_norm": "post_attention_layernorm",
            "feed_forward_norm": "pre_feedforward_layernorm",
            "feed_forward_out_norm": "post_feedforward_layernorm",
        }
    if settings.get("query_key_norm"):
        norms |= {"attention.query_norm": "self_attn.q_norm", "attention.key_norm": "self_attn.k_norm"}
    prefix = "" if "embed_tokens.weight" in found else "model."
    named = {"final_norm.weight": found.take(f"{prefix}norm.weight")}
    for layer in range(settings["n_layers"]):
        ours, theirs = f"blocks.{layer}", f"{prefix}layers.{layer}"
        for norm, name in norms.items():
            named[f"{ours}.{norm}.weight"] = found.take(f"{theirs}.{name}.weight")
    if gemma:
        named = {name: 1 + scale.float() for name, scale in named.items()}
    for layer in range(settings["n_layers"]):
        ours, theirs = f"blocks.{layer}", f"{prefix}layers.{layer}"
        named |= _attention_tensors(settings, found, f"{ours}.attention", f"{theirs}.self_attn")
        named |= _feed_forward_tensors(found, f"{ours}.feed_forward", f"{theirs}.mlp")
        found.drop(f"{theirs}.self_attn.rotary_emb.inv_freq")
    return {"embedding.weight": found.take(f"{prefix}embed_tokens.weight"), **named, **_head(settings, found)}


def _attention_tensors(settings: Settings, found: Inventory, ours: str, theirs: str) -> dict[str, Tensor]:
    named = {f"{ours}.out.weight": found.take(f"{theirs}.o_proj.weight")}
    parts = {f"{ours}.query": "q_proj", f"{ours}.key": "k_proj", f"{ours}.value": "v_proj"}
    if f"{theirs}.qkv_proj.weight" in found:
        head_dim = settings["attention_head_dim"] or settings["d_model"] // settings["n_heads"]
        queries, keys = head_dim * settings["n_heads"], head_dim * settings["n_kv_heads"]
        sizes = dict(zip(parts, (queries, keys, keys), strict=True))
        return named | _split(found.take(f"{theirs}.qkv_proj.weight"), sizes)
    for part, name in parts.items():
        named[f"{part}.weight"] = found.take(f"{theirs}.{name}.weight")
        if settings.get("qkv_bias"):
            named[f"{part}.bias"] = found.take(f"{theirs}.{name}.bias")
    return named


def _feed_forward_tensors(found: Inventory, ours: str, theirs: str) -> dict[str, Tensor]:
    named = {f"{ours}.down.weight": found.take(f"{theirs}.down_proj.weight")}
    if f"{theirs}.gate_up_proj.weight" in found:
        whole = found.take(f"{theirs}.gate_up_proj.weight")
        return named | _split(whole, dict.fromkeys((f"{ours}.gate", f"{ours}.up"), len(whole) // 2))
    return named | {f"{ours}.{part}.weight": found.take(f"{theirs}.{part}_proj.weight") for part in ("gate", "up")}


def _split(whole: Tensor, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The rows of several parts kept as one; where they are not as many, each part is the whole, which fits none."""
    if len(whole) != sum(sizes.values()):
        return {f"{part}.weight": whole for part in sizes}
    return {f"{part}.weight": rows for part, rows in zip(sizes, torch.split(whole, list(sizes.values())), strict=True)}


def _both(ours: str, theirs: str, found: Inventory) -> dict[str, Tensor]:
    return {f"{ours}.{part}": found.take(f"{theirs}.{part}") for part in ("weight", "bias")}


def _head(settings: Settings, found: Inventory) -> dict[str, Tensor]:
    if settings["tied_head"]:
        found.drop("lm_head.weight")
        return {}
    return {"head.weight": found.take("lm_head.weight")}
