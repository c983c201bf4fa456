"""The size of a session's memory, compared with a KV cache of the whole text in the same layers."""

from __future__ import annotations

from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from model.checkpoint import Checkpoint, encode
from model.config import ModelConfig

NAME = "sizes"
CLAIM = "the size of a memory does not grow with the text read; that of a full KV cache does"
LENGTHS_TOKENS = (10_000, 100_000, 1_000_000)


def measure(plan: Plan) -> Section:
    model = plan.loaded.model
    memory = model.initial_memory(1)
    stored = encode(Checkpoint.empty(memory.to("cpu")), plan.loaded.fingerprint)
    element_bytes = model.embedding.weight.element_size()
    figures = [Figure("memory_bytes", memory.nbytes), Figure("checkpoint_bytes", len(stored.head))]
    for tokens in LENGTHS_TOKENS:
        cache = cache_bytes(model.config, tokens, element_bytes)
        figures += [
            Figure(f"cache_of_{tokens}_tokens_bytes", cache),
            Figure(f"cache_of_{tokens}_tokens_to_memory_ratio", cache / memory.nbytes),
        ]
    return Section(NAME, CLAIM, tuple(figures))


def cache_bytes(config: ModelConfig, tokens: int, element_bytes: int) -> int:
    """The size of the keys and values of all layers and tokens."""
    return 2 * config.n_layers * config.n_kv_heads * config.head_dim * element_bytes * tokens
