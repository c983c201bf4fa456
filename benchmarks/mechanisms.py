"""The cost of the mechanisms and of full attention by text length: a session's bytes, reading, and an answer.

Measured on models of one shape with random weights, without a server.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.full_attention import FullAttention
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.timing import seconds_of
from model.config import ModelConfig
from model.mechanisms import TRANSFORMERS, build
from model.mechanisms.base import MemoryTransformer

NAME = "mechanisms"
CLAIM = (
    "a memory's bytes and an answer's time stay the same at any text length, where full attention's grow; "
    "Memformer's paper claims 8.1 times less memory and 3.2 times faster inference than a history of tokens"
)
PROMPT_TOKENS, ANSWER_TOKENS, ANSWERS = 16, 16, 5


def measure(plan: Plan) -> Section:
    """Every model reads the same text to each length, then answers there."""
    config = replace(
        plan.loaded.model.config, tail_in_memory=False, context_tokens=0, write_threshold=0.0, memory_tokens=16
    )
    lengths = [n * config.segment_tokens for n in plan.sizes.mechanism_segments]
    text = torch.randint(config.vocab_size - 8, (1, lengths[-1]), generator=torch.Generator().manual_seed(1))
    figures: list[Figure] = []
    torch.manual_seed(0)
    with torch.inference_mode():
        history = _full_attention(FullAttention(config).eval(), text, lengths)
        figures += _figures("full_attention", lengths, history)
        for mechanism in TRANSFORMERS:
            measured = _with_memory(build(replace(config, mechanism=mechanism)).eval(), text, lengths)
            figures += _figures(mechanism, lengths, measured)
            figures += [
                Figure(f"{mechanism}_less_memory_than_full_attention_times", history[-1][0] / measured[-1][0]),
                Figure(f"{mechanism}_faster_answer_than_full_attention_times", history[-1][2] / measured[-1][2]),
                Figure(f"{mechanism}_growth_of_memory_ratio", measured[-1][0] / measured[0][0], Goal("at most", 1.0)),
            ]
    return Section(NAME, CLAIM, tuple(figures))


# For each length: bytes that a session keeps, seconds for reading since the length before, seconds of an answer.
Measured = list[tuple[int, float, float]]


def _with_memory(model: MemoryTransformer, text: Tensor, lengths: list[int]) -> Measured:
    step, memory, done = model.config.segment_tokens, model.initial_memory(1), 0
    measured: Measured = []
    prompt, size = _prompt(model.config)

    def read(start: int, end: int) -> None:
        nonlocal memory
        for at in tqdm(range(start, end, step), desc=f"{model.config.mechanism} reads", leave=False):
            memory = model.read(text[:, at : at + step], memory)

    def answers(count: int) -> None:
        for _ in range(count):
            answer()

    def answer() -> None:
        hidden, cache = model.prefill(prompt, size, memory, ANSWER_TOKENS)
        for _ in range(ANSWER_TOKENS):
            hidden = model.decode_step(model.logits(hidden).argmax(dim=-1), memory, cache)

    for length in lengths:
        seconds = seconds_of(lambda start=done, end=length: read(start, end))  # type: ignore[misc]
        answers(1)
        measured.append((memory.nbytes, seconds, seconds_of(lambda: answers(ANSWERS)) / ANSWERS))
        done = length
    return measured


def _full_attention(model: FullAttention, text: Tensor, lengths: list[int]) -> Measured:
    step, done = model.config.segment_tokens, 0
    cache = model.empty_cache(1, lengths[-1] + PROMPT_TOKENS + ANSWER_TOKENS + 1)
    measured: Measured = []
    prompt, _ = _prompt(model.config)

    def read(start: int, end: int) -> None:
        for at in tqdm(range(start, end, step), desc="full attention reads", leave=False):
            model.extend(text[:, at : at + step], cache)

    def answers(count: int) -> None:
        for _ in range(count):
            answer()

    def answer() -> None:
        before = cache.lengths.clone()
        hidden = model.extend(prompt, cache)[:, -1]
        for _ in range(ANSWER_TOKENS):
            hidden = model.extend(model.logits(hidden).argmax(dim=-1)[:, None], cache)[:, -1]
        cache.lengths.copy_(before)

    for length in lengths:
        seconds = seconds_of(lambda start=done, end=length: read(start, end))  # type: ignore[misc]
        answers(1)
        kept = sum(t[..., :length, :].numel() * t.element_size() for t in cache.tensors.values())
        measured.append((kept, seconds, seconds_of(lambda: answers(ANSWERS)) / ANSWERS))
        done = length
    return measured


def _prompt(config: ModelConfig) -> tuple[Tensor, Tensor]:
    return torch.arange(PROMPT_TOKENS)[None] % config.vocab_size, torch.tensor([PROMPT_TOKENS])


def _figures(name: str, lengths: list[int], measured: Measured) -> list[Figure]:
    figures, before = [], 0
    for length, (kept, reading, answering) in zip(lengths, measured, strict=True):
        figures += [
            Figure(f"{name}_at_{length}_tokens_kept_bytes", kept),
            Figure(f"{name}_to_{length}_tokens_read_tokens_per_second", (length - before) / reading),
            Figure(f"{name}_at_{length}_tokens_answer_milliseconds", answering * 1e3),
        ]
        before = length
    return figures
