"""The shape of a model: backbone, memory and special tokens, as stored with the weights."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from torch import Tensor


@dataclass(frozen=True)
class SpecialTokens:
    """What stands around texts and questions, as ids that no text can ever encode to.

    `start` fills the context of a memory that has read nothing. A question's window is `opening`, the tail (where
    the mechanism wants it there), `question`, the question itself, `answer`; its answer is over at `end`. `gap` stands
    where text is left out between two places of it.
    """

    start: int
    question: tuple[int, ...]
    answer: tuple[int, ...]
    end: int
    opening: tuple[int, ...] = ()
    gap: tuple[int, ...] = ()


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretched rotary frequencies (2407.21783, section 3.2): long waves are slowed down by `factor`."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_tokens: int

    def stretched(self, frequencies: Tensor) -> Tensor:
        """Frequencies (head_dim / 2) in radians a token; those between both bounds are mixed."""
        turns = self.original_tokens * frequencies / (2 * math.pi)
        share = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        share = share.clamp(0.0, 1.0)
        return frequencies * (share + (1 - share) / self.factor)


# Fields by the names that they had until 0.1: files keep them, because a fingerprint is made of a file's bytes.
FORMER_NAMES = {"glance_taps": "write_gate_taps", "glance_dim": "write_gate_dim"}

Mechanism = Literal["episodic", "delta", "armt", "rmt", "memformer"]
# Global layers see the whole window; local ones the last `local_tokens`, with rotary positions of their own; unrotated
# ones the whole window without positions.
LayerKind = Literal["global", "local", "unrotated"]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a decoder with a memory mechanism.

    GPT-2's shape is layernorm, learned positions, gelu and biases; Llama's is rmsnorm, rope, swiglu and none. The other
    families are Llama's shape with the fields from `attention_head_dim` on (`model/convert/families.py`).
    Fields that a mechanism does not name below mean nothing to it.
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
    rope_scaling: RopeScaling | None = None
    activation: Literal["swiglu", "geglu", "gelu"] = "swiglu"
    bias: bool = False
    tied_head: bool = True
    embedding_scale: float = 1.0
    # The width of a head where it is not d_model / n_heads.
    attention_head_dim: int | None = None
    # Biases of queries, keys and values where nothing else has one (Qwen2).
    qkv_bias: bool = False
    # Norms of each head's queries and keys before they are turned (Qwen3, Gemma 3).
    query_key_norm: bool = False
    # Norms of what attention and feed-forward add, besides those before them (Gemma 2 and 3).
    output_norms: bool = False
    # Factor of the scores where it is not head_dim ** -0.5.
    attention_scale: float | None = None
    # cap * tanh(x / cap) of attention's scores and of the logits (Gemma 2).
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    # The kind of each layer; empty: all are global.
    layer_kinds: tuple[LayerKind, ...] = ()
    local_tokens: int | None = None
    local_rope_theta: float = 10_000.0
    # How many of a head's features are turned where it is not all (Phi-3).
    rotary_dim: int | None = None
    # Global layers: what each rotary frequency is divided by, and a factor of cos and sin (LongRoPE, 2402.13753).
    rope_divisors: tuple[float, ...] = ()
    rope_amplitude: float = 1.0
    segment_tokens: int = 128
    window_tokens: int = 512
    mechanism: Mechanism = "delta"
    # Whether a question's tail is read into a copy of the memory, and not put in front of the question.
    tail_in_memory: bool = False
    # episodic: how many tokens of text are kept at most, and how many a question reads again.
    capacity_tokens: int = 10 * 2**20
    recall_tokens: int = 0
    # delta and armt: the keys of associative memories.
    memory_key_dim: int = 32
    memory_rolls: int = 3
    # delta: heads, and what decides which tokens are written. `context_tokens` of the segment before are read again
    # in front of each segment, so that a sentence cut by a segment's border is still seen whole; they are part of
    # the memory.
    memory_heads: int = 1
    memory_taps: int = 8
    write_gate_taps: int = 8
    write_gate_dim: int = 48
    write_threshold: float = 0.5
    context_tokens: int = 0
    # armt and rmt: memory tokens; memformer: slots.
    memory_tokens: int = 16
    # armt: whether φ is divided by its length (the authors' code since 28 August 2024).
    normalize_phi: bool = False
    # memformer: τ of slot attention.
    slot_temperature: float = 0.25

    def __post_init__(self) -> None:
        own_width = self.attention_head_dim is not None and self.mechanism != "memformer"
        if (self.d_model % self.n_heads and not own_width) or self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"d_model {self.d_model} must be a multiple of n_heads {self.n_heads}, "
                f"and that a multiple of n_kv_heads {self.n_kv_heads}"
            )
        if self.layer_kinds and len(self.layer_kinds) != self.n_layers:
            raise ValueError(f"layer_kinds names {len(self.layer_kinds)} layers, the model has {self.n_layers}")
        if self.rope_divisors and len(self.rope_divisors) != self.turned_dim // 2:
            raise ValueError(f"rope_divisors has {len(self.rope_divisors)} numbers, expected {self.turned_dim // 2}")
        if self.d_model % self.memory_heads:
            raise ValueError(f"d_model {self.d_model} must be a multiple of memory_heads {self.memory_heads}")
        if not 0 <= self.write_threshold < 1:
            raise ValueError(f"write_threshold {self.write_threshold} must be at least 0 and below 1")
        if self.memory_taps < 1 or self.write_gate_taps < 1:
            raise ValueError("memory_taps and write_gate_taps must be at least 1: a token sees itself at least")
        if not 0 <= self.context_tokens <= self.segment_tokens:
            raise ValueError("context_tokens must be between 0 and segment_tokens")
        if self.memory_tokens < (self.mechanism == "memformer"):
            raise ValueError("memory_tokens must not be negative, and memformer needs a slot at least")
        if self.mechanism == "episodic" and self.recall_tokens < self.segment_tokens:
            raise ValueError(f"recall_tokens {self.recall_tokens} must hold a segment of {self.segment_tokens} tokens")
        if self.window_tokens < self.segment_window_tokens:
            raise ValueError(
                f"window_tokens {self.window_tokens} must hold a segment and what the mechanism puts around it, "
                f"{self.segment_window_tokens} tokens"
            )

    @property
    def head_dim(self) -> int:
        return self.attention_head_dim or self.d_model // self.n_heads

    @property
    def turned_dim(self) -> int:
        """How many of a head's features rotary positions turn."""
        return self.rotary_dim or self.head_dim

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of each layer."""
        everywhere: LayerKind = "global"
        return self.layer_kinds or (everywhere,) * self.n_layers

    @property
    def memory_rows(self) -> int:
        """P, the length of a head's key after DPFP: 2 * memory_key_dim * memory_rolls (2102.11174, section 5.3)."""
        return 2 * self.memory_key_dim * self.memory_rolls

    @property
    def prefix_tokens(self) -> int:
        """How many positions of a window the memory itself takes, in front of the tokens."""
        return {"delta": self.context_tokens, "rmt": self.memory_tokens}.get(self.mechanism, 0)

    @property
    def segment_window_tokens(self) -> int:
        """How many positions it takes to read a segment, or of `episodic` what is recalled in front of a tail."""
        if self.mechanism == "episodic":
            return self.recall_tokens + self.segment_tokens
        behind = self.memory_tokens if self.mechanism in ("armt", "rmt") else 0
        return self.prefix_tokens + self.segment_tokens + behind

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        values: dict[str, Any] = {FORMER_NAMES.get(name, name): value for name, value in json.loads(text).items()}
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown model settings: {', '.join(sorted(unknown))}")
        special: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values["special"].items()
        }
        scaling = values.get("rope_scaling")
        listed: dict[str, Any] = {
            name: tuple(values[name]) for name in ("layer_kinds", "rope_divisors") if name in values
        }
        return cls(
            **{
                **values,
                **listed,
                "special": SpecialTokens(**special),
                "rope_scaling": None if scaling is None else RopeScaling(**scaling),
            }
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.from_json(path.read_text(encoding="utf-8"))
