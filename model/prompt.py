"""The token ids of a question's window: tail, question, and the mark after which the answer begins.

Training and serving both build windows here.

With the bAbI weights (`tail_in_memory`) the tail is first read into a copy of the memory, as a short segment, and
is not in the window (LOG.md has the measurement). The papers' models were trained with the tail before the question.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.config import ModelConfig


def prompt_ids(config: ModelConfig, question: Sequence[int]) -> list[int]:
    """What stands behind the tail when a question is put: question mark, question, answer mark."""
    return [*config.special.question, *question, *config.special.answer]


def window_ids(config: ModelConfig, tail: Sequence[int], prompt: Sequence[int]) -> list[int]:
    """The tokens of the window that a prompt is put in."""
    return list(prompt) if config.tail_in_memory else [*config.special.opening, *tail, *prompt]


def answer_room(config: ModelConfig, prompt: Sequence[int]) -> int:
    """How many tokens an answer can have behind this prompt, however long the tail is; negative: no room for it."""
    longest = window_ids(config, [0] * (config.segment_tokens - 1 + _recalled_max(config)), prompt)
    return config.window_tokens - config.prefix_tokens - len(longest)


def _recalled_max(config: ModelConfig) -> int:
    """How many tokens stand in front of the tail at most: the recalled text, and a mark behind each segment of it."""
    if config.mechanism != "episodic":
        return 0
    return config.recall_tokens + config.recall_tokens // config.segment_tokens * len(config.special.gap)
