"""The `delta` mechanism: an associative memory per layer, read and then written by every token in turn.

It knows associations, their layers and the glance before them, and nothing of sessions or texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.backbone import WindowCache, at_least_float32
from model.blocks import Angles, make_norm
from model.config import ModelConfig
from model.glance import Glance
from model.mechanisms.associative import convolved, convolved_at, delta_updates, unit_dpfp
from model.memory import MemoryState
from model.transformer import MemoryTransformer

# Scores so near the threshold are read in earnest: another batch shape may round them to its other side.
MARGIN = 1e-2

# Where heads begin to look, as tokens back from and to: "Mary went to the garden" binds what comes first to what comes
# last, "the garden is north of the hall" also the other way round, "gave the milk to Fred" what stands between.
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


class DeltaMemory(nn.Module):
    """One layer's reading and writing weights. It holds no memory: that comes in and goes out as a value.

    Heads have keys, strengths and a part of the values of their own: one binds a thing to who holds it while another
    binds the same token's place to who is there.
    """

    def __init__(self, config: ModelConfig, norm: nn.Module) -> None:
        super().__init__()
        d, self.heads = config.d_model, config.memory_heads
        keys = self.heads * config.memory_key_dim
        self.rolls = config.memory_rolls
        self.norm = norm
        self.query = nn.Linear(d, keys, bias=False)
        self.query_taps = nn.Parameter(_starting_taps(config, [(0, 1)], keys))
        self.key = nn.Linear(d, keys, bias=False)
        self.key_taps = nn.Parameter(_starting_taps(config, KEYS_LOOK_BACK, keys))
        self.value = nn.Linear(d, d, bias=False)
        self.value_taps = nn.Parameter(_starting_taps(config, VALUES_LOOK_BACK, d))
        self.strength = nn.Linear(d, self.heads)

    def read(self, h: Tensor, memory: Tensor, past: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """h (B Q, T, D) <- h + φ(q) A, with A (B, H, P, D/H) in float32, shared by Q rows, and nothing written.

        `past` is (projections, slots): a cache (B Q, S, H d_key), changed in place at slots (B Q, T).
        """
        projected = self.query(self.norm(h))
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

    def step(self, h: Tensor, memory: Tensor, gate: Tensor, context: int) -> tuple[Tensor, Tensor]:
        """h and the memory A (B, H, P, D/H) after T tokens have each read and then written.

        h (B, context + T, D), gate (B, T). Token t reads what the tokens before it have left:
        h_t <- h_t + q_t A_(t-1), A_t = A_(t-1) + k_t u_tᵀ, so that it does not matter to a fact in which segment
        an earlier one stood. The context has written with its own segment; here it reads, and lends itself to the keys,
        queries and values behind it: they are causal convolutions over the last tokens, so that what is said of
        somebody finds the name said just before. β = gate * σ(w norm(h) + b), for each head.
        """
        x = self.norm(h)
        queries = self._features(convolved(self.query(x), self.query_taps))
        keys = self._features(convolved(self.key(x), self.key_taps))[:, :, context:]
        values = self._split(at_least_float32(convolved(self.value(x), self.value_taps)))[:, :, context:]
        # Contiguous: of a strided view with several rows, torch takes the products by another routine.
        heard = x[:, context:].contiguous()
        strengths = gate[..., None] * torch.sigmoid(at_least_float32(self.strength(heard)))
        updates = delta_updates(memory, keys, values, strengths.transpose(1, 2)[..., None])
        recent = (queries[:, :, context:] @ keys.transpose(-1, -2)).tril(-1) @ updates
        found = queries @ memory + nn.functional.pad(recent, (0, 0, context, 0))
        return h + self._joined(found).to(h.dtype), memory + keys.transpose(-1, -2) @ updates

    def _features(self, x: Tensor) -> Tensor:
        """φ of each head's part of x (B, N, H d_key): (B, H, N, P)."""
        return unit_dpfp(at_least_float32(self._split(x)), self.rolls)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _joined(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


class DeltaTransformer(MemoryTransformer):
    """A decoder whose every layer reads an associative memory first, and writes to it before it goes on.

    Its memory: associations (B, L, H, P, D/H), and as context (B, C) the last tokens read.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.memories = nn.ModuleList(DeltaMemory(config, make_norm(config)) for _ in range(config.n_layers))
        self.glance = Glance(config)
        self.apply(_initialise)
        # What layers and memories add starts small beside the embeddings; all gates are open, half-heartedly.
        for block, mechanism in zip(self.blocks, self.memories, strict=True):
            _start_small(block.attention.out, 0.3)  # type: ignore[union-attr, arg-type]
            _start_small(block.feed_forward.down, 0.3)  # type: ignore[union-attr, arg-type]
            # What is asked for is found, and what is found is said, before anything is learned.
            nn.init.eye_(mechanism.value.weight)  # type: ignore[union-attr, arg-type]
            mechanism.query.weight.data.copy_(mechanism.key.weight)  # type: ignore[union-attr, operator, arg-type]
            nn.init.constant_(mechanism.strength.bias, 0.0)  # type: ignore[union-attr, arg-type]
        nn.init.constant_(self.glance.score.bias, 2.0)

    def settle(self) -> None:
        self.glance.tabulate(self.embedding.weight * self.config.embedding_scale)

    def initial_memory(self, batch: int) -> MemoryState:
        c = self.config
        shape = (batch, c.n_layers, c.memory_heads, c.memory_rows, c.d_model // c.memory_heads)
        start = torch.full((batch, c.context_tokens), c.special.start, dtype=torch.int64, device=self.device)
        return MemoryState({"associations": torch.zeros(shape, dtype=self.sums, device=self.device), "context": start})

    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        context = memory["context"]
        window = torch.cat([context, segment], dim=1)
        positions = torch.arange(window.shape[1], device=window.device)[None]
        h, angles = self.placed(self.embedded(window), positions)
        gate = self.gates(window)[:, context.shape[1] :]
        written = []
        for block, mechanism, before in zip(self.blocks, self.memories, memory["associations"].unbind(1), strict=True):
            h, after = mechanism.step(h, before, gate, context.shape[1])  # type: ignore[operator]
            h = block(h, angles)
            written.append(after)
        return MemoryState(
            {"associations": torch.stack(written, dim=1), "context": window[:, window.shape[1] - context.shape[1] :]}
        )

    def glance_scores(self, windows: Tensor) -> Tensor:
        """How much each token of windows (B, N) looks worth remembering, as the logit of the gate."""
        return self.glance(self.embedded(windows))  # type: ignore[no-any-return]

    def gates(self, windows: Tensor) -> Tensor:
        """How far the glance opens every layer's memory to each token of windows (B, N); zero is shut."""
        return self.glance.gate(self.glance_scores(windows))

    def loud(self, segments: Tensor, memory: MemoryState) -> list[int]:
        """Those that may hold a token that the glance lets through; the others leave every association, bit for bit."""
        context = memory["context"]
        size = context.shape[1]
        text = torch.cat([context, segments.reshape(1, -1)], dim=1)[0]
        windows = text.unfold(0, size + segments.shape[1], segments.shape[1])
        tabulated = self.glance.table is not None
        scores = self.glance.skim(windows, size) if tabulated else self.glance_scores(windows)[:, size:]
        return (scores > self.glance.threshold_score - MARGIN).any(dim=1).nonzero()[:, 0].tolist()

    def passed(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        # A context is never longer than a segment.
        context = segment[:, segment.shape[1] - memory["context"].shape[1] :]
        return MemoryState({**memory.tensors, "context": context})

    def lead(self, memory: MemoryState, rows: int) -> Tensor:
        context = memory["context"]
        return self.embedded(context.repeat_interleave(rows // context.shape[0], dim=0))

    def through(
        self, h: Tensor, angles: Angles | None, memory: MemoryState, cache: WindowCache | None, positions: Tensor
    ) -> Tensor:
        mask = self.visible(cache, positions)
        associations = memory["associations"].unbind(1)
        for layer, (block, mechanism) in enumerate(zip(self.blocks, self.memories, strict=True)):
            asked = None if cache is None else (cache["queries"][layer], positions)
            h = mechanism.read(h, associations[layer], asked)  # type: ignore[operator]
            h = block(h, angles, mask, self.past(cache, layer, positions))
        return h

    def empty_cache(self, batch: int, slots: int) -> WindowCache:
        """Beside keys and values the memory's queries before φ, for their convolution."""
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
