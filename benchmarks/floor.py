"""Reading time relative to the machine's floor: a token's operations and bytes at the machine's measured rates.

Measured on the bare model, without a server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.matrix_rate import products_per_second
from benchmarks.plan import Plan
from benchmarks.reading import in_batches, in_wavefront, unskipped_segments
from benchmarks.report import Figure, Goal, Section
from benchmarks.timing import seconds_of
from model.mechanisms import build
from model.mechanisms.base import MemoryTransformer
from model.runtime.wavefront.cells import cells_of

NAME = "floor"
CLAIM = "reading without skipping takes at most twice the floor of its operations and bytes"
ROWS, LANES = 8, 4
COPIED_BYTES, COPIES = 1 << 28, 9
GOALS = {"batch_of_one_session": Goal("at most", 2.0)}


def measure(plan: Plan) -> Section:
    """The floor of a token, and the time of each way of reading relative to it; all ways in turn."""
    model = plan.loaded.model
    segment = plan.segment_tokens
    some = max(4, plan.sizes.round_tokens // segment // ROWS)
    texts = unskipped_segments(model, plan.loaded.tokenizer, some * ROWS).view(ROWS, some, segment)
    rate, bandwidth = products_per_second(torch.float32, model.device), copied_bytes_per_second(model.device)
    operations = operations_per_token(model, texts[0, :1])
    dense = operations_per_token(writing_all(model), texts[0, :1])
    moved = step_bytes(model)
    floor = max(operations / rate, moved / bandwidth / segment)
    figures = [
        Figure("products_float32_gigaflops_per_second", rate / 1e9),
        Figure("copies_gigabytes_per_second", bandwidth / 1e9),
        Figure("operations_per_token", operations),
        Figure("operations_per_token_where_every_token_writes", dense),
        Figure("step_of_one_session_bytes", moved),
        Figure("floor_by_operations_tokens_per_second", rate / operations),
        Figure("floor_by_operations_where_every_token_writes_tokens_per_second", rate / dense),
        Figure("floor_by_bytes_of_one_session_tokens_per_second", bandwidth * segment / moved),
    ]
    for name, tokens, seconds in _timed(plan, texts):
        figures += [
            Figure(f"{name}_tokens_per_second", tokens / seconds),
            Figure(f"{name}_to_floor_ratio", seconds / tokens / floor, GOALS.get(name)),
            Figure(f"{name}_to_floor_where_every_token_writes_ratio", seconds / tokens * rate / dense),
        ]
    return Section(NAME, CLAIM, tuple(figures))


def _timed(plan: Plan, texts: Tensor) -> list[tuple[str, int, float]]:
    model = plan.loaded.model
    cells = cells_of(model)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "segments_in_turn_of_one_session": (texts[:1].numel(), partial(in_batches, model, texts[:1], 1)),
        "batch_of_one_session": (texts[:1].numel(), partial(in_batches, model, texts[:1], 1, ROWS)),
        f"batch_of_{ROWS}_sessions": (texts.numel(), partial(in_batches, model, texts, ROWS)),
    }
    if cells is not None:
        ways["wavefront_of_one_session"] = texts[:1].numel(), partial(in_wavefront, cells, texts[:1], 1)
        ways[f"wavefront_of_{LANES}_sessions"] = texts.numel(), partial(in_wavefront, cells, texts, LANES)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in tqdm(range(-1, plan.sizes.rounds), desc="ways to read"):
        for name, (_, way) in ways.items():
            seconds = seconds_of(way)
            # Turn -1 warms up and is not counted.
            if turn >= 0:
                taken[name].append(seconds)
    return [(name, tokens, median(taken[name])) for name, (tokens, _) in ways.items()]


def operations_per_token(model: MemoryTransformer, segment: Tensor) -> float:
    """Operations of products, convolutions and attention in reading a segment (1, T), as counted by torch."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model.read(segment, model.initial_memory(1))
    return float(counter.get_total_flops()) / segment.numel()


def writing_all(model: MemoryTransformer) -> MemoryTransformer:
    """The same weights without a threshold, so that every token writes."""
    open_model = build(replace(model.config, write_threshold=0.0)).to(model.device, model.embedding.weight.dtype)
    open_model.load_state_dict(model.state_dict())
    return open_model.eval().requires_grad_(False)


def step_bytes(model: MemoryTransformer, rows: int = 1) -> int:
    """The bytes moved by reading a segment of each row: the layers' weights, and each memory in and out."""
    outside = {id(p) for part in (model.embedding, model.head) if part is not None for p in part.parameters()}
    weights = sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in outside)
    return weights + 2 * model.initial_memory(rows).nbytes


def copied_bytes_per_second(device: torch.device | str = "cpu") -> float:
    """Bytes read and written by plain copies, the median of several."""
    one = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    other = torch.empty_like(one)
    other.copy_(one)
    return 2 * COPIED_BYTES / median(seconds_of(lambda: other.copy_(one)) for _ in range(COPIES))
