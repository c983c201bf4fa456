"""The `delta` mechanism: an associative memory (H, P, D/H) per layer, read and then written by every token in turn.

Source: Schlag et al. 2102.11174 (delta rule, equation 24), chunked as Yang et al. 2406.06484, section 3; the memory
is read before a layer as in ARMT (2407.04841).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from model.config import ModelConfig
from model.layers.backbone import WindowCache, at_least_float32
from model.layers.blocks import Angles, Layers, make_norm
from model.layers.fused_linear import FusedLinear
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta_ops import convolved, convolved_at, delta_rule, unit_dpfp
from model.mechanisms.write_gate import WriteGate
from model.memory import MemoryState

# A segment with a score this near the threshold is selected: another batch shape may round it to the other side.
MARGIN = 1e-2

# The tokens of a chunk; longer segments have larger chunks, so that there are at most this many.
CHUNK_TOKENS, CHUNKS_MAX = 16, 16

# The initial convolution window of each head, as tokens back (from, to): "Mary went to the garden" binds its first word
# to its last, "the garden is north of the hall" also the last to the first, "gave the milk to Fred" the middle.
KEYS_LOOK_BACK = ((4, 8), (0, 2), (2, 5), (0, 4), (3, 8), (0, 8), (0, 2), (0, 8))
VALUES_LOOK_BACK = ((0, 2), (3, 8), (0, 2), (4, 8), (0, 2), (2, 4), (2, 4), (0, 8))


def _starting_taps(config: ModelConfig, windows: Sequence[tuple[int, int]], channels: int) -> Tensor:
    """Taps (J, channels) that keep a vector's length on average, a window for each head; a lone head takes the last."""
    taps = torch.zeros(config.memory_taps, config.memory_heads, channels // config.memory_heads)
    for head in range(config.memory_heads):
        first, end = windows[-1] if config.memory_heads == 1 else windows[head % len(windows)]
        first = min(first, config.memory_taps - 1)
        taps[first:end, head] = (min(end, config.memory_taps) - first) ** -0.5
    return taps.flatten(1)


class Writes(NamedTuple):
    """Tokens that write one after another: their places (..., c, s) in a window, in c chunks of s, and how far the
    write gate lets each (..., c, s).
    """

    places: Tensor
    gates: Tensor


def in_chunks(places: Tensor, gates: Tensor) -> Writes:
    """Of all places (..., T), those first that write: as many as do, in chunks of one size (2406.06484, section 3).

    How many write is looked up where that is no wait for a device, and else taken to be all. What is worked out for a
    chunk has shapes of its own: so how many chunks the other rows of a batch need changes no bit of a row.
    """
    tokens = places.shape[-1]
    size = min(max(CHUNK_TOKENS, -(-tokens // CHUNKS_MAX)), tokens)
    count = max(1, int((gates > 0).sum(dim=-1).max())) if gates.device.type == "cpu" else tokens
    width = -(-count // size) * size
    missing = max(0, width - tokens)
    padded = (pad(x[..., :width], (0, missing)) for x in (places, gates))
    return Writes(*(x.reshape(*x.shape[:-1], width // size, size) for x in padded))


def _at(x: Tensor, places: Tensor) -> Tensor:
    """x (..., N, E) at places (..., C, S): (..., C, S, E)."""
    index = places.flatten(-2)[..., None].expand(*places.shape[:-2], -1, x.shape[-1])
    return x.gather(-2, index).view(*places.shape, x.shape[-1])


class DeltaMemory(nn.Module):
    """One layer's reading and writing weights. The memory is an argument and a result.

    Each head has its own keys, strengths and part of the values: one can bind an object to its holder while another
    binds the same token's place to the person there.
    """

    def __init__(self, config: ModelConfig, norm: nn.Module) -> None:
        super().__init__()
        d, self.heads = config.d_model, config.memory_heads
        keys = self.heads * config.memory_key_dim
        self.rolls = config.memory_rolls
        self.norm = norm
        self.inputs = FusedLinear(d, {"query": keys, "key": keys, "value": d}, bias=False)
        self.widths = self.inputs.widths
        self.query_taps = nn.Parameter(_starting_taps(config, [(0, 1)], keys))
        self.key_taps = nn.Parameter(_starting_taps(config, KEYS_LOOK_BACK, keys))
        self.value_taps = nn.Parameter(_starting_taps(config, VALUES_LOOK_BACK, d))
        self.strength = nn.Linear(d, self.heads)

    def read(self, h: Tensor, memory: Tensor, past: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """h (B Q, T, D) <- h + φ(q) A, with A (B, H, P, D/H) in float32, shared by Q rows, and nothing written.

        `past` is (projections, slots): a cache (B Q, S, H d_key), changed in place at slots (B Q, T).
        """
        projected = linear(self.norm(h), self.inputs.part("query"))
        if past is None:
            mixed = convolved(projected, self.query_taps)
        else:
            cached, slots = past
            cached.scatter_(1, slots[..., None].expand_as(projected), projected)
            mixed = convolved_at(cached, slots, self.query_taps)
        queries = self._features(mixed)
        rows, (tokens, features) = memory.shape[0], queries.shape[2:]
        together = queries.view(rows, -1, self.heads, tokens, features).transpose(1, 2).flatten(2, 3)
        found = (together @ memory).view(rows, self.heads, -1, tokens, memory.shape[3]).transpose(1, 2).flatten(0, 1)
        return h + self._joined(found).to(h.dtype)

    def step(self, h: Tensor, memory: Tensor, writes: Writes, readers: int | None = None) -> tuple[Tensor, Tensor]:
        """h (B K, N, D) and the memory A (B, H, P, D/H) after each token of K windows of each row, in order, has read
        and then written.

        For a group of layers all tensors are (L, B, ...). h_t <- h_t + q_t A_(t-1): a token reads what the token before
        it wrote, also within a segment. Context tokens wrote with their own segment; here they only read, and take part
        in the keys, queries and values of the tokens after them, which are causal convolutions over the last tokens.
        β = gate * σ(w norm(h) + b), for each head.
        Only the first `readers` rows (of a group: layers) read and are returned, where the others' are not used.

        Writes depend on h alone, not on what is read: so all windows are computed at once, and only the memory goes
        from one window to the next.
        """
        x, state = self.norm(h), memory.flatten(0, -4)
        windows = x.shape[:-2].numel() // len(state)
        taps = torch.cat([self.query_taps, self.key_taps, self.value_taps], dim=-1)
        mixed = at_least_float32(convolved(self.inputs(x), taps))
        asked, written = mixed.tensor_split(self.widths[:1], dim=-1)
        keys, values = torch.split(_at(written, writes.places), self.widths[1:], dim=-1)
        # Gathered first: in a count that is no multiple of the vector width, the last sigmoids have other bits.
        scores = _at(at_least_float32(self.strength(x)), writes.places)
        strengths = torch.sigmoid(scores) * writes.gates[..., None]
        q = unit_dpfp(self._by_head(asked[:readers, ..., None, :, :], windows), self.rolls, dim=-2)
        k = unit_dpfp(self._by_head(keys, windows), self.rolls, dim=-2)
        v, beta = self._by_head(values, windows), self._by_head(strengths, windows)
        at = writes.places.reshape(-1, windows, *writes.places.shape[-2:])
        o, after = delta_rule(q.squeeze(3), k, v, beta, at, state)
        h = h[:readers]
        return h + o.reshape(h.mT.shape).mT.to(h.dtype), after.view(memory.shape)

    def _by_head(self, x: Tensor, windows: int) -> Tensor:
        """Chunks (..., C, S, H d) of so many windows of each row as (B, K, H, C, d, S): what a feature is made of
        lies together.
        """
        rows, chunks, tokens = x.shape[:-3].numel() // windows, *x.shape[-3:-1]
        width = x.shape[-1] // self.heads
        apart = x.reshape(rows, windows, chunks, tokens, self.heads, width)
        return apart.permute(0, 1, 4, 2, 5, 3).contiguous()

    def _features(self, x: Tensor) -> Tensor:
        """φ of each head's part of x (B, N, H d_key): (B, H, N, P)."""
        return unit_dpfp(at_least_float32(self._split(x)), self.rolls)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _joined(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


class DeltaTransformer(MemoryTransformer):
    """A decoder in which every layer reads an associative memory and writes to it before its block.

    Its memory: associations (B, L, H, P, D/H), and as context (B, C) the last tokens read.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.memories = Layers(DeltaMemory(config, make_norm(config)) for _ in range(config.n_layers))
        self.write_gate = WriteGate(config)
        self.apply(_initialise)
        # What layers and memories add starts small beside the embeddings; strengths begin at 0.5, the write gate open.
        for block, mechanism in zip(self.blocks, self.memories, strict=True):
            _start_small(block.attention.out, 0.3)
            _start_small(block.feed_forward.down, 0.3)
            # Queries start equal to keys and values as the identity, so that reading works before training.
            inputs = mechanism.inputs
            with torch.no_grad():
                nn.init.eye_(inputs.part("value"))
                inputs.part("query").copy_(inputs.part("key"))
            nn.init.constant_(mechanism.strength.bias, 0.0)
        nn.init.constant_(self.write_gate.score.bias, 2.0)

    def freeze(self) -> None:
        super().freeze()
        self.write_gate.tabulate(self.embedding.weight * self.config.embedding_scale)

    def initial_memory(self, batch: int) -> MemoryState:
        c = self.config
        shape = (batch, c.n_layers, c.memory_heads, c.memory_rows, c.d_model // c.memory_heads)
        start = torch.full((batch, c.context_tokens), c.special.start, dtype=torch.int64, device=self.device)
        associations = torch.zeros(shape, dtype=self.sums, device=self.device)
        return MemoryState({"associations": associations, "context": start}, bounds={"context": (0, c.vocab_size - 1)})

    def windows(self, segments: Tensor, memory: MemoryState) -> Tensor:
        text = torch.cat([memory["context"], segments.reshape(1, -1)], dim=1)[0]
        return text.unfold(0, memory["context"].shape[1] + segments.shape[1], segments.shape[1])

    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        return self.read_windows(torch.cat([memory["context"], segment], dim=1)[:, None], memory)

    def read_windows(self, windows: Tensor, memory: MemoryState, counts: Tensor | None = None) -> MemoryState:
        """All windows pass a layer at once; their writes are made there in order."""
        rows, each, size = windows.shape
        context = memory["context"].shape[1]
        flat = windows.flatten(0, 1)
        h, angles = self.placed_first(self.embedded(flat))
        places, gates = self.writing(flat, context)
        last = torch.full((rows,), each - 1, device=windows.device) if counts is None else counts - 1
        if counts is not None:
            gates = gates * (torch.arange(each, device=windows.device) <= last[:, None]).view(-1, 1)
        writes = in_chunks(places, gates)
        written = []
        for layer, before in enumerate(memory["associations"].unbind(1)):
            # The last layer's hidden states are not used: only its memory is kept.
            if layer:
                h = self.blocks[layer - 1](h, angles)
            readers = 0 if layer == len(self.memories) - 1 else None
            h, after = self.memories[layer].step(h, before, writes, readers)
            written.append(after)
        behind = windows[torch.arange(rows, device=windows.device), last, size - context :]
        return MemoryState({"associations": torch.stack(written, dim=1), "context": behind})

    def write_scores(self, windows: Tensor) -> Tensor:
        """The write gate's logit (B, N) of each token of windows (B, N)."""
        return self.write_gate(self.embedded(windows))  # type: ignore[no-any-return]

    def gates(self, windows: Tensor, first: int = 0) -> Tensor:
        """How far the write gate opens all memories to the tokens of windows (B, N) behind the first; zero is shut."""
        return self.write_gate.gate(self._scores(windows, first))

    def writing(self, windows: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """The places of all tokens of windows (B, N) behind the first, those that may write before the others, and how
        far the write gate lets each.
        """
        gates = self.gates(windows, first)
        order = (gates == 0).to(torch.uint8).argsort(dim=1, stable=True)
        return first + order, gates.gather(1, order)

    def _scores(self, windows: Tensor, first: int) -> Tensor:
        """Scores (B, N - first), from the table where there is one."""
        if self.write_gate.table is not None:
            return self.write_gate.table_scores(windows, first)
        return self.write_scores(windows)[:, first:]

    def select_segments(self, segments: Tensor, memory: MemoryState) -> list[int]:
        """Those with a token that the write gate may let through; the others change no association, bit for bit."""
        scores = self._scores(self.windows(segments, memory), memory["context"].shape[1])
        return (scores > self.write_gate.threshold_score - MARGIN).any(dim=1).nonzero()[:, 0].tolist()

    def skip(self, segments: Tensor, memory: MemoryState) -> MemoryState:
        # A context is never longer than a segment.
        context = segments[-1:, segments.shape[1] - memory["context"].shape[1] :]
        return MemoryState({**memory.tensors, "context": context})

    def memory_prefix(self, memory: MemoryState, rows: int) -> Tensor:
        context = memory["context"]
        return self.embedded(context.repeat_interleave(rows // context.shape[0], dim=0))

    def run_layers(
        self, h: Tensor, angles: Angles | None, memory: MemoryState, cache: WindowCache | None, positions: Tensor
    ) -> Tensor:
        mask = self.visible(cache, positions)
        associations = memory["associations"].unbind(1)
        for layer, (block, mechanism) in enumerate(zip(self.blocks, self.memories, strict=True)):
            asked = None if cache is None else (cache["queries"][layer], positions)
            h = mechanism.read(h, associations[layer], asked)
            h = block(h, angles, mask, self.past(cache, layer, positions))
        return h

    def empty_cache(self, batch: int, slots: int) -> WindowCache:
        """Keys and values, and the memory's queries before φ for their convolution."""
        c, cache = self.config, super().empty_cache(batch, slots)
        queries = self._zeros(c.n_layers, batch, slots, c.memory_heads * c.memory_key_dim)
        return WindowCache({**cache.tensors, "queries": queries}, cache.lengths)


def _initialise(module: nn.Module) -> None:
    """Matrices that keep a vector's length, no biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


def _start_small(linear: nn.Linear, scale: float) -> None:
    nn.init.normal_(linear.weight, std=scale * linear.in_features**-0.5)
