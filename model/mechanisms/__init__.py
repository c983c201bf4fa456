"""The memory mechanisms, one a file, and which name means which.

It knows their names only.
"""

from __future__ import annotations

from model.config import Mechanism, ModelConfig
from model.mechanisms.armt import ArmtTransformer
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer
from model.mechanisms.memformer import MemformerTransformer
from model.mechanisms.rmt import RmtTransformer

TRANSFORMERS: dict[Mechanism, type[MemoryTransformer]] = {
    "delta": DeltaTransformer,
    "armt": ArmtTransformer,
    "rmt": RmtTransformer,
    "memformer": MemformerTransformer,
}


def build(config: ModelConfig) -> MemoryTransformer:
    """A model of the configuration's mechanism, its weights at their start."""
    return TRANSFORMERS[config.mechanism](config)
