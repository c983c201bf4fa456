"""The `episodic` mechanism: a pretrained decoder that reads again what a question finds in the text.

No layer runs while text is read: a segment is kept as tokens and terms. Kin: Landmark attention 2305.16300, MemLong
2408.16967, EM-LLM 2407.09450; the order of the text is kept in the window as in EM-LLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.config import ModelConfig
from model.layers.backbone import WindowCache
from model.mechanisms.base import HeldText, MemoryTransformer, Recall
from model.mechanisms.episodic import forgetting
from model.mechanisms.episodic.block import Block, Layout
from model.mechanisms.episodic.finding import Span, Text, find
from model.mechanisms.episodic.held_text import held_text
from model.mechanisms.episodic.memory import Episodes, EpisodicMemory
from model.mechanisms.episodic.terms import as_array, counted, joined
from model.mechanisms.episodic.vocabulary import Vocabulary
from model.mechanisms.episodic.window import merged, pieces, sources_of, window_tokens
from model.memory import MemoryState, UnsoundMemory

# A full memory is cut down to this share of its capacity at once.
KEPT_SHARE = 15 / 16


class EpisodicTransformer(MemoryTransformer):
    """A decoder whose memory is the text itself, as tokens, and terms by which a question finds its places."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.layout = Layout(config.segment_tokens, config.vocab_size)
        self.vocabulary = Vocabulary([b""] * config.vocab_size)
        self._nothing = _nothing(self.device)

    def freeze(self) -> None:
        super().freeze()
        self._nothing = _nothing(self.device)

    def use_vocabulary(self, pieces: Sequence[bytes]) -> None:
        self.vocabulary = Vocabulary([*pieces, *[b""] * (self.config.vocab_size - len(pieces))])

    @property
    def document_fill(self) -> int | None:
        return self.vocabulary.fill

    def initial_memory(self, batch: int) -> EpisodicMemory:
        return EpisodicMemory([Episodes()] * batch, self.layout)

    @property
    def memory_bytes_max(self) -> int:
        return self._episodes_max * self.layout.episode_bytes_max + self.initial_memory(1).nbytes

    @property
    def _episodes_max(self) -> int:
        return max(2, self.config.capacity_tokens // self.config.segment_tokens)

    def must_be_of_a_text(self, memory: MemoryState) -> None:
        """An episode has no more bytes than there are up to the next one, and the last up to the text's end."""
        assert isinstance(memory, EpisodicMemory)
        [episodes] = memory.rows
        begins = [begin for block in episodes.blocks for begin in block.offsets.tolist()]
        ends = [*begins[1:], episodes.read_bytes]
        sizes = [
            size
            for block in episodes.blocks
            for size in self.vocabulary.sizes(block.tokens.numpy()).sum(axis=1).tolist()
        ]
        if any(begin + size > end for begin, size, end in zip(begins, sizes, ends, strict=False)):
            raise UnsoundMemory("an episode has more bytes than there are up to the next one")

    def read(self, segment: Tensor, memory: MemoryState) -> EpisodicMemory:
        assert isinstance(memory, EpisodicMemory)
        rows = [self._read(row[None], episodes) for row, episodes in zip(segment, memory.rows, strict=True)]
        return EpisodicMemory(rows, self.layout)

    def select_segments(self, segments: Tensor, memory: MemoryState) -> list[int]:
        """None: no layer has to run."""
        return []

    def skip(self, segments: Tensor, memory: MemoryState) -> EpisodicMemory:
        assert isinstance(memory, EpisodicMemory)
        return EpisodicMemory([self._read(segments, memory.rows[0])], self.layout)

    def without(self, memory: MemoryState, ranges: Sequence[tuple[int, int]]) -> EpisodicMemory:
        """No episode has text of two documents, so those in the ranges go as a whole."""
        assert isinstance(memory, EpisodicMemory)
        return EpisodicMemory([episodes.without(ranges) for episodes in memory.rows], self.layout)

    def held_text(self, memory: MemoryState, tail: bytes, offset: int, size: int) -> HeldText:
        assert isinstance(memory, EpisodicMemory)
        [episodes] = memory.rows
        return held_text(episodes, tail, offset, size, self.vocabulary)

    def recall(self, question: Sequence[int], memory: MemoryState, tail: Sequence[int]) -> Recall:
        """Everything that was read where it fits into `recall_tokens`, else the places that were found."""
        assert isinstance(memory, EpisodicMemory)
        [episodes] = memory.rows
        size, budget = self.config.segment_tokens, self.config.recall_tokens
        text, whole, gap = self._with_tail(episodes, tail), len(episodes) * size, self.config.special.gap
        if not len(text):
            return Recall(self._nothing, found=False)
        known = Text(text, self.vocabulary, whole + len(tail), len(tail))
        # The window has room for the marks behind as many episodes as fit. A short text is read again whole, and what
        # fits an episode counts as its sources.
        room = budget + budget // size * len(gap)
        finding = find(known, self.vocabulary.text(question), room if whole > budget else size, len(gap))
        spans = [*pieces(text, finding.spans, self.vocabulary)]
        places = [span for span in spans if span.begin < whole] if whole > budget else [*self._episodes(whole)]
        tokens = self._window(text, places, whole)
        # Marks where text was forgotten may leave less room.
        while len(tokens) > room:
            places.pop()
            tokens = self._window(text, places, whole)
        # A place that was left out again is no source.
        read = [*places, *(span for span in spans if span.begin >= whole)] if whole > budget else spans
        sources = sources_of(text, merged(text, read, self.vocabulary), self.vocabulary)
        return Recall(self._nothing, tokens, sources, finding.found)

    def _window(self, text: Episodes, places: Sequence[Span], whole: int) -> tuple[int, ...]:
        return window_tokens(
            text, merged(text, places, self.vocabulary), whole, self.config.special.gap, self.vocabulary
        )

    def _episodes(self, whole: int) -> Iterator[Span]:
        """Each episode as a span, the newest first."""
        size = self.config.segment_tokens
        return (Span(begin, begin + size, 0.0) for begin in range(whole - size, -1, -size))

    @staticmethod
    def visible(cache: WindowCache | None, positions: Tensor) -> Tensor | None:
        """None for a window too: it begins at position 0, so that nothing in the cache is in front of its tokens.

        Attention by a mask over all slots takes about twice as long as causal attention.
        """
        return MemoryTransformer.visible(cache, positions) if positions.shape[1] == 1 else None

    def _read(self, segments: Tensor, episodes: Episodes) -> Episodes:
        """The episodes after segments (S, T) of one text. What is forgotten does not depend on how they are cut."""
        rows, limit = segments.tolist(), self._episodes_max
        while rows:
            if len(episodes) >= limit:
                episodes = episodes.kept(forgetting.keep(episodes, int(limit * KEPT_SHARE), self.vocabulary.fill))
            some, rows = rows[: limit - len(episodes)], rows[limit - len(episodes) :]
            episodes = self._added(some, episodes)
        return episodes

    def _added(self, rows: Sequence[Sequence[int]], episodes: Episodes) -> Episodes:
        """With the episodes of these segments, the last of which may be short: its tokens are filled up with zeros."""
        last = episodes.tokens_of(len(episodes) - 1).tolist() if len(episodes) else []
        before = self._going_on(last)
        offsets, terms, ends = [episodes.read_bytes], list[int](), list[int]()
        for row in rows:
            text = self.vocabulary.text(row)
            terms += counted(joined(before, text))
            ends.append(len(terms))
            offsets.append(offsets[-1] + self.vocabulary.size(row))
            before = self._going_on(row)
        filled = [[*row, *[0] * (self.config.segment_tokens - len(row))] for row in rows]
        block = Block(
            torch.tensor(filled).to(self.layout.token_type),
            torch.tensor(offsets[:-1]),
            torch.from_numpy(as_array(terms)),
            torch.tensor(ends, dtype=torch.int32),
        )
        return episodes.added(block, offsets[-1] - offsets[0])

    def _going_on(self, episode: Sequence[int]) -> str:
        """The text of an episode, with whose last word the next one may begin; none where a document ends."""
        return "" if self.vocabulary.ends_document(episode) else self.vocabulary.text(episode)

    def _with_tail(self, episodes: Episodes, tail: Sequence[int]) -> Episodes:
        """The tail as further episodes: with the tokens of what is pending it may be longer than a segment."""
        size = self.config.segment_tokens
        return self._added([tail[at : at + size] for at in range(0, len(tail), size)], episodes) if tail else episodes


def _nothing(device: torch.device) -> MemoryState:
    """The memory that the layers of a window read: all answers share it."""
    return MemoryState({"nothing": torch.empty(1, 0, device=device)})
