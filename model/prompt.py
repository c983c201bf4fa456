"""The local window of a question: context, tail, question, and the mark behind which the answer begins.

It knows token ids, and nothing of text, memories or sampling. Training and serving both build windows here.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.config import ModelConfig


def prompt_ids(config: ModelConfig, tail: Sequence[int], question: Sequence[int]) -> list[int]:
    """What stands behind the context when a question is put: tail, question mark, question, answer mark."""
    return [*tail, config.special.question, *question, config.special.answer]


def answer_room(config: ModelConfig, prompt: Sequence[int]) -> int:
    """How many tokens an answer can have behind this prompt; negative when the prompt itself is too long."""
    return config.window_tokens - config.context_tokens - len(prompt)
