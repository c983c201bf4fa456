"""The write gate: a small classifier of which tokens `delta` may write, from each token and the few before it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig


class WriteGate(nn.Module):
    """One hidden layer over a short causal convolution of the embeddings.

    A gate of exactly zero closes all layers' memories to a token. So a segment whose gates are all zero leaves the
    memory as it was, bit for bit, and need not be read any further: the cost of text that says nothing is this gate.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.taps, self.threshold = config.write_gate_taps, config.write_threshold
        self.convolution = nn.Conv1d(config.d_model, config.write_gate_dim, config.write_gate_taps)
        self.score = nn.Linear(config.write_gate_dim, 1)
        self.table: Tensor | None
        self.register_buffer("table", None, persistent=False)

    def forward(self, embedded: Tensor) -> Tensor:
        """Scores (B, N) of tokens embedded as (B, N, D); the first ones see zeros in front."""
        padded = F.pad(embedded.transpose(1, 2), (self.taps - 1, 0))
        hidden = F.gelu(self.convolution(padded)).transpose(1, 2)
        return self.score(hidden).squeeze(-1)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> WriteGate:
        """Learning makes the table untrue."""
        if mode:
            self.table = None
        return super().train(mode)

    def tabulate(self, embedded: Tensor) -> None:
        """Works out what each entry of the vocabulary, embedded as (V, D), adds to the hidden layer from each tap.

        A score then costs a sum of `taps` rows, a hundredth of the products. For weights that no longer change.
        """
        # weight (H, D, taps), the last tap for the token itself; one entry more, of zeros, stands for no token.
        weight = self.convolution.weight.flip(2)
        rows = torch.einsum("vd,hdj->vjh", embedded, weight)
        self.table = F.pad(rows, (0, 0, 0, 0, 0, 1)).flatten(0, 1)

    def table_scores(self, windows: Tensor, first: int) -> Tensor:
        """Scores (B, N - first) of the tokens behind the first ones of windows (B, N), from the table."""
        assert self.table is not None
        assert self.convolution.bias is not None
        nothing = self.table.shape[0] // self.taps - 1
        seen = F.pad(windows, (self.taps - 1, 0), value=nothing).unfold(1, self.taps, 1)[:, first:].flip(2)
        index = seen * self.taps + torch.arange(self.taps, device=windows.device)
        hidden = F.embedding_bag(index.flatten(0, 1), self.table, mode="sum") + self.convolution.bias
        return self.score(F.gelu(hidden)).view(windows.shape[0], -1)  # type: ignore[no-any-return]

    @property
    def threshold_score(self) -> float:
        """The score above which a gate opens."""
        return math.log(self.threshold / (1 - self.threshold)) if self.threshold else -math.inf

    def gate(self, scores: Tensor) -> Tensor:
        """relu(σ(score) - θ) / (1 - θ), in float32 or better: exactly zero below the threshold θ."""
        sigma = torch.sigmoid(scores.to(torch.promote_types(scores.dtype, torch.float32)))
        return torch.relu(sigma - self.threshold) / (1 - self.threshold)
