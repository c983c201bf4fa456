"""The contract of every memory transformer: it reads segments into a memory, and answers against one.

It holds weights only. A memory comes in and goes out as a value, and nothing here knows of sessions,
stores or threads, nor which mechanism keeps the memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from model.layers.backbone import Backbone, WindowCache, slots_for
from model.layers.blocks import Angles
from model.memory import MemoryState


class MemoryTransformer(Backbone, ABC):
    """A decoder with a memory. A mechanism says what a memory is, how a segment is read, how one is asked.

    A window is what is seen at once: `config.prefix_tokens` positions that the memory takes, then tokens.
    """

    def freeze(self) -> None:
        """Works out once what depends on the weights alone: they change no more, nor move."""

    @abstractmethod
    def initial_memory(self, batch: int) -> MemoryState:
        """The memory of `batch` rows that have read nothing."""

    @abstractmethod
    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        """The memory after reading one segment (B, T) of token ids per row; `memory` itself is left as it was."""

    def windows(self, segments: Tensor, memory: MemoryState) -> Tensor:
        """What is seen with each of the segments (S, T) that follow on a memory of one row: (S, N)."""
        return segments

    def read_windows(self, windows: Tensor, memory: MemoryState, counts: Tensor | None = None) -> MemoryState:
        """The memory after reading K windows (B, K, N) of each row one after another, or of some rows only the first
        ones, `counts` (B) of them, one at least. Between two of them there may be segments that are not selected.
        """
        for index, window in enumerate(windows.unbind(1)):
            after = self.read(window, memory)
            memory = after if counts is None else MemoryState.where(index < counts, after, memory)
        return memory

    def select_segments(self, segments: Tensor, memory: MemoryState) -> list[int]:
        """Which of the segments (S, T) that follow on a memory of one row may change what is remembered."""
        return list(range(len(segments)))

    def skip(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        """The memory after segments that are not selected, of which `segment` (1, T) was the last."""
        return memory

    def prefill(self, prompts: Tensor, lengths: Tensor, memory: MemoryState, room: int) -> tuple[Tensor, WindowCache]:
        """The final hidden state (B, D) of each prompt's last token, and the cache, with `room` more slots.

        prompts (B, N) are padded on the right, lengths (B) say how many tokens each has, one at least.
        """
        prefix = self.config.prefix_tokens
        cache = self.empty_cache(prompts.shape[0], slots_for(prefix + prompts.shape[1] + room))
        hidden = self.window(prompts, memory, cache)
        # Slots of padding are written too, and written over before any token may look at them.
        cache.lengths.copy_(prefix + lengths)
        return hidden[torch.arange(len(lengths), device=hidden.device), lengths - 1], cache

    def decode_step(self, tokens: Tensor, memory: MemoryState, cache: WindowCache) -> Tensor:
        """The final hidden state (B, D) of one more token (B) of each row; the cache takes it in, in place."""
        positions = cache.lengths[:, None].clone()
        cache.lengths.add_(1)
        h, angles = self.with_positions(self.embedded(tokens[:, None]), positions)
        return self.final_norm(self.run_layers(h, angles, memory, cache, positions))[:, 0]  # type: ignore[no-any-return]

    def window(self, tokens: Tensor, memory: MemoryState, cache: WindowCache | None = None) -> Tensor:
        """Final hidden states (B, N, D) of a whole window's tokens (B, N), behind what the memory puts in front.

        The memory is read, never written. A memory of fewer rows is shared: each of its rows by as many windows,
        one after another in the batch.
        """
        prefix = self.memory_prefix(memory, tokens.shape[0])
        vectors = torch.cat([prefix, self.embedded(tokens)], dim=1)
        positions = torch.arange(vectors.shape[1], device=tokens.device)[None]
        h, angles = self.with_positions(vectors, positions)
        hidden = self.final_norm(self.run_layers(h, angles, memory, cache, positions.expand(tokens.shape[0], -1)))
        return hidden[:, prefix.shape[1] :]  # type: ignore[no-any-return]

    def memory_prefix(self, memory: MemoryState, rows: int) -> Tensor:
        """What stands in front of a window (rows, prefix_tokens, D)."""
        return torch.zeros(rows, 0, self.config.d_model, dtype=self.embedding.weight.dtype, device=self.device)

    def run_layers(
        self, h: Tensor, angles: Angles | None, memory: MemoryState, cache: WindowCache | None, positions: Tensor
    ) -> Tensor:
        """h (B, N, D) at positions (B, N) through all layers of a question's window; the memory is not written.

        With a cache, whose slots are positions, earlier tokens are taken from it and these are put into it.
        """
        mask = self.visible(cache, positions)
        for layer, block in enumerate(self.blocks):
            h = block(h, angles, mask, self.past(cache, layer, positions))
        return h
