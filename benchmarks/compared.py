"""A question after a long text, compared with the alternatives: prefilling the text again, or keeping its KV cache.

The rival has the same weights in the same blocks, and full attention in place of a memory: the whole text is one window
through torch's scaled_dot_product_attention with its causal flag and no mask, and a question's few tokens extend the
cache (`benchmarks/full_attention.py`). The same text is read into a memory as any text is
(`model/runtime/segment_reader.py`), with no segment skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from statistics import median
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import bare
from benchmarks.full_attention import FullAttention
from benchmarks.plan import Plan
from benchmarks.reading import unskipped_segments
from benchmarks.report import Figure, Goal, Section
from benchmarks.sizes import cache_bytes
from benchmarks.timing import in_turn, seconds_of
from model.config import ModelConfig
from model.layers.backbone import WindowCache
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.prompt import prompt_ids
from model.runtime.segment_reader import read_all
from server.engine.model_runner import ModelRunner

NAME = "compared"
CLAIM = "reading a text once pays off from the first question on, and a question costs the same at any text length"
PAYS_AT_ONCE = Goal("at most", 1.0)
QUESTION, ANSWER_TOKENS = "Where is the letter that he wrote?", 16
# As many as the server passes to the write gate at once.
SEGMENTS_AT_ONCE = 64
# A measurement is not repeated once its runs have taken this long in total.
ENOUGH_SECONDS = 20.0

Made = TypeVar("Made")


class Costs(NamedTuple):
    """Costs of one way at one length: reading the text, answering a question, and the bytes kept in between."""

    reading_seconds: float
    question_seconds: float
    kept_bytes: int


@torch.inference_mode()
def measure(plan: Plan) -> Section:
    """Both at every length whose KV cache fits the device, with the questions in turn; beyond that the memory alone."""
    model, sizes = plan.loaded.model, plan.sizes
    rival, forward = full_attention_of(model), ModelRunner(model)
    prompt = prompt_ids(model.config, plan.loaded.tokenizer.encode(QUESTION))
    asked = torch.tensor([prompt], device=model.device)
    lengths = _whole_segments((*sizes.compared_tokens, *sizes.compared_alone_tokens), plan.segment_tokens)
    fitting = fitting_lengths(model.config, _whole_segments(sizes.compared_tokens, plan.segment_tokens), model.device)
    segments = unskipped_segments(model, plan.loaded.tokenizer, lengths[-1] // plan.segment_tokens)
    if len(segments) * plan.segment_tokens < lengths[-1]:
        raise ValueError(
            f"of the text only {len(segments)} segments are read without skipping: write more facts into it"
        )
    room = len(prompt) + ANSWER_TOKENS
    # Warm-up: the first run takes longer.
    read_in_one_window(rival, segments[:4].reshape(1, -1), room)
    figures: list[Figure] = []
    for tokens in lengths:
        some = segments[: tokens // plan.segment_tokens]
        memory, reading = _timed(partial(read_once, model, some, f"memory, {tokens:,} tokens"), sizes.rounds)
        ask = partial(bare.answer, forward, memory, prompt, ANSWER_TOKENS)
        if tokens not in fitting:
            ask()
            question = median(seconds_of(ask) for _ in range(sizes.rounds))
            figures += _of_memory(tokens, Costs(reading, question, memory.nbytes), room)
            continue
        window = partial(read_in_one_window, rival, some.reshape(1, -1), room, f"full attention, {tokens:,} tokens")
        cache, window_seconds = _timed(window, sizes.rounds)
        both = in_turn(
            lambda _, cache=cache: answer_from_cache(rival, asked, cache),  # type: ignore[misc]
            lambda _, ask=ask: ask(),  # type: ignore[misc]
            sizes.rounds,
            f"questions after {tokens:,} tokens",
        )
        kept = cache_bytes(model.config, tokens, cache["keys"].element_size())
        theirs = Costs(window_seconds, both.first_seconds, kept)
        ours = Costs(reading, both.second_seconds, memory.nbytes)
        figures += [*_of_full_attention(tokens, theirs, room), *_of_memory(tokens, ours, room)]
        figures += against_each_other(tokens, theirs, ours)
    return Section(NAME, CLAIM, tuple(figures))


def full_attention_of(model: MemoryTransformer) -> FullAttention:
    """A decoder of the same dtype with the model's own weights, without its memory."""
    rival = FullAttention(model.config)
    names = rival.state_dict()
    rival.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if name in names})
    return rival.to(model.device, model.embedding.weight.dtype).eval().requires_grad_(False)


def read_in_one_window(rival: FullAttention, tokens: Tensor, room: int, description: str | None = None) -> WindowCache:
    """The KV cache of tokens (1, N) after a causal prefill, with `room` for more tokens behind them."""
    count = tokens.shape[1]
    slots = torch.arange(count, device=tokens.device)[None]
    cache = rival.empty_cache(1, count + room)
    filled = WindowCache({name: tensor[..., :count, :] for name, tensor in cache.tensors.items()}, cache.lengths)
    h, angles = rival.with_positions(rival.embedded(tokens), slots)
    layers = tqdm(rival.blocks, desc=description, unit="layer", disable=description is None, leave=False)
    for layer, block in enumerate(layers):
        h = block(h, angles, None, rival.past(filled, layer, slots))
    rival.final_norm(h[:, -1])
    cache.lengths.fill_(count)
    return cache


