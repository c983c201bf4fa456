"""GGUF, the file of llama.cpp, read as Hugging Face's folders have the same model: its configuration and its tensors.

The format: github.com/ggml-org/ggml, docs/gguf.md. The package `gguf` reads and dequantizes; serving does not need it.
Of the architectures `llama` is read, which is SmolLM2's too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from torch import Tensor
from tqdm import tqdm

from model.convert.tensors import ForeignModelError

ARCHITECTURE = "llama"
_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_OF_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER = re.compile(r"blk\.(?P<number>\d+)\.(?P<part>\w+)")


class GgufFile:
    """One file, its metadata read; its tensors are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Raises ForeignModelError where the file is damaged or not of the architecture."""
        self.path = path
        try:
            self._reader = GGUFReader(path)
            self._metadata = {name: field.contents() for name, field in self._reader.fields.items()}
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise ForeignModelError(f"{path} cannot be read as GGUF: {error}") from error
        if (found := self.get("general.architecture")) != ARCHITECTURE:
            raise ForeignModelError(f"{path} is a model of the architecture {found!r}; of GGUF only llama is supported")
        if self.get("split.count", 1) > 1:
            raise ForeignModelError(f"{path} is one of several parts: join them first, with llama-gguf-split --merge")

    def get(self, name: str, default: Any = None) -> Any:
        """A field of the metadata: a number, a string, or a list of either."""
        return self._metadata.get(name, default)

    def require(self, name: str) -> Any:
        if name not in self._metadata:
            raise ForeignModelError(f"{self.path} lacks the field {name}")
        return self._metadata[name]

    def configuration(self) -> dict[str, Any]:
        """The fields of Hugging Face's config.json."""
        shapes = {tensor.name: tensor.shape.tolist() for tensor in self._reader.tensors}
        self._refuse_variants(shapes)
        width, heads = self._size("embedding_length"), self._size("attention.head_count")
        return {
            "model_type": "llama",
            # Shapes are written from the fastest dimension to the slowest.
            "vocab_size": shapes["token_embd.weight"][1] if "token_embd.weight" in shapes else 0,
            "hidden_size": width,
            "num_hidden_layers": self._size("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self._kv_heads,
            "head_dim": self.get(f"{ARCHITECTURE}.rope.dimension_count", width // heads),
            "intermediate_size": self._size("feed_forward_length"),
            "max_position_embeddings": self._size("context_length"),
            "rms_norm_eps": _decimal(self._size("attention.layer_norm_rms_epsilon")),
            "rope_theta": _decimal(self.get(f"{ARCHITECTURE}.rope.freq_base", 10_000.0)),
            "tie_word_embeddings": "output.weight" not in shapes,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Float32, by Hugging Face's names; what has no name there keeps its own, so that it is reported."""
        rotated = {"attn_q": self._size("attention.head_count"), "attn_k": self._kv_heads}
        named: dict[str, Tensor] = {}
        for found in tqdm(self._reader.tensors, desc=self.path.name, unit=" tensors", disable=None):
            try:
                values = dequantize(found.data, found.tensor_type)
            except NotImplementedError as error:
                kind = found.tensor_type.name
                raise ForeignModelError(f"{self.path}: the quantization {kind} of {found.name} is unknown") from error
            # A copy: values that are not quantized are a read-only view of the file.
            tensor = torch.from_numpy(np.array(values, dtype=np.float32))
            place = _LAYER.match(found.name)
            if place and place["part"] in rotated:
                heads = rotated[place["part"]]
                if len(tensor) % (2 * heads):
                    raise ForeignModelError(f"{self.path}: {len(tensor)} rows of {found.name} are not {heads} heads")
                tensor = _halves_apart(tensor, heads)
            named[_huggingface_name(found.name)] = tensor
        return named

    def _size(self, name: str) -> Any:
        found = self.require(f"{ARCHITECTURE}.{name}")
        if isinstance(found, list):
            raise ForeignModelError(f"{self.path}: layers with different {ARCHITECTURE}.{name} are not supported")
        if not found > 0:
            raise ForeignModelError(f"{self.path}: {ARCHITECTURE}.{name} is {found}")
        return found

    @property
    def _kv_heads(self) -> int:
        grouped = f"{ARCHITECTURE}.attention.head_count_kv" in self._metadata
        return int(self._size("attention.head_count_kv" if grouped else "attention.head_count"))

    def _refuse_variants(self, shapes: dict[str, list[int]]) -> None:
        for name, plain in (("rope.scaling.type", "none"), ("expert_count", 0)):
            if (found := self.get(f"{ARCHITECTURE}.{name}", plain)) != plain:
                raise ForeignModelError(f"{self.path}: {ARCHITECTURE}.{name} {found!r} is not supported")
        if "rope_freqs.weight" in shapes:
            raise ForeignModelError(
                f"{self.path} has Llama 3's stretched positions as a tensor, which is not supported: "
                "give the model's Hugging Face folder"
            )


def _decimal(value: float) -> float:
    """The shortest decimal number that a float32 stands for: 1e-05 where the file has 9.9999997e-06."""
    return float(str(np.float32(value)))


def _halves_apart(weight: Tensor, heads: int) -> Tensor:
    """Rows (heads * head_dim) in the order of Hugging Face.

    llama.cpp rotates neighbours, and for that its files have feature i of a head's first half beside feature i of its
    second half; Hugging Face, and our blocks, rotate one half against the other.
    """
    return weight.reshape(heads, -1, 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def _huggingface_name(name: str) -> str:
    part, dot, kind = name.rpartition(".")
    place = _LAYER.fullmatch(part)
    if place and place["part"] in _OF_LAYER:
        part = f"model.layers.{place['number']}.{_OF_LAYER[place['part']]}"
    return f"{_WHOLE.get(part, part)}{dot}{kind}"
