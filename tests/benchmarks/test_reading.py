"""The ways that the benchmarks compare compute the same."""

from __future__ import annotations

import pytest
import torch

from benchmarks.floor import operations_per_token, step_bytes, writing_all
from benchmarks.full_attention import FullAttention
from benchmarks.one_text import full_attention
from benchmarks.reading import in_batches, in_wavefront
from benchmarks.shapes import shape
from model.config import Mechanism
from model.mechanisms import build
from model.runtime.wavefront.cells import cells_of
from testing.models import random_model, tiny_config


@pytest.mark.parametrize("mechanism", ["delta", "armt"])
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_batches_and_the_wavefront_end_in_the_same_memories(mechanism: str, width: int) -> None:
    model = random_model(tiny_config(mechanism=mechanism, n_layers=3)).double()
    texts = torch.randint(340, (5, 4, 8), generator=torch.Generator().manual_seed(1))
    cells = cells_of(model)
    assert cells is not None
    wanted, found = in_batches(model, texts, width), in_wavefront(cells, texts, width)
    together = in_batches(model, texts, width, 3)
    for one, other in [*zip(found, wanted, strict=True), *zip(together, wanted, strict=True)]:
        for part, tensor in other.tensors.items():
            scale = max(1.0, float(tensor.double().abs().max()))
            torch.testing.assert_close(one[part], tensor, rtol=1e-10, atol=1e-10 * scale)


@pytest.mark.parametrize("mechanism", ["delta", "armt"])
def test_full_attention_uses_the_same_blocks(mechanism: Mechanism) -> None:
    """A prefill in one window gives the same as a prefill in chunks with a growing KV cache."""
    config = shape("tiny", mechanism, 64, 8)
    model, rival = build(config).double().eval(), FullAttention(config).double().eval()
    rival.load_state_dict({name: t for name, t in model.state_dict().items() if name in rival.state_dict()})
    tokens = torch.randint(500, (1, 48), generator=torch.Generator().manual_seed(2))
    cache = rival.empty_cache(1, 48)
    with torch.inference_mode():
        pieces = [rival.extend(piece, cache) for piece in torch.split(tokens, 16, dim=1)]
        torch.testing.assert_close(full_attention(model, tokens), pieces[-1][:, -1], rtol=1e-9, atol=1e-9)


def test_the_floor_counts_operations_and_bytes_exactly() -> None:
    """Writing tokens cost more operations than skipped ones; each row's memory is moved in and out."""
    model = random_model(tiny_config(segment_tokens=40, write_threshold=0.999999))
    segment = torch.arange(40)[None]
    skippable, writing = (operations_per_token(each, segment) for each in (model, writing_all(model)))
    assert 0 < skippable < writing
    assert step_bytes(model, 3) - step_bytes(model, 1) == 4 * model.initial_memory(1).nbytes
