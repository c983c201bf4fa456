"""The contract of every memory transformer: it reads segments into a memory, and answers questions from one.

The module holds weights only. A memory is an argument and a result, never an attribute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.layers.backbone import Backbone, WindowCache, slots_for
from model.layers.blocks import Angles
from model.memory import MemoryState


class Source(NamedTuple):
    """A range of the text that an answer is drawn from, in bytes as they were sent; a higher score is better."""

    offset: int
    size: int
    text: str
    score: float


class Recall(NamedTuple):
    """What a question finds in a memory.

    Its window has `tokens` in front of the tail, and the window's layers read `memory`. `sources` come best first;
    `found` says whether the text has the answer, None where the mechanism cannot tell.
    """

    memory: MemoryState
    tokens: tuple[int, ...] = ()
    sources: tuple[Source, ...] = ()
    found: bool | None = None


class HeldText(NamedTuple):
    """The bytes of the text that a memory holds from an offset on, up to a hole.

    `next_offset` is where the text that it holds goes on behind that hole; None without one, or where nothing goes on.
    """

    data: bytes
    next_offset: int | None = None


class MemoryTransformer(Backbone, ABC):
    """A decoder with a memory. A mechanism defines what a memory is, how a segment is read and how a question uses it.

    A window is what attention covers at once: `config.prefix_tokens` positions of the memory, then tokens.
    """

    def freeze(self) -> None:
        """Precomputes what depends on the weights alone. After it they must not change or move to another device."""

    def use_vocabulary(self, pieces: Sequence[bytes]) -> None:
        """Gives the model the bytes of each token, for a mechanism that reads tokens as text."""

    @property
    def document_fill(self) -> int | None:
        """The token, of no bytes, that fills up the last segment of a document's text.

        None where a mechanism reads on: there a document's first tokens share a segment with the text before it.
        """
        return None

    @abstractmethod
    def initial_memory(self, batch: int) -> MemoryState:
        """The memory of `batch` rows that have read nothing."""

    @property
    def memory_bytes_max(self) -> int:
        """The bytes that the memory of one row can grow to."""
        return self.initial_memory(1).nbytes

    def must_be_of_a_text(self, memory: MemoryState) -> None:
        """Raises `UnsoundMemory` for a memory of one row that no text leads to, though `restored` has let it through.

        For files from outside: it looks at everything that was kept.
        """

    @abstractmethod
    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        """The memory after reading one segment (B, T) of token ids per row; `memory` itself is left as it was."""

    def windows(self, segments: Tensor, memory: MemoryState) -> Tensor:
        """The windows of segments (S, T) after a memory of one row: (S, N)."""
        return segments

    def read_windows(self, windows: Tensor, memory: MemoryState, counts: Tensor | None = None) -> MemoryState:
        """The memory after reading K windows (B, K, N) of each row in order, or only the first `counts` (B) of them.

        Counts are at least one. Between two windows there may be segments that are not selected.
        """
        for index, window in enumerate(windows.unbind(1)):
            after = self.read(window, memory)
            memory = after if counts is None else MemoryState.where(index < counts, after, memory)
        return memory

    def select_segments(self, segments: Tensor, memory: MemoryState) -> list[int]:
        """The indices of those segments (S, T) after a memory of one row that the layers must read."""
        return list(range(len(segments)))

    def skip(self, segments: Tensor, memory: MemoryState) -> MemoryState:
        """The memory, of one row, after segments (S, T) none of which is selected."""
        return memory

    def without(self, memory: MemoryState, ranges: Sequence[tuple[int, int]]) -> MemoryState | None:
        """The memory, of one row, with nothing of the text in these ranges of bytes; None where that is impossible.

        The ranges are those of documents whose end has been closed (`document_fill`).
        """
        return None

    def held_text(self, memory: MemoryState, tail: bytes, offset: int, size: int) -> HeldText | None:
        """The text that a memory of one row and the tail behind it hold from `offset` on, at most `size` bytes.

        None where the mechanism holds no text. The cost does not grow with the text.
        """
        return None

    def recall(self, question: Sequence[int], memory: MemoryState, tail: Sequence[int]) -> Recall:
        """What a question, as its tokens, finds in a memory of one row and the tail behind it; no layer runs."""
        return Recall(memory)

    def prefill(self, prompts: Tensor, lengths: Tensor, memory: MemoryState, room: int) -> tuple[Tensor, WindowCache]:
        """The final hidden state (B, D) of each prompt's last token, and the cache, with `room` more slots.

        prompts (B, N) are padded on the right, lengths (B) are their numbers of tokens, each >= 1.
        """
        prefix = self.config.prefix_tokens
        cache = self.empty_cache(prompts.shape[0], slots_for(prefix + prompts.shape[1] + room))
        hidden = self.window(prompts, memory, cache)
        # Slots of padding are written too, and overwritten before any token attends to them.
        cache.lengths.copy_(prefix + lengths)
        return hidden[torch.arange(len(lengths), device=hidden.device), lengths - 1], cache

    def decode_step(self, tokens: Tensor, memory: MemoryState, cache: WindowCache) -> Tensor:
        """The final hidden state (B, D) of one more token (B) of each row; the cache is extended in place."""
        positions = cache.lengths[:, None].clone()
        cache.lengths.add_(1)
        h, angles = self.with_positions(self.embedded(tokens[:, None]), positions)
        return self.final_norm(self.run_layers(h, angles, memory, cache, positions))[:, 0]  # type: ignore[no-any-return]

    def window(self, tokens: Tensor, memory: MemoryState, cache: WindowCache | None = None) -> Tensor:
        """Final hidden states (B, N, D) of a window's tokens (B, N), after the memory's prefix.

        The memory is read, never written. A memory of fewer rows is shared: each of its rows serves equally many
        consecutive windows of the batch.
        """
        prefix = self.memory_prefix(memory, tokens.shape[0])
        vectors = torch.cat([prefix, self.embedded(tokens)], dim=1)
        positions = torch.arange(vectors.shape[1], device=tokens.device)[None]
        h, angles = self.with_positions(vectors, positions)
        hidden = self.final_norm(self.run_layers(h, angles, memory, cache, positions.expand(tokens.shape[0], -1)))
        return hidden[:, prefix.shape[1] :]  # type: ignore[no-any-return]

    def memory_prefix(self, memory: MemoryState, rows: int) -> Tensor:
        """The vectors (rows, prefix_tokens, D) that the memory puts before a window."""
        return torch.zeros(rows, 0, self.config.d_model, dtype=self.embedding.weight.dtype, device=self.device)

    def run_layers(
        self, h: Tensor, angles: Angles | None, memory: MemoryState, cache: WindowCache | None, positions: Tensor
    ) -> Tensor:
        """h (B, N, D) at positions (B, N) through all layers of a question's window; the memory is not written.

        With a cache, whose slots are positions, attention covers the earlier tokens in it, and these tokens are added.
        """
        mask = self.visible(cache, positions)
        for layer, block in enumerate(self.blocks):
            h = block(h, angles, mask, self.past(cache, layer, positions))
        return h
