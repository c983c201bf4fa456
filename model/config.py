"""The shape of a model: backbone, memory and special tokens, as it travels with the weights.

It knows no tensors, and nothing of devices, servers or the environment.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self


@dataclass(frozen=True)
class SpecialTokens:
    """Ids beyond the tokeniser's own entries: no text can ever encode to them."""

    start: int
    question: int
    answer: int
    end: int


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a decoder with a memory mechanism.

    GPT-2's shape is layernorm, learned positions, gelu and biases; Llama's is rmsnorm, rope, swiglu and none.
    `context_tokens` of the segment before are read again in front of each segment, so that a sentence cut
    by a segment's border is still seen whole; they are part of the memory.
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_ff: int
    special: SpecialTokens
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_epsilon: float = 1e-6
    positions: Literal["rope", "learned"] = "rope"
    rope_theta: float = 10_000.0
    activation: Literal["swiglu", "gelu"] = "swiglu"
    bias: bool = False
    tied_head: bool = True
    embedding_scale: float = 1.0
    mechanism: Literal["delta"] = "delta"
    memory_heads: int = 1
    memory_key_dim: int = 32
    memory_rolls: int = 3
    memory_taps: int = 8
    glance_taps: int = 8
    glance_dim: int = 48
    write_threshold: float = 0.5
    segment_tokens: int = 128
    context_tokens: int = 16
    window_tokens: int = 512

    def __post_init__(self) -> None:
        if self.d_model % self.n_heads or self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"d_model {self.d_model} must be a multiple of n_heads {self.n_heads}, "
                f"and that a multiple of n_kv_heads {self.n_kv_heads}"
            )
        if self.d_model % self.memory_heads:
            raise ValueError(f"d_model {self.d_model} must be a multiple of memory_heads {self.memory_heads}")
        if not 0 <= self.write_threshold < 1:
            raise ValueError(f"write_threshold {self.write_threshold} must be at least 0 and below 1")
        if self.memory_taps < 1 or self.glance_taps < 1:
            raise ValueError("memory_taps and glance_taps must be at least 1: a token sees itself at least")
        if not 0 <= self.context_tokens <= self.segment_tokens:
            raise ValueError("context_tokens must be between 0 and segment_tokens")
        if self.window_tokens < self.context_tokens + self.segment_tokens:
            raise ValueError("window_tokens must hold the context and a segment")

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    @property
    def memory_rows(self) -> int:
        """P, the length of a head's key after DPFP: 2 * memory_key_dim * memory_rolls (2102.11174, section 5.3)."""
        return 2 * self.memory_key_dim * self.memory_rolls

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        values: dict[str, Any] = json.loads(text)
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown model settings: {', '.join(sorted(unknown))}")
        return cls(**{**values, "special": SpecialTokens(**values["special"])})

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.from_json(path.read_text(encoding="utf-8"))
