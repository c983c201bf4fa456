"""Configurations in the shape of known models and of a tiny one, for models with random weights."""

from __future__ import annotations

from model.config import Mechanism, ModelConfig, RopeScaling, SpecialTokens

SHAPES = ("llama-3.2-1b", "tiny")


def shape(name: str, mechanism: Mechanism, segment_tokens: int, memory_tokens: int) -> ModelConfig:
    """The configuration of a backbone with a memory mechanism in it."""
    shared = {
        "mechanism": mechanism,
        "segment_tokens": segment_tokens,
        "memory_tokens": memory_tokens,
        "memory_key_dim": 64,
        "window_tokens": 2 * (segment_tokens + memory_tokens),
        # Every token may write: the write gate of random weights means nothing.
        "write_threshold": 0.0,
    }
    if name == "llama-3.2-1b":
        return ModelConfig(
            vocab_size=128_256,
            d_model=2048,
            n_layers=16,
            n_heads=32,
            n_kv_heads=8,
            d_ff=8192,
            norm_epsilon=1e-5,
            rope_theta=500_000.0,
            rope_scaling=RopeScaling(32.0, 1.0, 4.0, 8192),
            special=SpecialTokens(128_000, (128_006,), (128_007,), 128_009),
            **shared,  # type: ignore[arg-type]
        )
    return ModelConfig(
        vocab_size=512,
        d_model=64,
        n_layers=4,
        n_heads=4,
        n_kv_heads=2,
        d_ff=128,
        special=SpecialTokens(508, (509,), (510,), 511),
        **{**shared, "memory_key_dim": 8},  # type: ignore[arg-type]
    )
