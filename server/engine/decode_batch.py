"""Answers written side by side: each keeps a row for its memory and its window from token to token.

It knows the model and answers at work, and nothing of how their tokens are chosen or who is to be written on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.layers.backbone import WindowCache
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.padding import padded
from server.engine.scheduler import AnswerWork


class DecodeBatch:
    """Rows of one batch. Who comes takes a free one; all are seated anew only when they no longer fit.

    Answers against one memory share it: it is looked at once a step for all of them.
    """

    def __init__(self, model: MemoryTransformer) -> None:
        self._model = model
        self._rows: dict[AnswerWork, int] = {}
        self._free: list[int] = []
        self._memory: MemoryState | None = None
        self._cache: WindowCache | None = None

    def decode_step(self, works: Sequence[AnswerWork]) -> Tensor:
        """The final hidden state (B, D) of each answer's last token, which its window takes in."""
        self._let_go(works)
        if not self._seated([work for work in works if work not in self._rows]):
            self._seat_anew(works)
        assert self._memory is not None
        assert self._cache is not None
        tokens = [0] * (len(self._rows) + len(self._free))
        for work, row in self._rows.items():
            tokens[row] = work.tokens[-1]
        if self._free:
            # Nobody's window would grow without end.
            self._cache.lengths[self._free] = 0
        hidden = self._model.decode_step(torch.tensor(tokens, device=self._model.device), self._memory, self._cache)
        return hidden[[self._rows[work] for work in works]]

    def clear(self) -> None:
        """Nobody is written on: no memory is held for it."""
        self._let_go(())
        self._free, self._memory, self._cache = [], None, None

    def _let_go(self, works: Sequence[AnswerWork]) -> None:
        """Frees the rows of all others; who is not finished takes its window along."""
        staying = set(works)
        for work in [work for work in self._rows if work not in staying]:
            row = self._rows.pop(work)
            if work.finish_reason is None and self._cache is not None:
                work.cache = self._cache.row(row)
            self._free.append(row)

    def _seated(self, works: Sequence[AnswerWork]) -> bool:
        """Gives each a free row; false where they do not fit, or where half of the rows would do."""
        rows, taken = len(self._rows) + len(self._free), len(self._rows) + len(works)
        if self._memory is None or self._cache is None or taken > rows or 2 * taken <= rows:
            return False
        # A batch of one may be somebody's own memory and window.
        if works and (rows == 1 or any(not self._cache.has_room_for(work.cache) for work in works)):
            return False
        shared = self._memory.batch < rows
        if shared and any(work.memory is not self._memory for work in works):
            return False
        for work in works:
            row = self._rows[work] = self._free.pop()
            self._cache.put(row, work.cache)
            if not shared:
                self._memory.put(row, work.memory)
            work.cache = None
        return True

    def _seat_anew(self, works: Sequence[AnswerWork]) -> None:
        for work, row in self._rows.items():
            assert self._cache is not None
            work.cache = self._cache.row(row)
        rows = padded(works)
        first = works[0].memory
        one = all(work.memory is first for work in works)
        self._memory = first if one else MemoryState.stack([work.memory for work in rows])
        self._cache = WindowCache.stack([work.cache for work in rows])
        self._rows = {work: row for row, work in enumerate(works)}
        self._free = list(range(len(works), len(rows)))
        for work in works:
            work.cache = None
