"""GGUF files as llama.cpp's converter writes them: the tensors of a Hugging Face Llama, its tokeniser, its template."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize
from torch import nn

from model.tokenizer import TextTokenizer

Kind = GGMLQuantizationType
Array = npt.NDArray[np.float32]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    **{f"self_attn.{part}_proj": f"attn_{part}" for part in "qkv"},
    "self_attn.o_proj": "attn_output",
    **{f"mlp.{part}_proj": f"ffn_{part}" for part in ("gate", "up", "down")},
}
# As llama.cpp calls the ways of tests.model.convert.making to cut a text.
PRE = {"gpt2": "gpt-2", "smollm2": "smollm", "llama3": "llama-bpe"}


def write_gguf(
    path: Path,
    tensors: Mapping[str, tuple[npt.NDArray[Any], Kind]],
    metadata: Mapping[str, Any],
    architecture: str = "llama",
) -> Path:
    """Writes a file; of each tensor the bytes are as its kind stores them."""
    writer = GGUFWriter(path, architecture)
    add: dict[type, Callable[[str, Any], None]] = {
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for name, value in metadata.items():
        add[type(value)](name, value)
    for name, (stored, kind) in tensors.items():
        writer.add_tensor(name, stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored_tensors(model: nn.Module, kind: Kind) -> dict[str, tuple[npt.NDArray[Any], Kind]]:
    """Matrices as `kind` where their rows are whole blocks, and the rest as float32, as llama.cpp does."""
    config: Any = model.config
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    stored = {}
    for name, tensor in model.state_dict().items():
        if name in tied:
            continue
        values = tensor.float().numpy()
        outer, dot, suffix = name.rpartition(".")
        if found := outer.startswith("model.layers."):
            number, _, outer = outer.removeprefix("model.layers.").partition(".")
        part = NAMES[outer]
        if part in heads:
            values = neighbours(values, heads[part])
        whole = values.ndim == 2 and values.shape[1] % 32 == 0
        used = kind if whole else Kind.F32
        stored[f"blk.{number}.{part}.{suffix}" if found else f"{part}{dot}{suffix}"] = quantize(values, used), used
    return stored


def neighbours(rows: Array, heads: int) -> Array:
    """llama.cpp's order of a head's rows, in plain loops: row i of the first half, row i of the second, row i + 1."""
    size = len(rows) // heads
    order = []
    for head in range(heads):
        for row in range(size // 2):
            order += [head * size + row, head * size + size // 2 + row]
    return rows[order]


def model_metadata(model: nn.Module) -> dict[str, Any]:
    config: Any = model.config
    return {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "llama.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
    }


def tokenizer_metadata(tokenizer: TextTokenizer, style: str, chat: str | None = None) -> dict[str, Any]:
    given = json.loads(tokenizer.to_json())
    special = {token["content"] for token in given["added_tokens"]}
    tokens = sorted(given["model"]["vocab"], key=given["model"]["vocab"].__getitem__)
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": PRE[style],
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [
            int(TokenType.CONTROL if token in special else TokenType.NORMAL) for token in tokens
        ],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in given["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": tokens.index("<|end|>"),
    }
    return metadata if chat is None else metadata | {"tokenizer.chat_template": chat}
