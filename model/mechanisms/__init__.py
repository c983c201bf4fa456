"""The memory mechanisms by name: `build` makes a model of a configuration."""

from __future__ import annotations

from model.config import Mechanism, ModelConfig
from model.mechanisms.armt import ArmtTransformer
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer
from model.mechanisms.episodic.transformer import EpisodicTransformer
from model.mechanisms.memformer import MemformerTransformer
from model.mechanisms.rmt import RmtTransformer

TRANSFORMERS: dict[Mechanism, type[MemoryTransformer]] = {
    "episodic": EpisodicTransformer,
    "delta": DeltaTransformer,
    "armt": ArmtTransformer,
    "rmt": RmtTransformer,
    "memformer": MemformerTransformer,
}


def build(config: ModelConfig) -> MemoryTransformer:
    """A model of the configuration's mechanism, with initial weights."""
    return TRANSFORMERS[config.mechanism](config)