def answer_from_cache(rival: FullAttention, prompt: Tensor, cache: WindowCache) -> list[int]:
    """An answer of `ANSWER_TOKENS` tokens to a prompt (1, N); afterwards the cache is cut back to the text."""
    before = cache.lengths.clone()
    hidden, tokens = rival.extend(prompt, cache), []
    while True:
        chosen = rival.logits(hidden[:, -1]).argmax(dim=-1)
        tokens.append(int(chosen))
        if len(tokens) == ANSWER_TOKENS:
            cache.lengths.copy_(before)
            return tokens
        hidden = rival.extend(chosen[:, None], cache)


@torch.inference_mode()
def read_once(model: MemoryTransformer, segments: Tensor, description: str | None = None) -> MemoryState:
    """The memory after segments (S, T) of one text."""
    memory = model.initial_memory(1)
    with tqdm(total=len(segments), desc=description, unit="segment", disable=description is None, leave=False) as bar:
        for some in torch.split(segments, SEGMENTS_AT_ONCE):
            memory = read_all(model, some, memory)
            bar.update(len(some))
    return memory


def fitting_lengths(
    config: ModelConfig, lengths: Sequence[int], device: torch.device, budget_bytes: int | None = None
) -> list[int]:
    """The lengths whose KV cache fits the device; for each other one a line is printed with what it would need."""
    budget = _budget_bytes(device) if budget_bytes is None else budget_bytes
    # The cache, and the peak of one window's float32 activations.
    needed = {n: cache_bytes(config, n, 4) + 4 * n * (8 * config.d_model + 4 * config.d_ff) for n in lengths}
    for tokens in (n for n in lengths if needed[n] > budget):
        tqdm.write(f"{NAME}: full attention needs {needed[tokens]:,} bytes for {tokens:,} tokens and is left out there")
    return [n for n in lengths if needed[n] <= budget]


def against_each_other(tokens: int, theirs: Costs, ours: Costs) -> list[Figure]:
    """What reading once saves, and from which question on; no figure if it never saves anything."""
    again = theirs.reading_seconds + theirs.question_seconds
    once = ours.reading_seconds + ours.question_seconds
    at = f"at_{tokens}_tokens"
    figures = [
        Figure(f"{at}_question_rereading_to_onceread_ratio", again / ours.question_seconds),
        Figure(f"{at}_question_caching_to_onceread_ratio", theirs.question_seconds / ours.question_seconds),
        Figure(f"{at}_kept_caching_to_onceread_ratio", theirs.kept_bytes / ours.kept_bytes),
        Figure(f"{at}_reading_once_and_asking_to_rereading_ratio", once / again, PAYS_AT_ONCE),
    ]
    if again > ours.question_seconds:
        paid_back = max(1, ceil(ours.reading_seconds / (again - ours.question_seconds)))
        figures.append(Figure(f"{at}_break_even_questions", paid_back))
    return figures


def _of_full_attention(tokens: int, costs: Costs, room: int) -> list[Figure]:
    name = f"full_attention_at_{tokens}_tokens"
    return [
        Figure(f"{name}_reading_per_token_microseconds", costs.reading_seconds / tokens * 1e6),
        Figure(f"{name}_rereading_question_seconds", costs.reading_seconds + costs.question_seconds),
        Figure(f"{name}_rereading_question_tokens", tokens + room),
        Figure(f"{name}_caching_question_seconds", costs.question_seconds),
        Figure(f"{name}_kept_bytes", costs.kept_bytes),
    ]


def _of_memory(tokens: int, costs: Costs, room: int) -> list[Figure]:
    name = f"onceread_at_{tokens}_tokens"
    return [
        Figure(f"{name}_reading_per_token_microseconds", costs.reading_seconds / tokens * 1e6),
        Figure(f"{name}_question_seconds", costs.question_seconds),
        Figure(f"{name}_question_tokens", room),
        Figure(f"{name}_kept_bytes", costs.kept_bytes),
    ]


def _whole_segments(lengths: Sequence[int], segment_tokens: int) -> list[int]:
    return sorted({max(1, n // segment_tokens) * segment_tokens for n in lengths})


def _timed(work: Callable[[], Made], rounds: int) -> tuple[Made, float]:
    """The result of the work and its median duration, over `rounds` runs or until they took `ENOUGH_SECONDS`."""
    made: list[Made] = []

    def make() -> None:
        made.clear()
        made.append(work())

    taken: list[float] = []
    while len(taken) < rounds and sum(taken) < ENOUGH_SECONDS:
        taken.append(seconds_of(make))
    return made[0], median(taken)


def _budget_bytes(device: torch.device) -> int:
    """Free memory of the device; on a CPU, half of the machine's memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
