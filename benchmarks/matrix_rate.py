"""The share of the machine's matrix rate that reading reaches, with no segment skipped and with all skipped.

Measured on the bare model, with operations as counted by torch, without a server.
"""

from __future__ import annotations

from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import bare
from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from benchmarks.text import token_ids
from benchmarks.timing import seconds_of
from model.memory import MemoryState
from model.runtime.segment_reader import read_all

NAME = "matrix_rate"
CLAIM = "reading uses a stated share of what the machine's matrix products reach"
SIZE, TURNS = 1024, 9
ROWS = 8


def measure(plan: Plan) -> Section:
    """The machine's rate from square products; the model's with no segment skipped, and with all skipped."""
    single, half = products_per_second(torch.float32), products_per_second(torch.bfloat16)
    model = plan.loaded.model
    segments = bare.segments_of(model, token_ids(plan.loaded.tokenizer, plan.sizes.round_tokens // ROWS, seed=7))
    memory = MemoryState.stack([model.initial_memory(1)] * ROWS)
    with FlopCounterMode(display=False) as counter:
        bare.read(model, segments[:1], memory)
    per_token = counter.get_total_flops() / (ROWS * plan.segment_tokens)
    seconds = median(seconds_of(lambda: bare.read(model, segments, memory)) for _ in range(3))
    unskipped_rate = segments.numel() * ROWS / seconds
    skippable = torch.full((plan.sizes.round_tokens // plan.segment_tokens, plan.segment_tokens), 1)
    with torch.inference_mode():
        one = model.initial_memory(1)
        skipping = median(seconds_of(lambda: read_all(model, skippable, one)) for _ in range(3))
    return Section(
        NAME,
        CLAIM,
        (
            Figure("products_float32_gigaflops_per_second", single / 1e9),
            Figure("products_bfloat16_gigaflops_per_second", half / 1e9),
            Figure("reading_without_skipping_flops_per_token", per_token),
            Figure("reading_without_skipping_tokens_per_second", unskipped_rate),
            Figure("reading_without_skipping_share_of_float32_rate", unskipped_rate * per_token / single),
            Figure("reading_skippable_text_tokens_per_second", skippable.numel() / skipping),
        ),
    )


def products_per_second(dtype: torch.dtype, device: torch.device | str = "cpu", size: int = SIZE) -> float:
    """Operations a second of square products, the median of several."""
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    one @ other
    return 2 * size**3 / median(seconds_of(lambda: one @ other) for _ in range(TURNS))
