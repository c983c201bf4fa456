"""The families of decoders that can be read, each from its config.json's own fields to the backbone's settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model.config import LayerKind, RopeScaling
from model.convert.tensors import ForeignModelError

Settings = dict[str, Any]
Given = Mapping[str, Any]

_KINDS: Mapping[str, LayerKind] = {"full_attention": "global", "sliding_attention": "local"}


def _gpt2(given: Given) -> Settings:
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


def _llama(given: Given) -> Settings:
    _must_be(given, "hidden_act", "silu", "silu")
    return _decoder(given)


def _decoder(given: Given) -> Settings:
    """What all but GPT-2 have in common."""
    _must_be(given, "attention_bias", False, False)
    _must_be(given, "mlp_bias", False, False)
    width, heads = given["hidden_size"], given["num_attention_heads"]
    head_dim = given.get("head_dim") or width // heads
    return {
        "vocab_size": given["vocab_size"],
        "d_model": width,
        "n_layers": given["num_hidden_layers"],
        "n_heads": heads,
        "n_kv_heads": given.get("num_key_value_heads") or heads,
        "attention_head_dim": None if head_dim * heads == width else head_dim,
        "d_ff": given["intermediate_size"],
        "norm": "rmsnorm",
        "norm_epsilon": given["rms_norm_eps"],
        "positions": "rope",
        "activation": "swiglu",
        "bias": False,
        "tied_head": given.get("tie_word_embeddings", False),
        "window_tokens": given["max_position_embeddings"],
        **_rotary(_rope(given), given["max_position_embeddings"]),
    }


def _mistral(given: Given) -> Settings:
    return _with_sliding(_llama(given), given, ["sliding_attention"] * given["num_hidden_layers"])


def _qwen2(given: Given) -> Settings:
    settings = {**_llama(given), "qkv_bias": True}
    return _with_late_sliding(settings, given)


def _qwen3(given: Given) -> Settings:
    settings = {**_llama({"head_dim": 128, **given}), "query_key_norm": True}
    return _with_late_sliding(settings, given)


def _smollm3(given: Given) -> Settings:
    _must_be(given, "use_sliding_window", False, False)
    interval, layers = given.get("no_rope_layer_interval", 4), given["num_hidden_layers"]
    turned = given.get("no_rope_layers") or [(layer + 1) % interval for layer in range(layers)]
    settings = _llama({"tie_word_embeddings": True, "rope_theta": 2_000_000.0, **given})
    return {**settings, "layer_kinds": tuple("global" if turns else "unrotated" for turns in turned[:layers])}


def _phi3(given: Given) -> Settings:
    settings = _llama(given)
    share = _rope(given).get("partial_rotary_factor", 1.0)
    if share != 1.0:
        head_dim = settings["attention_head_dim"] or settings["d_model"] // settings["n_heads"]
        settings["rotary_dim"] = int(head_dim * share)
    return _with_sliding(settings, {"sliding_window": None, **given}, ["sliding_attention"] * settings["n_layers"])


def _gemma2(given: Given) -> Settings:
    every_other = [
        "full_attention" if layer % 2 else "sliding_attention" for layer in range(given["num_hidden_layers"])
    ]
    softcaps = {
        "attention_softcap": given.get("attn_logit_softcapping", 50.0),
        "logit_softcap": given.get("final_logit_softcapping", 30.0),
    }
    return _with_sliding({**_gemma(given), **softcaps}, given, given.get("layer_types") or every_other)


def _gemma3(given: Given) -> Settings:
    _must_be(given, "attn_logit_softcapping", None, None)
    layers, each = given["num_hidden_layers"], given.get("sliding_window_pattern", 6)
    pattern = ["sliding_attention" if (layer + 1) % each else "full_attention" for layer in range(layers)]
    # Files give both kinds' positions either apart or as one configuration and the local layers' base.
    apart = given.get("rope_parameters") or {}
    local = apart.get("sliding_attention", {"rope_theta": given.get("rope_local_base_freq", 10_000.0)})
    _must_be(local, "rope_type", "default", "default")
    whole = {"rope_theta": 1_000_000.0, **given, "rope_parameters": apart.get("full_attention")}
    return {
        **_gemma(whole),
        "query_key_norm": True,
        "logit_softcap": given.get("final_logit_softcapping"),
        "layer_kinds": _kinds(given.get("layer_types") or pattern),
        "local_tokens": given["sliding_window"],
        "local_rope_theta": float(local["rope_theta"]),
    }


def _gemma(given: Given) -> Settings:
    """What Gemma 2 and 3 have in common."""
    _must_be(given, "hidden_activation", "gelu_pytorch_tanh", "gelu_pytorch_tanh")
    _must_be(given, "use_bidirectional_attention", None, None, False)
    settings = _decoder({"head_dim": 256, "tie_word_embeddings": True, **given})
    head_dim = settings["attention_head_dim"] or settings["d_model"] // settings["n_heads"]
    scalar = given.get("query_pre_attn_scalar", 256)
    return {
        **settings,
        "activation": "geglu",
        "embedding_scale": math.sqrt(settings["d_model"]),
        "output_norms": True,
        "attention_scale": None if scalar == head_dim else scalar**-0.5,
    }


FAMILIES: Mapping[str, Callable[[Given], Settings]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "smollm3": _smollm3,
    "phi3": _phi3,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
}


def _with_late_sliding(settings: Settings, given: Given) -> Settings:
    """Qwen's sliding windows: off unless switched on, and then in the last layers."""
    if not given.get("use_sliding_window", False):
        return settings
    first = given.get("max_window_layers", 28)
    late = ["sliding_attention" if layer >= first else "full_attention" for layer in range(settings["n_layers"])]
    return _with_sliding(settings, given, given.get("layer_types") or late)


