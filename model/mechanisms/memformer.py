"""The `memformer` mechanism: an encoder that reads slots in every layer, and slots that attend to what it has read.

Source: Wu et al. 2010.06891, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig
from model.layers.backbone import WindowCache, slots_for
from model.layers.blocks import Angles, Block, Layers, Past, make_norm
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState


class CrossAttention(nn.Module):
    """Attention of a window to vectors of another kind, without positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.query = nn.Linear(config.d_model, self.heads * self.head_dim, bias=config.bias)
        self.key = nn.Linear(config.d_model, self.kv_heads * self.head_dim, bias=config.bias)
        self.value = nn.Linear(config.d_model, self.kv_heads * self.head_dim, bias=config.bias)
        self.out = nn.Linear(self.heads * self.head_dim, config.d_model, bias=config.bias)

    def keys_and_values(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, kv_heads, S, head_dim) of vectors (B, S, D)."""
        return self._split(self.key(vectors)), self._split(self.value(vectors))

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """What h (B, N, D) finds among keys and values where the mask, which broadcasts to (B, 1, N, S), is true."""
        found = F.scaled_dot_product_attention(
            self._split(self.query(h)), keys, values, attn_mask=mask, enable_gqa=self.heads != self.kv_heads
        )
        return self.out(found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], -1, self.head_dim).transpose(1, 2)


class CrossReader(nn.Module):
    """Cross-attention behind a norm of its own, added to what it reads for."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm, self.attention = make_norm(config), CrossAttention(config)

    def forward(self, h: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """h (B, N, D) and what it finds among keys and values (B, kv_heads, S, head_dim) that the mask leaves."""
        return h + self.attention(self.norm(h), keys, values, mask)  # type: ignore[no-any-return]


class SlotWriter(nn.Module):
    """The last encoder layer's writing: slot attention, then forgetting by biased normalisation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.d_model
        self.heads, self.temperature = config.n_heads, config.slot_temperature
        self.norm = make_norm(config)
        self.query = nn.Linear(d, d, bias=False)
        self.key = nn.Linear(d, d, bias=False)
        self.value = nn.Linear(d, d, bias=False)
        self.bias = nn.Parameter(torch.randn(config.memory_tokens, d))

    def initial_slots(self, batch: int) -> Tensor:
        """m_i = v_i / |v_i|, (B, k, D)   (equation 10)."""
        return F.normalize(self.bias, dim=-1).expand(batch, -1, -1).clone()

    def forward(self, slots: Tensor, h: Tensor, heard: Tensor) -> Tensor:
        """Slots (B, k, D) after the encoder's output h (B, N, D), of which `heard` (B, N) counts.

        Slot i attends with its query over its own key and all tokens' keys, never over another slot, its scores
        divided by τ; its own value is the slot itself. Then m' + v_i, divided by its length   (equations 5 to 9).
        """
        x = self.norm(h)
        queries, own = self._split(self.query(slots)), self._split(self.key(slots))
        scale = queries.shape[-1] ** -0.5 / self.temperature
        to_itself = (queries * own).sum(dim=-1, keepdim=True) * scale
        to_tokens = queries @ self._split(self.key(x)).transpose(-1, -2) * scale
        to_tokens = to_tokens.masked_fill(~heard[:, None, None, :], -torch.inf)
        shares = torch.cat([to_itself, to_tokens], dim=-1).softmax(dim=-1)
        written = shares[..., :1] * self._split(slots) + shares[..., 1:] @ self._split(self.value(x))
        return F.normalize(written.transpose(1, 2).flatten(2) + self.bias, dim=-1)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class MemformerTransformer(MemoryTransformer):
    """An encoder reads tail and question beside the slots; a decoder, looking at what it made of them, answers.

    Its memory: slots (B, k, D). The answer mark is the decoder's first token.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        layers = range(config.n_layers)
        self.slot_readers = Layers(CrossReader(config) for _ in layers)
        self.writer = SlotWriter(config)
        self.encoder_norm = make_norm(config)
        self.decoder = Layers(Block(config, layer) for layer in layers)
        self.encoder_readers = Layers(CrossReader(config) for _ in layers)

    def initial_memory(self, batch: int) -> MemoryState:
        return MemoryState({"slots": self.writer.initial_slots(batch).to(self.sums)})

    def read(self, segment: Tensor, memory: MemoryState) -> MemoryState:
        slots = memory["slots"].to(self.embedding.weight.dtype)
        everything = torch.ones_like(segment, dtype=torch.bool)
        written = self.writer(slots, self._read_through(segment, everything, slots), everything)
        return MemoryState({"slots": written.to(self.sums)})

    def prefill(self, prompts: Tensor, lengths: Tensor, memory: MemoryState, room: int) -> tuple[Tensor, WindowCache]:
        """All of a prompt but its last token goes to the encoder; the last one begins the answer."""
        before_last = torch.arange(prompts.shape[1], device=prompts.device)[None] < lengths[:, None] - 1
        cache = self.empty_cache(prompts.shape[0], slots_for(1 + room))
        cache = WindowCache({**cache.tensors, **self._encoded(prompts, before_last, memory)}, cache.lengths)
        return self.decode_step(prompts.gather(1, lengths[:, None] - 1)[:, 0], memory, cache), cache

    def window(self, tokens: Tensor, memory: MemoryState, cache: WindowCache | None = None) -> Tensor:
        """What stands before a row's last answer mark goes to the encoder, and has no final hidden state but zero."""
        index = torch.arange(tokens.shape[1], device=tokens.device)[None]
        begins = torch.where(tokens == self.config.special.answer[-1], index, 0).amax(dim=1, keepdim=True)
        encoded = self._encoded(tokens, index < begins, memory)
        # Each row from its mark on; what comes behind a row's end repeats its last token, which no other looks at.
        places = (begins + index).clamp(max=tokens.shape[1] - 1)
        h, angles = self.with_positions(self.embedded(tokens.gather(1, places)), index)
        hidden = self.final_norm(self._decoded(h, angles, None, encoded, lambda layer: None))
        hidden = hidden * (begins + index < tokens.shape[1])[..., None]
        return torch.zeros_like(hidden).scatter_add(1, places[..., None].expand_as(hidden), hidden)

    def run_layers(
        self, h: Tensor, angles: Angles | None, memory: MemoryState, cache: WindowCache | None, positions: Tensor
    ) -> Tensor:
        """The decoder's layers; what they look at, the encoder has left in the cache."""
        assert cache is not None
        mask = self.visible(cache, positions)
        return self._decoded(h, angles, mask, cache.tensors, lambda layer: self.past(cache, layer, positions))

    def _decoded(
        self,
        h: Tensor,
        angles: Angles | None,
        mask: Tensor | None,
        encoded: Mapping[str, Tensor],
        past: Callable[[int], Past | None],
    ) -> Tensor:
        heard = encoded["heard"][0, :, None, None, :, 0]
        for layer, (block, reader) in enumerate(zip(self.decoder, self.encoder_readers, strict=True)):
            h = block.attend(h, angles, mask, past(layer))
            h = reader(h, encoded["encoded_keys"][layer], encoded["encoded_values"][layer], heard)
            h = block.think(h)
        return h

    def _encoded(self, tokens: Tensor, heard: Tensor, memory: MemoryState) -> dict[str, Tensor]:
        """What the decoder's layers look at: keys and values of the tokens (B, N) that `heard` (B, N) leaves."""
        # With nothing left, attention has nothing to share out: then the first token stays.
        heard = heard | ~heard.any(dim=1, keepdim=True) & (torch.arange(heard.shape[1], device=heard.device) == 0)
        slots = memory["slots"].to(self.embedding.weight.dtype)
        slots = slots.repeat_interleave(tokens.shape[0] // slots.shape[0], dim=0)
        made = self.encoder_norm(self._read_through(tokens, heard, slots))
        crossed = [reader.attention.keys_and_values(made) for reader in self.encoder_readers]
        keys, values = (torch.stack(parts) for parts in zip(*crossed, strict=True))
        return {"encoded_keys": keys, "encoded_values": values, "heard": heard[None, :, :, None]}

    def _read_through(self, tokens: Tensor, heard: Tensor, slots: Tensor) -> Tensor:
        """The encoder's layers: tokens (B, N) look at all those that `heard` (B, N) leaves, then at the slots."""
        h, angles = self.with_positions(
            self.embedded(tokens), torch.arange(tokens.shape[1], device=tokens.device)[None]
        )
        for block, reader in zip(self.blocks, self.slot_readers, strict=True):
            h = block.attend(h, angles, heard[:, None, None, :])
            h = reader(h, *reader.attention.keys_and_values(slots))
            h = block.think(h)
        return h
