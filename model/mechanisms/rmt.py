"""The `rmt` mechanism: memory tokens before and after a segment; the latter's final hidden states are the memory.

Source: Bulatov et al. 2207.06881, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState


class RmtTransformer(MemoryTransformer):
    """A decoder over [memory; segment; memory]. A question's window is [memory; tail; question].

    Its memory: tokens (B, M, D).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.memory_tokens = nn.Parameter(torch.randn(config.memory_tokens, config.d_model) * 0.02)

    def initial_memory(self, batch: int) -> MemoryState:
        return MemoryState({"tokens": self.memory_tokens.to(self.sums).expand(batch, -1, -1).clone()})

    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        """H_(t+1)^mem = the final hidden states of the memory tokens behind the segment   (equations 1 to 3)."""
        tokens = self.memory_prefix(memory, segment.shape[0])
        vectors = torch.cat([tokens, self.embedded(segment), tokens], dim=1)
        h, angles = self.with_positions(vectors, torch.arange(vectors.shape[1], device=segment.device)[None])
        for block in self.blocks:
            h = block(h, angles)
        hidden = self.final_norm(h)
        return MemoryState({"tokens": hidden[:, hidden.shape[1] - tokens.shape[1] :].to(self.sums)})

    def memory_prefix(self, memory: MemoryState, rows: int) -> Tensor:
        tokens = memory["tokens"]
        return tokens.repeat_interleave(rows // tokens.shape[0], dim=0).to(self.embedding.weight.dtype)
