"""The batch of running answers: the KV cache and the memory of each stay in its row from step to step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from model.layers.backbone import WindowCache
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState, padded
from server.engine.scheduler import AnswerWork


class DecodeBatch:
    """Rows of one batch. A new answer takes a free row; the batch is built again only when the answers no longer fit.

    Answers against one memory share it: a step reads it once for all of them. An answer may sit out steps; its KV cache
    is kept outside of the batch meanwhile. A step that fails may be taken again, with any of its answers. Not safe for
    use by several threads.
    """

    def __init__(self, model: MemoryTransformer) -> None:
        self._model = model
        self._memories: dict[AnswerWork, MemoryState] = {}
        # Of the answers that have no row.
        self._caches: dict[AnswerWork, WindowCache] = {}
        self._rows: dict[AnswerWork, int] = {}
        self._free: list[int] = []
        self._memory: MemoryState | None = None
        self._cache: WindowCache | None = None
        # The cache's lengths before the last step.
        self._lengths: Tensor | None = None

    def add(self, work: AnswerWork, memory: MemoryState, cache: WindowCache) -> None:
        """An answer whose prompt has been prefilled into `cache`; both are of batch 1."""
        self._memories[work], self._caches[work] = memory, cache

    def drop(self, work: AnswerWork) -> None:
        """Frees all state of an answer; does nothing when there is none."""
        self._memories.pop(work, None)
        self._caches.pop(work, None)
        if work in self._rows:
            self._free.append(self._rows.pop(work))
        if not self._memories:
            self._free, self._memory, self._cache, self._lengths = [], None, None, None

    def decode_step(self, works: Sequence[AnswerWork], tokens: Sequence[int]) -> Tensor:
        """The final hidden states (B, D) of `tokens`, the last of each answer, which are added to the KV caches.

        Where this raises, or no token can be chosen from what it returns, `take_back` must follow.
        """
        self._lengths = None
        decoded = set(works)
        self._sit_out([work for work in self._rows if work not in decoded])
        if not self._place([work for work in works if work not in self._rows]):
            self._build(works)
        assert self._memory is not None
        assert self._cache is not None
        in_rows = [0] * (len(self._rows) + len(self._free))
        for work, token in zip(works, tokens, strict=True):
            in_rows[self._rows[work]] = token
        if self._free:
            # The cache of a free row would grow without end.
            self._cache.lengths[self._free] = 0
        self._lengths = self._cache.lengths.clone()
        hidden = self._model.decode_step(torch.tensor(in_rows, device=self._model.device), self._memory, self._cache)
        return hidden[[self._rows[work] for work in works]]

    def take_back(self) -> None:
        """Takes the last step's tokens out of the KV caches: what stands in their slots is overwritten before use."""
        if self._cache is not None and self._lengths is not None:
            self._cache, self._lengths = replace(self._cache, lengths=self._lengths), None

    def _sit_out(self, works: Sequence[AnswerWork]) -> None:
        """Frees the rows of these answers and keeps their caches."""
        for work in works:
            assert self._cache is not None
            self._caches[work] = self._cache.row(self._rows[work])
            self._free.append(self._rows.pop(work))

    def _place(self, works: Sequence[AnswerWork]) -> bool:
        """Gives each a free row; False where they do not fit, or where half of the rows would do."""
        rows, taken = len(self._rows) + len(self._free), len(self._rows) + len(works)
        if self._memory is None or self._cache is None or taken > rows or 2 * taken <= rows:
            return False
        # A batch of one row may be an answer's own memory and cache, which must not be overwritten.
        if works and (rows == 1 or any(not self._cache.has_room_for(self._caches[work]) for work in works)):
            return False
        shared = self._memory.batch < rows
        if shared and any(self._memories[work] is not self._memory for work in works):
            return False
        for work in works:
            self._cache.put(self._free[-1], self._caches[work])
            if not shared:
                self._memory.put(self._free[-1], self._memories[work])
            del self._caches[work]
            self._rows[work] = self._free.pop()
        return True

    def _build(self, works: Sequence[AnswerWork]) -> None:
        """A new batch of these answers."""
        self._sit_out(list(self._rows))
        first, rows = self._memories[works[0]], padded(works)
        shared = all(self._memories[work] is first for work in works)
        memory = first if shared else MemoryState.stack([self._memories[work] for work in rows])
        self._memory, self._cache = memory, WindowCache.stack([self._caches[work] for work in rows])
        for work in works:
            del self._caches[work]
        self._rows = {work: row for row, work in enumerate(works)}
        self._free = list(range(len(works), len(rows)))
