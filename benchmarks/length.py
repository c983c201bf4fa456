"""The cost of reading and answering after a long text and after a short one, with the model alone."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import bare
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import token_ids
from benchmarks.timing import Comparison, in_turn
from model.memory import MemoryState
from model.prompt import prompt_ids
from model.runtime.segment_reader import read_all
from server.engine.model_runner import SCANNED_SEGMENTS, ModelRunner

NAME = "length"
CLAIM = "reading and answering cost the same per token after a long text as after a short one"
SAME = Goal("at most", 1.03)
WINDOW_SEGMENTS = 8
ANSWER_TOKENS = 16
QUESTION = "Where is the letter that he wrote?"


def measure(plan: Plan) -> Section:
    """Reads the same text from the memory after the short and after the long text, in alternation."""
    sizes, model = plan.sizes, plan.loaded.model
    segments = bare.segments_of(model, token_ids(plan.loaded.tokenizer, sizes.long_tokens, seed=1))
    cut = sizes.short_tokens // plan.segment_tokens
    short = _read_to(plan, segments[:cut], model.initial_memory(1), "to the short text's end")
    long = _read_to(plan, segments[cut:], short, "to the long text's end")
    figures: list[Figure] = []
    for rows in sorted({1, plan.step_rows}):
        compared = _reading(plan, short, long, rows)
        tokens = WINDOW_SEGMENTS * plan.segment_tokens * rows
        figures += _figures(f"reading_{rows}_rows", compared, tokens)
    compared, tokens = _answering(plan, short, long)
    return Section(NAME, CLAIM, (*figures, *_figures("answering", compared, tokens)))


def _read_to(plan: Plan, segments: Tensor, memory: MemoryState, description: str) -> MemoryState:
    with torch.inference_mode(), tqdm(total=segments.numel(), desc=description, unit="token", unit_scale=True) as bar:
        for part in segments.split(SCANNED_SEGMENTS):  # type: ignore[no-untyped-call]
            memory = read_all(plan.loaded.model, part, memory)
            bar.update(part.numel())
    return memory


def _reading(plan: Plan, short: MemoryState, long: MemoryState, rows: int) -> Comparison:
    """All rows are copies of one memory: the time does not depend on their content."""
    model, windows = plan.loaded.model, plan.sizes.windows
    ids = token_ids(plan.loaded.tokenizer, (windows + 1) * WINDOW_SEGMENTS * plan.segment_tokens, seed=2)
    segments = bare.segments_of(model, ids)
    memories = {"short": MemoryState.stack([short] * rows), "long": MemoryState.stack([long] * rows)}

    def read_on(which: str, turn: int) -> None:
        start = (turn + 1) * WINDOW_SEGMENTS
        memories[which] = bare.read(model, segments[start : start + WINDOW_SEGMENTS], memories[which])

    return in_turn(partial(read_on, "short"), partial(read_on, "long"), windows, f"reading on, {rows} rows")


def _answering(plan: Plan, short: MemoryState, long: MemoryState) -> tuple[Comparison, int]:
    """The comparison, and the number of tokens that one answer prefills and decodes."""
    forward = ModelRunner(plan.loaded.model)
    prompt = prompt_ids(plan.loaded.model.config, plan.loaded.tokenizer.encode(QUESTION))
    compared = in_turn(
        lambda _: bare.answer(forward, short, prompt, ANSWER_TOKENS),
        lambda _: bare.answer(forward, long, prompt, ANSWER_TOKENS),
        plan.sizes.windows,
        "answering",
    )
    return compared, len(prompt) + ANSWER_TOKENS


def _figures(name: str, compared: Comparison, tokens: int) -> list[Figure]:
    return [
        Figure(f"{name}_after_short_per_token_microseconds", compared.first_seconds / tokens * 1e6),
        Figure(f"{name}_after_long_per_token_microseconds", compared.second_seconds / tokens * 1e6),
        Figure(f"{name}_long_to_short_ratio", compared.ratio, SAME),
    ]