def _with_sliding(settings: Settings, given: Given, types: Sequence[str]) -> Settings:
    """With sliding windows in layers that are turned as all others; one that no window exceeds never acts."""
    reach, kinds = given.get("sliding_window", 4096), _kinds(types)
    if reach is None or reach >= settings["window_tokens"] or "local" not in kinds:
        return settings
    if settings["rope_scaling"] is not None or settings["rope_divisors"]:
        return {**settings, "window_tokens": reach}
    return {**settings, "layer_kinds": kinds, "local_tokens": reach, "local_rope_theta": settings["rope_theta"]}


def _kinds(types: Sequence[str]) -> tuple[LayerKind, ...]:
    if unknown := set(types) - set(_KINDS):
        raise ForeignModelError(f"layers of type {sorted(unknown)} are not supported, only {' and '.join(_KINDS)}")
    return tuple(_KINDS[name] for name in types)


def _rope(given: Given) -> Given:
    """What a configuration says about rotary positions, in whichever of three places."""
    return {**given, **(given.get("rope_scaling") or {}), **(given.get("rope_parameters") or {})}


def _rotary(rope: Given, longest: int) -> Settings:
    """The settings of rotary positions; `longest` is the longest window that the model has positions for."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    half = int((rope.get("head_dim") or rope["hidden_size"] // rope["num_attention_heads"]) // 2)
    settings: Settings = {
        "rope_theta": float(rope.get("rope_theta", 10_000.0)),
        "rope_scaling": None,
        "rope_divisors": (),
    }
    if kind == "default":
        return settings
    if kind == "linear":
        return {**settings, "rope_divisors": (float(rope["factor"]),) * half}
    if kind == "llama3":
        factor, low, high = (float(rope[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
        scaling = RopeScaling(factor, low, high, int(rope["original_max_position_embeddings"]))
        return {**settings, "rope_scaling": scaling}
    if kind in ("longrope", "su"):
        # Beyond the length of the first training another set of divisors would apply: no window goes there.
        first = int(rope.get("original_max_position_embeddings") or longest)
        factor = rope.get("factor") or longest / first
        amplitude = rope.get("attention_factor") or math.sqrt(1 + math.log(max(factor, 1.0)) / math.log(first))
        divisors = tuple(float(divisor) for divisor in rope["short_factor"])
        window = min(longest, first)
        return {**settings, "rope_divisors": divisors, "rope_amplitude": amplitude, "window_tokens": window}
    raise ForeignModelError(f"rope_type {kind!r} is not supported, only default, linear, llama3 and longrope")


def _must_be(given: Given, name: str, default: object, *allowed: object) -> None:
    if given.get(name, default) not in allowed:
        raise ForeignModelError(f"{name} {given[name]!r} is not supported, only {' or '.join(map(repr, allowed))}")
