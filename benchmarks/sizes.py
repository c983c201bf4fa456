"""The size of a session's memory, against the keys and values that the same blocks would keep of the whole text.

It knows shapes, and measures no time.
"""

from __future__ import annotations

from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from model.checkpoint import Checkpoint, encode
from model.config import ModelConfig

NAME = "sizes"
CLAIM = "a memory's size does not grow with what was read; a full key-value cache's does"
LENGTHS_TOKENS = (10_000, 100_000, 1_000_000)


def measure(plan: Plan) -> Section:
    model = plan.loaded.model
    memory = model.initial_memory(1)
    stored = encode(Checkpoint.empty(memory), plan.loaded.fingerprint)
    element_bytes = model.embedding.weight.element_size()
    figures = [Figure("memory_bytes", memory.nbytes), Figure("checkpoint_bytes", len(stored))]
    for tokens in LENGTHS_TOKENS:
        cache = cache_bytes(model.config, tokens, element_bytes)
        figures += [
            Figure(f"cache_of_{tokens}_tokens_bytes", cache),
            Figure(f"cache_of_{tokens}_tokens_to_memory_ratio", cache / memory.nbytes),
        ]
    return Section(NAME, CLAIM, tuple(figures))


def cache_bytes(config: ModelConfig, tokens: int, element_bytes: int) -> int:
    """Keys and values of every layer and every token."""
    return 2 * config.n_layers * config.n_kv_heads * config.head_dim * element_bytes * tokens
